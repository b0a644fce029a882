//! Answers that an app reads piece by piece.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::client::{Held, Opened};
use super::error::FetchError;
use super::exchange::Exchange;
use crate::rpc::{RpcError, code};

/// An answer whose body is read by the app, as fast as the app likes: what it does not read stays in the server's
/// hands.
pub(super) struct Stream {
    host: String,
    exchange: Exchange,
    /// Came in and is not read yet; never more than one piece.
    rest: Bytes,
    /// Bytes of the body that may still come.
    left: u64,
    limit: u64,
    deadline: Instant,
    _held: Held,
    /// Set once the stream is among those of its instance.
    _watch: Option<AbortOnDropHandle<()>>,
}

impl Stream {
    /// A body of at most `limit` bytes that ends before `deadline`.
    pub(super) fn new(opened: Opened, limit: u64, deadline: Instant) -> Result<Self, FetchError> {
        let Opened { host, exchange, held, .. } = opened;
        if exchange.length().is_some_and(|length| length > limit) {
            return Err(FetchError::LongBody { limit });
        }
        Ok(Self {
            host,
            exchange,
            rest: Bytes::new(),
            left: limit,
            limit,
            deadline,
            _held: held,
            _watch: None,
        })
    }

    /// Up to `most` bytes; `None` at the end. Waits for as long as `idle` for the server to send something.
    pub(super) async fn read(&mut self, most: usize, idle: Duration) -> Result<Option<Bytes>, FetchError> {
        if self.rest.is_empty() {
            let patience = Instant::now() + idle;
            let piece = tokio::time::timeout_at(patience.min(self.deadline), self.exchange.chunk()).await;
            let piece = match piece {
                Err(_) if patience < self.deadline => return Err(FetchError::Idle),
                Err(_) => return Err(FetchError::TimedOut),
                Ok(Err(error)) => {
                    tracing::debug!(host = %self.host, %error, "an answer broke off");
                    return Err(FetchError::Protocol { host: self.host.clone() });
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(piece))) => piece,
            };
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.left = self.left.checked_sub(length).ok_or(FetchError::LongBody { limit: self.limit })?;
            self.rest = piece;
        }
        Ok(Some(self.rest.split_to(most.min(self.rest.len()))))
    }

    /// True if there is nothing more to read.
    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty() && self.exchange.is_done()
    }

    pub(super) fn length(&self) -> Option<u64> {
        self.exchange.length()
    }
}

/// Streams whose deadline has passed that an instance is told so about when it reads on; the oldest is forgotten first.
const LATE: usize = 16;

/// The open streams of one instance.
#[derive(Default)]
pub(super) struct Streams(Mutex<Table>);

#[derive(Default)]
struct Table {
    last: u64,
    /// `None` while a stream is being read from.
    open: HashMap<u64, Option<Stream>>,
    /// Those that ended at their deadline.
    late: VecDeque<u64>,
}

impl Streams {
    /// Keeps a stream until it is closed, read to its end or to its deadline, `gone` is cancelled or the permission is
    /// `lost`: an instance that was killed lives on as a name for as long as its host likes, its sockets do not; nor do
    /// those that nobody may read from any more.
    pub(super) fn insert(
        self: &Arc<Self>,
        mut stream: Stream,
        gone: CancellationToken,
        lost: impl Future<Output = ()> + Send + 'static,
    ) -> u64 {
        let mut table = self.lock();
        table.last += 1;
        let id = table.last;
        let (streams, deadline) = (Arc::downgrade(self), stream.deadline);
        let watch = tokio::spawn(async move {
            let late = tokio::select! {
                () = gone.cancelled() => false,
                () = lost => false,
                () = tokio::time::sleep_until(deadline) => true,
            };
            match streams.upgrade() {
                Some(streams) if late => streams.expire(id),
                Some(streams) => {
                    streams.close(id);
                }
                None => {}
            }
        });
        stream._watch = Some(AbortOnDropHandle::new(watch));
        table.open.insert(id, Some(stream));
        id
    }

    /// Closes a stream; false if there was none.
    pub(super) fn close(&self, id: u64) -> bool {
        // Out of the table first: dropping a stream runs code that must not meet the lock.
        let closed = self.lock().open.remove(&id);
        closed.is_some()
    }

    /// Closes a stream whose deadline has passed. At no moment is it neither open nor late: an app that reads on just
    /// then would be told that it never was.
    fn expire(&self, id: u64) {
        let mut table = self.lock();
        let closed = table.open.remove(&id);
        if closed.is_some() {
            if table.late.len() >= LATE {
                table.late.pop_front();
            }
            table.late.push_back(id);
        }
        drop(table);
        drop(closed);
    }

    /// Takes a stream to read from it. Unless it is given back it is closed.
    pub(super) fn borrow(self: &Arc<Self>, id: u64) -> Result<Borrowed, FetchError> {
        let mut table = self.lock();
        let late = table.late.contains(&id);
        match table.open.get_mut(&id) {
            None if late => Err(FetchError::TimedOut),
            None => Err(RpcError::invalid_params(format!("There is no open stream {id}.")).into()),
            Some(place) => match place.take() {
                None => {
                    Err(RpcError::new(code::BUSY, format!("Stream {id} is being read from already.")).into())
                }
                Some(stream) => Ok(Borrowed { streams: self.clone(), id, stream: Some(stream) }),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream on loan.
pub(super) struct Borrowed {
    streams: Arc<Streams>,
    id: u64,
    stream: Option<Stream>,
}

impl Borrowed {
    pub(super) fn stream(&mut self) -> Result<&mut Stream, RpcError> {
        self.stream.as_mut().ok_or_else(RpcError::internal)
    }

    /// Puts the stream back, unless it was closed meanwhile.
    pub(super) fn give_back(mut self) {
        let mut table = self.streams.lock();
        if let Some(place) = table.open.get_mut(&self.id) {
            *place = self.stream.take();
        }
        drop(table);
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if self.stream.is_some() {
            self.streams.close(self.id);
        }
    }
}
