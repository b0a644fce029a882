//! One request and its answer on one connection of their own.
//!
//! The connection is polled by whoever waits for the answer, and by nobody else: no task of its own, no pool. Dropping
//! the exchange closes the socket, there and then.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The most headers of an answer.
const HEADERS: usize = 100;
/// The longest headers of an answer, in bytes.
const HEADER_BYTES: usize = 32 * 1024;
/// The most hyper reads ahead.
const BUFFER: usize = 64 * 1024;
/// What a connection is charged to its app: what hyper and TLS buffer, and the headers.
pub(super) const MEMORY: usize = 128 * 1024;

/// A connected socket, with TLS or without.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Connection = http1::Connection<TokioIo<Box<dyn Io>>, Full<Bytes>>;

/// An answer whose headers are there and whose body is to come.
pub(super) struct Exchange {
    /// `None` once the connection has ended.
    connection: Option<Pin<Box<Connection>>>,
    body: Incoming,
}

impl Exchange {
    /// Sends a request and waits for the headers of the answer.
    pub(super) async fn start(
        io: Box<dyn Io>,
        request: Request<Full<Bytes>>,
    ) -> hyper::Result<(Parts, Self)> {
        let (mut sender, connection) = http1::Builder::new()
            .max_headers(HEADERS)
            .max_header_size(HEADER_BYTES)
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(io))
            .await?;
        let mut connection = Some(Box::pin(connection));
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            match drive(&mut connection, cx) {
                // What the connection read before it ended is there now.
                Poll::Ready(()) => answer.as_mut().poll(cx),
                Poll::Pending => Poll::Pending,
            }
        })
        .await?;
        let (parts, body) = answer.into_parts();
        Ok((parts, Self { connection, body }))
    }

    /// The next piece of the body; `None` at its end. Nothing is lost when the future is dropped.
    pub(super) async fn chunk(&mut self) -> hyper::Result<Option<Bytes>> {
        poll_fn(|cx| {
            loop {
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => return Poll::Ready(Ok(Some(data))),
                        // Trailers are of no use to anybody here.
                        _ => continue,
                    },
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(None) => return Poll::Ready(Ok(None)),
                    Poll::Pending => {}
                }
                if self.connection.is_none() || drive(&mut self.connection, cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    /// How long the body will be, if the server said.
    pub(super) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    pub(super) fn is_done(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Ready when the connection has ended. Its errors reach whoever waits for the answer or the body.
fn drive(connection: &mut Option<Pin<Box<Connection>>>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(open) = connection else { return Poll::Ready(()) };
    let ended = open.as_mut().poll(cx).map(drop);
    if ended.is_ready() {
        *connection = None;
    }
    ended
}

/// A status that has a body to pass on, and means what it says: switching protocols is not on offer.
pub(super) fn is_final(status: StatusCode) -> bool {
    !status.is_informational()
}
