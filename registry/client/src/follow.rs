//! Keeping a stream open.

use std::time::{Duration, Instant};

use mpkg_fleet::{Position, StreamEvent};
use reqwest::{Method, Response};

use crate::error::ClientError;
use crate::request::Client;

/// Bytes of one event: a head and the states that came with it.
const EVENT: usize = 16 << 20;
/// Bytes of room that are kept between events.
const KEPT: usize = 64 << 10;

/// How long to wait before the next try: longer each time, and never the same for two hosts, since ten thousand of them
/// lose their streams in the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait, at most.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), most: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// A random time up to twice as long with each try, counted from 1 ("full jitter").
    pub fn wait(&self, tries: u32) -> Duration {
        let bound = self.first.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
        let bound = bound.min(self.most);
        // Without randomness all wait the longest, which is slow and harmless.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// A stream of state, opened again whenever it breaks.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    backoff: Backoff,
    last: Option<Position>,
    open: Option<(Instant, Response)>,
    buffer: Buffer,
    tries: u32,
}

impl Client {
    /// Follows the state from a head on; without one, from whatever is newest.
    pub fn follow(&self, known: Option<Position>, backoff: Backoff) -> Follower {
        Follower {
            client: self.clone(),
            backoff,
            last: known,
            open: None,
            buffer: Buffer::default(),
            tries: 0,
        }
    }
}

impl Follower {
    /// The head that the last event led to.
    pub fn last(&self) -> Option<Position> {
        self.last
    }

    /// How long the connection has been open; none while there is none.
    pub fn connected(&self) -> Option<Duration> {
        self.open.as_ref().map(|(since, _)| since.elapsed())
    }

    /// The next event. It may be given up at any moment, without an event being lost. It waits, over lost connections too, and gives up only where trying again is of no use: at a
    /// token that does not count, for one.
    pub async fn next(&mut self) -> Result<StreamEvent, ClientError> {
        loop {
            match self.step().await {
                Ok(Some(event)) => {
                    self.tries = 0;
                    if let StreamEvent::Head { at, .. } = &event {
                        self.last = Some(*at);
                    }
                    return Ok(event);
                }
                Ok(None) => {}
                Err(error) if error.is_passing() => tracing::debug!(%error, "the stream broke"),
                Err(error) => return Err(error),
            }
            self.open = None;
            self.buffer = Buffer::default();
            self.tries = self.tries.saturating_add(1);
            tokio::time::sleep(self.backoff.wait(self.tries)).await;
        }
    }

    /// An event, or none at the end of a connection.
    async fn step(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        loop {
            if let Some(event) = self.buffer.take()? {
                return Ok(Some(event));
            }
            if self.buffer.bytes.len() > EVENT {
                return Err(ClientError::TooLarge { limit: EVENT });
            }
            let (_, response) = match &mut self.open {
                Some(open) => open,
                None => {
                    let response = self.client.stream(self.last).await?;
                    self.open.insert((Instant::now(), response))
                }
            };
            match response.chunk().await? {
                Some(chunk) => self.buffer.bytes.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

impl Client {
    async fn stream(&self, last: Option<Position>) -> Result<Response, ClientError> {
        let mut request = self.request(Method::GET, self.url(&["v1", "stream"], &[]));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        let response = request.send().await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(crate::request::refusal(response).await)
        }
    }
}

/// What came and is no whole event yet.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Bytes that were looked through and in which no event ends. A long event comes in thousands of pieces, and looking
    /// through all of them at each would keep a device's processor busy for minutes.
    searched: usize,
}

impl Buffer {
    /// Takes the first whole event out.
    fn take(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        let unseen = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(found) = unseen.windows(2).position(|pair| pair == b"\n\n") else {
            // The last byte may be the first half of an end.
            self.searched = self.bytes.len().saturating_sub(1);
            return Ok(None);
        };
        let event: Vec<u8> = self.bytes.drain(..self.searched + found + 2).collect();
        self.searched = 0;
        // An event in a month is megabytes long; the room for it is not kept until the next one.
        self.bytes.shrink_to(KEPT);
        let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
        let data = data.ok_or_else(|| ClientError::Answer("an event without data".into()))?;
        serde_json::from_slice(data).map(Some).map_err(|error| ClientError::Answer(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        let text =
            b"event: heartbeat\ndata: {\"type\":\"heartbeat\",\"at\":{\"epoch\":1,\"seq\":2}}\n\nid: 1.3\nda";
        for cut in 0..text.len() {
            let mut buffer = Buffer { bytes: text[..cut].to_vec(), searched: 0 };
            let early = buffer.take().unwrap();
            buffer.bytes.extend_from_slice(&text[cut..]);
            let late = buffer.take().unwrap();
            assert!(early.is_some() != late.is_some(), "{cut}");
            assert_eq!(buffer.bytes, b"id: 1.3\nda");
        }
        assert!(Buffer { bytes: b"event: x\n\n".to_vec(), searched: 0 }.take().is_err());
    }

    #[test]
    fn a_long_event_is_looked_through_once_and_its_room_given_back() {
        let head = "x".repeat(4 << 20);
        let event = StreamEvent::Head {
            prev: Position::default(),
            at: Position { epoch: 1, seq: 1 },
            head,
            apps: Vec::new(),
        };
        let text = format!("event: head\ndata: {}\n\n", serde_json::to_string(&event).unwrap());
        let mut buffer = Buffer::default();
        let mut found = None;
        for piece in text.as_bytes().chunks(1 << 10) {
            let before = buffer.bytes.len();
            buffer.bytes.extend_from_slice(piece);
            assert!(found.is_none() && buffer.searched + 1 >= before, "nothing is looked through again");
            found = buffer.take().unwrap();
        }
        assert_eq!(found, Some(event));
        assert!(buffer.bytes.is_empty() && buffer.bytes.capacity() <= KEPT, "{}", buffer.bytes.capacity());
    }

    #[test]
    fn waits_grow_to_their_bound_and_differ() {
        let backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_secs(8) };
        for tries in [1, 2, 3, 4, 40, u32::MAX] {
            let bound = Duration::from_secs(1 << (tries - 1).min(3));
            assert!((0..50).all(|_| backoff.wait(tries) <= bound), "{tries}");
        }
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| backoff.wait(9)).collect();
        assert!(waits.len() > 1);
    }
}
