//! The stream of state: one event is encoded once, however many listen.
//!
//! A listener is a socket and the number of the event that it gets next, in one shared ring of encoded events. Who
//! reads too slowly loses its place in the ring, not the registry's memory: it is told the newest head and fetches.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mpkg_fleet::{Position, StreamEvent};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::listeners::Listener;
use crate::seats::{Seat, Seats};

/// Events that a slow reader may be behind, and that one who comes back is given.
const RING: usize = 256;
/// Bytes of events that are kept for those who come back.
const KEPT: usize = 16 << 20;

pub(crate) struct Hub {
    inner: Mutex<Inner>,
    /// Wakes the sender.
    pub(crate) news: Notify,
    /// Everybody who listens, wherever the socket is at the moment.
    pub(crate) streams: TaskTracker,
    seats: Arc<Seats>,
}

struct Event {
    /// For a head, which one it is.
    head: Option<Position>,
    bytes: Bytes,
}

struct Inner {
    open: bool,
    at: Position,
    ring: VecDeque<Event>,
    /// The number of the ring's first event.
    first: u64,
    bytes: usize,
    /// The head before the ring's first event.
    from: Option<Position>,
    /// Those that have been sent everything, and wait for the sender to take them over.
    joined: Vec<Listener>,
    /// Tokens that were revoked.
    revoked: HashSet<String>,
    /// Whether the sender still has some whose token was revoked or whose place another one has.
    leaving: bool,
    /// When it is time for a heartbeat: what time it is.
    beat: Option<i64>,
}

/// What the sender does in one round.
pub(crate) struct Round {
    /// Whether there will be more.
    pub(crate) open: bool,
    /// What those get who have everything, if it is time to.
    pub(crate) beat: Option<Bytes>,
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
    /// For a registry that has so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        let inner = Inner {
            open: true,
            at: Position::default(),
            ring: VecDeque::new(),
            first: 0,
            bytes: 0,
            from: None,
            joined: Vec::new(),
            revoked: HashSet::new(),
            leaving: false,
            beat: None,
        };
        let seats = Arc::new(Seats::new(connections));
        Self { inner: Mutex::new(inner), news: Notify::new(), streams: TaskTracker::new(), seats }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn at(&self) -> Position {
        self.lock().at
    }

    pub(crate) fn listeners(&self) -> usize {
        self.streams.len()
    }

    /// Sends events to everybody, and keeps them for those who come back. What a change brings comes in one go, so that
    /// it goes out in one packet.
    pub(crate) fn publish(&self, events: &[StreamEvent]) {
        let encoded: Vec<_> = events.iter().map(encode).collect();
        let mut inner = self.lock();
        for (event, bytes) in events.iter().zip(encoded) {
            inner.push(event, bytes);
        }
        drop(inner);
        self.news.notify_one();
    }

    /// Tells everybody where the newest head is, and lets go of those who are not there any more.
    pub(crate) fn heartbeat(&self, now: i64) {
        self.lock().beat = Some(now);
        self.news.notify_one();
    }

    /// Ends the streams of a token, for ever.
    pub(crate) fn revoke(&self, token: &str) {
        let mut inner = self.lock();
        inner.revoked.insert(token.to_owned());
        inner.leaving = true;
        drop(inner);
        self.news.notify_one();
    }

    /// A place for a stream of a token, whose oldest ends if it has too many. None if others have all of them.
    pub(crate) fn seat(&self, token: &str) -> Option<Seat> {
        let (seat, for_another) = self.seats.take(token)?;
        if for_another {
            self.lock().leaving = true;
            self.news.notify_one();
        }
        Some(seat)
    }

    /// Ends all streams, once they have sent what was published.
    pub(crate) fn close(&self) {
        self.lock().open = false;
        self.streams.close();
        self.news.notify_one();
    }

    /// What came after `known`, or where the newest head stands for someone who knows nothing of that; and the number
    /// of the event after. Nothing is lost or sent twice in between, since both are taken under one lock.
    pub(crate) fn begin(&self, known: Option<Position>) -> (VecDeque<Bytes>, u64) {
        let inner = self.lock();
        match known.and_then(|known| inner.after(known)) {
            Some(number) => inner.since(number),
            None => inner.lost(),
        }
    }

    /// What comes from an event on, and the number of the event after.
    pub(crate) fn since(&self, number: u64) -> (VecDeque<Bytes>, u64) {
        self.lock().since(number)
    }

    /// Hands a listener that has everything to the sender. One that has not comes back, with what it lacks.
    pub(crate) fn join(&self, mut listener: Listener) -> Option<(Listener, VecDeque<Bytes>)> {
        let mut inner = self.lock();
        let (missed, next) = inner.since(listener.next);
        if !missed.is_empty() {
            listener.next = next;
            return Some((listener, missed));
        }
        if inner.open && !inner.leaves(&listener) {
            inner.joined.push(listener);
        }
        None
    }

    /// Begins a round: takes over who has joined since the last one, into the smallest part.
    pub(crate) fn round(&self, parts: &mut [Vec<Listener>]) -> Round {
        let mut inner = self.lock();
        for listener in std::mem::take(&mut inner.joined) {
            if let Some(part) = parts.iter_mut().min_by_key(|part| part.len()) {
                part.push(listener);
            }
        }
        let leaving = std::mem::take(&mut inner.leaving);
        let now = inner.beat.take();
        for part in parts {
            part.retain(|listener| {
                let leaves = leaving && inner.leaves(listener);
                !leaves && now.is_none_or(|now| listener.is_there(now))
            });
        }
        let beat = now.map(|_| encode(&StreamEvent::Heartbeat { at: inner.at }));
        Round { open: inner.open, beat }
    }
}

impl Inner {
    fn leaves(&self, listener: &Listener) -> bool {
        listener.seat.ended.is_cancelled() || self.revoked.contains(&*listener.seat.token)
    }

    fn push(&mut self, event: &StreamEvent, bytes: Bytes) {
        let mut head = None;
        if let StreamEvent::Head { prev, at, .. } = event {
            self.from.get_or_insert(*prev);
            (head, self.at) = (Some(*at), *at);
        }
        self.bytes += bytes.len();
        self.ring.push_back(Event { head, bytes });
        while self.ring.len() > RING || self.bytes > KEPT {
            // Up to the next head, since what is between two heads is of use as a whole only.
            while let Some(gone) = self.ring.pop_front() {
                self.first += 1;
                self.bytes -= gone.bytes.len();
                if gone.head.is_some() {
                    self.from = gone.head;
                    break;
                }
            }
        }
    }

    fn end(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// The number of the event after a head, as long as that is known.
    fn after(&self, known: Position) -> Option<u64> {
        if self.from == Some(known) {
            return Some(self.first);
        }
        let index = self.ring.iter().position(|event| event.head == Some(known))?;
        Some(self.first + index as u64 + 1)
    }

    fn since(&self, number: u64) -> (VecDeque<Bytes>, u64) {
        let Some(skip) = number.checked_sub(self.first) else { return self.lost() };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        (self.ring.iter().skip(skip).map(|event| event.bytes.clone()).collect(), self.end())
    }

    /// For one that lost its place: with the newest head's it knows that it has to fetch. What came after that head is
    /// not in anything that can be fetched yet.
    fn lost(&self) -> (VecDeque<Bytes>, u64) {
        let after = self.ring.iter().rev().take_while(|event| event.head.is_none()).count();
        let mut events = VecDeque::from([encode(&StreamEvent::Heartbeat { at: self.at })]);
        events.extend(self.ring.iter().skip(self.ring.len() - after).map(|event| event.bytes.clone()));
        (events, self.end())
    }
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

    fn stop() -> StreamEvent {
        StreamEvent::Stop { notice: "n".into() }
    }

    /// The first line of each event.
    fn names(events: &VecDeque<Bytes>) -> Vec<String> {
        let texts = events.iter().map(|event| String::from_utf8(event.to_vec()).unwrap());
        texts.map(|it| it.lines().next().unwrap().to_owned()).collect()
    }

    #[test]
    fn who_comes_back_gets_what_it_missed_stops_included() {
        let hub = Hub::new(16);
        for seq in 1..=3 {
            hub.publish(&[head(seq)]);
        }
        hub.publish(&[stop(), head(4)]);
        assert_eq!(names(&hub.begin(Some(at(2))).0), ["id: 1.3", "event: stop", "id: 1.4"]);
        assert_eq!(names(&hub.begin(Some(at(0))).0).len(), 5);
        assert!(hub.begin(Some(at(4))).0.is_empty());
        for unknown in [None, Some(at(9)), Some(Position { epoch: 7, seq: 1 })] {
            assert_eq!(names(&hub.begin(unknown).0), ["event: heartbeat"], "{unknown:?}");
        }
        // A stop whose head is not there yet: nobody could fetch it.
        hub.publish(&[stop()]);
        assert_eq!(names(&hub.begin(Some(at(4))).0), ["event: stop"]);
        assert_eq!(names(&hub.begin(None).0), ["event: heartbeat", "event: stop"]);
    }

    #[test]
    fn the_ring_is_bounded_and_knows_where_it_begins() {
        let hub = Hub::new(16);
        for seq in 1..=RING as u64 + 10 {
            hub.publish(&[head(seq)]);
        }
        assert_eq!(hub.lock().ring.len(), RING);
        assert_eq!(hub.begin(Some(at(10))).0.len(), RING);
        assert_eq!(names(&hub.begin(Some(at(9))).0), ["event: heartbeat"]);
        assert_eq!(names(&hub.since(9).0), ["event: heartbeat"], "one that lost its place");
        assert_eq!(hub.since(10).0.len(), RING);
        let long = StreamEvent::Stop { notice: "n".repeat(KEPT) };
        hub.publish(&[long]);
        let kept = || {
            let kept = hub.lock();
            (kept.ring.len(), kept.bytes)
        };
        assert_eq!(kept(), (0, 0), "longer than all that is kept");
        hub.publish(&[head(RING as u64 + 11)]);
        assert_eq!(kept().0, 1);
        assert!(hub.begin(Some(at(RING as u64 + 11))).0.is_empty());
    }

    #[test]
    fn numbers_go_on_where_the_last_ones_ended() {
        let hub = Hub::new(16);
        let (_, mut next) = hub.begin(None);
        let mut got = 0;
        for seq in 1..=3 * RING as u64 {
            hub.publish(&[stop(), head(seq)]);
            if seq % 50 == 0 {
                let (events, then) = hub.since(next);
                got += events.len();
                next = then;
            }
        }
        let (events, _) = hub.since(next);
        assert_eq!(got + events.len(), 6 * RING);
    }
}
