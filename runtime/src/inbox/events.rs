//! Events on their way to one app.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::ATTEMPTS;
use crate::budget::Hold;

/// The most topics one instance may be subscribed to.
pub(crate) const TOPICS: usize = 64;
/// The most events that wait for one app and user.
pub(super) const EVENTS: usize = 256;
/// The most bytes of them, unless it is a single one.
pub(super) const EVENT_BYTES: usize = 1 << 20;

/// Bytes of what surrounds an event when it is told: the method's name, its id, and the names of its parts.
pub(super) const AROUND: usize = 128;

/// One event. Copies share its data, and each app is charged for its own.
#[derive(Debug)]
pub(super) struct Event {
    /// Of the host's run in which it was published.
    run: Arc<str>,
    pub(super) number: u64,
    pub(super) topic: Arc<str>,
    pub(super) data: Arc<RawValue>,
    /// Deliveries begun. Counted before, so that an event that crashes its app is not told for ever.
    pub(super) attempts: u32,
    /// An instance had it before this one.
    pub(super) redelivered: bool,
    /// None while it waits for an instance to come, and while it is told: the call is charged for it then.
    hold: Option<Hold>,
}

impl Event {
    pub(super) fn new(run: Arc<str>, number: u64, topic: &str, data: Box<RawValue>) -> Self {
        let (topic, data) = (topic.into(), data.into());
        Self { run, number, topic, data, attempts: 0, redelivered: false, hold: None }
    }

    /// The same event, charged with `hold`.
    pub(super) fn copy(&self, hold: Option<Hold>) -> Self {
        let (run, topic, data) = (self.run.clone(), self.topic.clone(), self.data.clone());
        Self { run, topic, data, hold, ..*self }
    }

    /// Unlike that of any other event of this host, of earlier runs too: an app may remember it.
    pub(super) fn id(&self) -> String {
        format!("{}-{}", self.run, self.number)
    }

    pub(super) fn bytes(&self) -> usize {
        self.topic.len() + self.data.get().len()
    }

    /// What it is charged at: as much as telling it takes, so that what fits can also be told.
    pub(super) fn charged(&self) -> usize {
        self.bytes() + AROUND
    }

    /// Makes room for the call that tells it.
    pub(super) fn release(&mut self) {
        self.hold = None;
    }
}

/// Events by number, which is the order they are told in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<u64, Event>,
    bytes: usize,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Bytes that it takes while no instance is charged for it.
    pub(super) fn kept_bytes(&self) -> usize {
        self.bytes + self.events.len() * AROUND
    }

    /// Drops the oldest; false if there is none.
    pub(super) fn drop_front(&mut self) -> bool {
        let oldest = self.events.pop_first();
        self.bytes -= oldest.as_ref().map_or(0, |(_, event)| event.bytes());
        oldest.is_some()
    }

    pub(super) fn front(&mut self) -> Option<&mut Event> {
        self.events.values_mut().next()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Event> {
        self.events.get_mut(&number)
    }

    /// False if there is no room.
    pub(super) fn push(&mut self, event: Event) -> bool {
        let bytes = event.bytes();
        let room = self.events.len() < EVENTS && self.bytes.saturating_add(bytes) <= EVENT_BYTES;
        if !room && !self.events.is_empty() {
            return false;
        }
        if self.events.insert(event.number, event).is_none() {
            self.bytes += bytes;
        }
        true
    }

    pub(super) fn remove(&mut self, number: u64) -> bool {
        let removed = self.events.remove(&number);
        self.bytes -= removed.as_ref().map_or(0, Event::bytes);
        removed.is_some()
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.events.retain(|_, event| *event.topic != *topic);
        self.bytes = self.events.values().map(Event::bytes).sum();
    }

    /// Charges what no instance was charged for yet; drops what there is no memory for, and returns how many.
    pub(super) fn charge(&mut self, hold: impl Fn(usize) -> Option<Hold>) -> u64 {
        let before = self.events.len();
        self.events.retain(|_, event| {
            if event.hold.is_none() {
                event.hold = hold(event.charged());
            }
            event.hold.is_some()
        });
        self.bytes = self.events.values().map(Event::bytes).sum();
        (before - self.events.len()) as u64
    }

    /// Charges an event again that was not taken. Where there is no memory by now it waits all the same: it is one.
    pub(super) fn charge_again(&mut self, number: u64, hold: impl Fn(usize) -> Option<Hold>) {
        if let Some(event) = self.events.get_mut(&number) {
            event.hold = hold(event.charged());
        }
    }

    /// The instance that was charged for them is no more.
    pub(super) fn discharge(&mut self) {
        self.events.values_mut().for_each(|event| event.hold = None);
    }

    /// Marks every event for its next receiver; drops those that were tried often enough, and returns how many.
    pub(super) fn seen_before(&mut self) -> u64 {
        let before = self.events.len();
        self.events.retain(|_, event| event.attempts < ATTEMPTS);
        self.events.values_mut().for_each(|event| event.redelivered = true);
        self.bytes = self.events.values().map(Event::bytes).sum();
        (before - self.events.len()) as u64
    }

    /// Adds what is not in it yet, as far as there is room; returns how many were lost.
    pub(super) fn merge(&mut self, other: Self) -> usize {
        let mut lost = 0;
        for (number, event) in other.events {
            if !self.events.contains_key(&number) && !self.push(event) {
                lost += 1;
            }
        }
        lost
    }
}
