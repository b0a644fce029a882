//! The stream of state: one event is encoded once, however many listen.
//!
//! A subscriber is a place in one shared ring of encoded events. Who reads too slowly loses its place, not the
//! registry's memory: it is told the newest head and fetches.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};
use mpkg_fleet::{Position, StreamEvent};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::registry::Registry;

/// Events that a slow reader may be behind, and that one who comes back is given.
const RING: usize = 256;
/// Bytes of events that are kept for those who come back.
const KEPT: usize = 16 << 20;

pub(crate) struct Hub {
    inner: Mutex<Inner>,
}

struct Inner {
    sender: Option<broadcast::Sender<Bytes>>,
    at: Position,
    /// Events with the head that they lead to.
    recent: VecDeque<(Position, Bytes)>,
    bytes: usize,
    /// Events since the last head; they belong to the next one.
    pending: Vec<Bytes>,
    /// The head before the first of `recent`.
    from: Option<Position>,
}

/// An event as it is sent.
fn encode(event: &StreamEvent) -> Bytes {
    // Strings and integers always serialize, without line breaks.
    let data = serde_json::to_string(event).unwrap_or_default();
    let (name, id) = match event {
        StreamEvent::Head { at, .. } => ("head", format!("id: {at}\n")),
        StreamEvent::Stop { .. } => ("stop", String::new()),
        StreamEvent::Roots { .. } => ("roots", String::new()),
        StreamEvent::Heartbeat { .. } => ("heartbeat", String::new()),
    };
    format!("{id}event: {name}\ndata: {data}\n\n").into()
}

impl Hub {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            sender: Some(broadcast::Sender::new(RING)),
            at: Position::default(),
            recent: VecDeque::new(),
            bytes: 0,
            pending: Vec::new(),
            from: None,
        };
        Self { inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn at(&self) -> Position {
        self.lock().at
    }

    pub(crate) fn listeners(&self) -> usize {
        self.lock().sender.as_ref().map_or(0, broadcast::Sender::receiver_count)
    }

    /// Sends an event to everybody, and keeps it for those who come back.
    pub(crate) fn publish(&self, event: &StreamEvent) {
        let encoded = encode(event);
        let mut inner = self.lock();
        inner.pending.push(encoded.clone());
        if let StreamEvent::Head { prev, at, .. } = event {
            let first = inner.recent.is_empty();
            if first {
                inner.from = Some(*prev);
            }
            for event in std::mem::take(&mut inner.pending) {
                inner.bytes += event.len();
                inner.recent.push_back((*at, event));
            }
            inner.at = *at;
            while inner.recent.len() > RING || inner.bytes > KEPT {
                let Some((at, event)) = inner.recent.pop_front() else { break };
                inner.bytes -= event.len();
                inner.from = Some(at);
            }
        }
        if let Some(sender) = &inner.sender {
            // Nobody listens: nobody misses anything.
            let _ = sender.send(encoded);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().sender.is_none()
    }

    /// Tells everybody where the newest head is.
    pub(crate) fn heartbeat(&self) {
        let inner = self.lock();
        if let Some(sender) = &inner.sender {
            let _ = sender.send(encode(&StreamEvent::Heartbeat { at: inner.at }));
        }
    }

    /// Ends all streams, once they have sent what was published.
    pub(crate) fn close(&self) {
        self.lock().sender = None;
    }

    /// What came after `known`, or where the newest head stands for someone who knows nothing of that; then all that
    /// comes. Nothing is lost or sent twice in between, since both are taken under one lock.
    fn subscribe(&self, known: Option<Position>) -> (VecDeque<Bytes>, Option<broadcast::Receiver<Bytes>>) {
        let inner = self.lock();
        let receiver = inner.sender.as_ref().map(broadcast::Sender::subscribe);
        let has = |known: Position| {
            known == inner.at || inner.from == Some(known) || inner.recent.iter().any(|(at, _)| *at == known)
        };
        let missed = match known {
            Some(known) if has(known) => {
                inner.recent.iter().filter(|(at, _)| *at > known).map(|(_, event)| event.clone()).collect()
            }
            _ => [encode(&StreamEvent::Heartbeat { at: inner.at })].into(),
        };
        (missed, receiver)
    }
}

struct Subscriber {
    registry: Arc<Registry>,
    missed: VecDeque<Bytes>,
    receiver: Option<broadcast::Receiver<Bytes>>,
}

/// The body of a stream.
pub(crate) fn follow(
    registry: Arc<Registry>,
    known: Option<Position>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let (missed, receiver) = registry.hub.subscribe(known);
    stream::unfold(Subscriber { registry, missed, receiver }, |mut it| async move {
        if let Some(event) = it.missed.pop_front() {
            return Some((Ok(event), it));
        }
        let event = match it.receiver.as_mut()?.recv().await {
            Ok(event) => event,
            Err(RecvError::Closed) => return None,
            // It lost its place: with the newest head's it knows that it has to fetch.
            Err(RecvError::Lagged(_)) => encode(&StreamEvent::Heartbeat { at: it.registry.hub.at() }),
        };
        Some((Ok(event), it))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { epoch: 1, seq }
    }

    fn head(seq: u64) -> StreamEvent {
        StreamEvent::Head { prev: at(seq - 1), at: at(seq), head: format!("h{seq}"), apps: vec![] }
    }

    fn texts(events: &VecDeque<Bytes>) -> Vec<String> {
        events.iter().map(|event| String::from_utf8(event.to_vec()).unwrap()).collect()
    }

    #[test]
    fn who_comes_back_gets_what_it_missed_stops_included() {
        let hub = Hub::new();
        for seq in 1..=3 {
            hub.publish(&head(seq));
        }
        hub.publish(&StreamEvent::Stop { notice: "n".into() });
        hub.publish(&head(4));
        let (missed, _) = hub.subscribe(Some(at(2)));
        let names: Vec<_> = texts(&missed).iter().map(|it| it.lines().next().unwrap().to_owned()).collect();
        assert_eq!(names, ["id: 1.3", "event: stop", "id: 1.4"]);
        assert!(hub.subscribe(Some(at(4))).0.is_empty());
        for unknown in [None, Some(at(9)), Some(Position { epoch: 7, seq: 1 })] {
            assert!(texts(&hub.subscribe(unknown).0)[0].starts_with("event: heartbeat"), "{unknown:?}");
        }
    }

    #[test]
    fn the_ring_is_bounded_and_knows_where_it_begins() {
        let hub = Hub::new();
        for seq in 1..=RING as u64 + 10 {
            hub.publish(&head(seq));
        }
        assert_eq!(hub.lock().recent.len(), RING);
        assert_eq!(hub.subscribe(Some(at(10))).0.len(), RING);
        assert!(texts(&hub.subscribe(Some(at(9))).0)[0].starts_with("event: heartbeat"));
    }

    #[test]
    fn what_was_published_is_sent_before_a_stream_ends() {
        let hub = Hub::new();
        let (_, receiver) = hub.subscribe(None);
        let mut receiver = receiver.unwrap();
        hub.publish(&head(1));
        hub.close();
        assert!(receiver.try_recv().is_ok());
        assert!(matches!(receiver.try_recv(), Err(broadcast::error::TryRecvError::Closed)));
    }
}
