//! A socket that lets the other side read the last answer.
//!
//! Closing a socket that holds bytes nobody read throws away what was sent last: a client that is still sending a
//! package when it is refused would see a broken connection instead of the reason. So the socket stops writing, and
//! then drops what comes until the other side is done too. And an answer to a request whose body was not read says that
//! it is the last one, or the client would send its next request into the closing connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long the other side has to notice, and how many bytes it may go on sending.
const TIME: Duration = Duration::from_secs(2);
const BYTES: usize = 64 << 20;

pub(crate) struct Linger {
    socket: TcpStream,
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl Linger {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, left: BYTES, until: None }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.socket
    }
}

impl AsyncRead for Linger {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Linger {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.until.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
        }
        let until = this.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(TIME)));
        loop {
            if until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut space = [0; 8 << 10];
            let mut buffer = ReadBuf::new(&mut space);
            // Whatever goes wrong now, there is nothing left to say.
            if ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buffer)).is_err() {
                return Poll::Ready(Ok(()));
            }
            let read = buffer.filled().len();
            this.left = this.left.saturating_sub(read);
            if read == 0 || this.left == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// A request's body, of which somebody wants to know whether it was read.
pub(crate) struct Watched {
    body: Body,
    ended: Arc<AtomicBool>,
}

impl Watched {
    /// The body, and what becomes true at its end.
    pub(crate) fn watch(body: Body) -> (Body, Arc<AtomicBool>) {
        let ended = Arc::new(AtomicBool::new(body.is_end_stream()));
        (Body::new(Self { body, ended: Arc::clone(&ended) }), ended)
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
