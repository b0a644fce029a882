//! Those who listen to the stream: ten thousand sockets that nearly always have nothing to say.
//!
//! A connection that asked for the stream is taken out of the HTTP server, with its buffers and its task. A task for
//! each thread sends what is new to its part of the sockets, a write for each. Only who is behind has a task of its
//! own, until it has caught up.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::http::Follow;
use crate::seats::Seat;
use crate::stream::Hub;

/// Sockets that are written to before others on this thread have their turn.
const TURN: usize = 256;

pub(crate) struct Listener {
    socket: TcpStream,
    /// The number of the event that it gets next.
    pub(crate) next: u64,
    pub(crate) seat: Arc<Seat>,
    expires: Option<i64>,
    _place: OwnedSemaphorePermit,
    _counted: TaskTrackerToken,
}

impl Listener {
    pub(crate) fn new(
        hub: &Hub,
        socket: TcpStream,
        next: u64,
        follow: Follow,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let Follow { seat, expires, .. } = follow;
        Self { socket, next, seat, expires, _place: place, _counted: hub.streams.token() }
    }

    /// Whether its token counts, and the other side is still there as far as is known. What it says is of no interest.
    pub(crate) fn is_there(&self, now: i64) -> bool {
        if self.expires.is_some_and(|expires| expires <= now) {
            return false;
        }
        match self.socket.try_read(&mut [0; 256]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Sends what a listener lacks, then hands it to the sender.
///
/// Who takes nothing for as long as `patience` is cut off: a stalled reader must not hold a place for ever.
pub(crate) async fn catch_up(
    hub: Arc<Hub>,
    mut listener: Listener,
    mut missed: VecDeque<Bytes>,
    patience: Duration,
) {
    loop {
        while let Some(mut event) = missed.pop_front() {
            while event.has_remaining() {
                let write = tokio::time::timeout(patience, listener.socket.write(&event));
                let written = listener.seat.ended.run_until_cancelled(write).await;
                match written {
                    Some(Ok(Ok(written))) if written > 0 => event.advance(written),
                    _ => return,
                }
            }
        }
        match hub.join(listener) {
            Some((behind, more)) => (listener, missed) = (behind, more),
            None => return,
        }
    }
}

/// The sender. It ends when the hub is closed and everything is sent.
///
/// Nearly all of the time goes to the system's side of the writes, so every thread of the runtime has a part of the
/// sockets. A round is over when all parts are: no socket is ever in two of them, and its events keep their order.
pub(crate) async fn send(hub: Arc<Hub>, patience: Duration) {
    let threads = Handle::current().metrics().num_workers();
    let mut parts: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    loop {
        hub.news.notified().await;
        let round = hub.round(&mut parts);
        let beat = round.beat.unwrap_or_default();
        let tasks = parts.into_iter().map(|part| send_part(Arc::clone(&hub), part, beat.clone(), patience));
        parts = tasks.collect::<JoinSet<_>>().join_all().await;
        if !round.open {
            return;
        }
    }
}

/// Sends every listener of a part what it lacks, or the beat, and gives back those that are still there and not behind.
async fn send_part(
    hub: Arc<Hub>,
    mut listeners: Vec<Listener>,
    beat: Bytes,
    patience: Duration,
) -> Vec<Listener> {
    // Nearly everybody lacks the same.
    let (mut from, mut bytes, mut next) = (u64::MAX, Bytes::new(), 0);
    let mut index = 0;
    for turn in 0_usize.. {
        if turn % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
        let Some(listener) = listeners.get_mut(index) else { break };
        if listener.next != from {
            let (missed, then) = hub.since(listener.next);
            (from, bytes, next) = (listener.next, join(missed), then);
        }
        let due = if bytes.is_empty() { &beat } else { &bytes };
        let written = if due.is_empty() { Ok(0) } else { listener.socket.try_write(due) };
        let rest = match written {
            Ok(written) => due.slice(written..),
            Err(error) if error.kind() == ErrorKind::WouldBlock => due.clone(),
            Err(_) => {
                listeners.swap_remove(index);
                continue;
            }
        };
        listener.next = next;
        if rest.is_empty() {
            index += 1;
        } else {
            let slow = listeners.swap_remove(index);
            tokio::spawn(catch_up(Arc::clone(&hub), slow, [rest].into(), patience));
        }
    }
    listeners
}

/// Several events as one write.
fn join(mut events: VecDeque<Bytes>) -> Bytes {
    match events.len() {
        0 | 1 => events.pop_front().unwrap_or_default(),
        _ => events.make_contiguous().concat().into(),
    }
}
