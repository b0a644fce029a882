//! What waits in a lane, and how its deliveries are getting on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;

use super::events::Queue;
use super::timers::Timers;
use super::watch::{Changes, Watch};
use super::{ATTEMPTS, PERMISSION};
use crate::budget::Hold;

/// The pause before a delivery is tried again; each further one is `GROWTH` times as long.
const PAUSE: Duration = Duration::from_millis(100);
const GROWTH: u32 = 5;

/// How a delivery is getting on.
#[derive(Debug, Default)]
pub(super) struct Retry {
    attempts: u32,
    pub(super) not_before: Option<Instant>,
}

impl Retry {
    pub(super) fn begin(&mut self) {
        self.attempts += 1;
        self.not_before = None;
    }

    fn ready(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// True if this was the last attempt.
    fn failed(&mut self, now: Instant) -> bool {
        self.not_before = Some(now + pause(self.attempts));
        self.attempts >= ATTEMPTS
    }

    /// The guest could not be asked: that is no attempt.
    fn postponed(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_sub(1);
        self.not_before = Some(now + PAUSE);
    }
}

fn pause(attempts: u32) -> Duration {
    PAUSE.saturating_mul(GROWTH.saturating_pow(attempts.saturating_sub(1)))
}

/// One thing to tell a guest.
#[derive(Debug)]
pub(super) enum Delivery {
    Event { number: u64, id: String, topic: Arc<str>, data: Arc<RawValue>, redelivered: bool },
    Changed(Changes),
    Timer { id: String, number: u64 },
}

/// How telling it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// The guest had no room for it just now.
    Busy,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) topics: BTreeSet<String>,
    pub(super) queue: Queue,
    pub(super) events: Retry,
    pub(super) watch: Watch,
    pub(super) timers: Timers,
    /// Whose turn it is: none of the three kinds may starve the others.
    pub(super) turn: u8,
    pub(super) closed: bool,
    /// Its successor gets nothing of it.
    pub(super) heirless: bool,
    /// Charged for everything but the events.
    pub(super) names: Option<Hold>,
}

impl State {
    pub(super) fn next_event(&mut self, now: Instant, allowed: &impl Fn(&str) -> bool) -> Option<Delivery> {
        if self.queue.is_empty() || !self.events.ready(now) || !allowed(PERMISSION) {
            return None;
        }
        let event = self.queue.front()?;
        event.attempts += 1;
        event.release();
        self.events.attempts = event.attempts;
        self.events.not_before = None;
        Some(Delivery::Event {
            number: event.number,
            id: event.id(),
            topic: event.topic.clone(),
            data: event.data.clone(),
            redelivered: event.redelivered || event.attempts > 1,
        })
    }

    pub(super) fn next_changes(&mut self, now: Instant, allowed: &impl Fn(&str) -> bool) -> Option<Delivery> {
        if !self.watch.pending() || !self.watch.retry.ready(now) || !allowed("storage") {
            return None;
        }
        self.watch.retry.begin();
        Some(Delivery::Changed(self.watch.take()))
    }

    /// Each of these tells whether the delivery was given up.
    pub(super) fn event_ended(&mut self, number: u64, outcome: Outcome, now: Instant) -> bool {
        let give_up = match outcome {
            Outcome::Done => true,
            Outcome::Failed => self.events.failed(now),
            Outcome::Busy => {
                self.events.postponed(now);
                let attempts = self.events.attempts;
                // It may be gone: the guest may have unsubscribed in its handler.
                if let Some(event) = self.queue.get_mut(number) {
                    event.attempts = attempts;
                }
                false
            }
        };
        if give_up {
            self.queue.remove(number);
            self.events = Retry::default();
        }
        give_up && outcome == Outcome::Failed
    }

    pub(super) fn changes_ended(&mut self, changes: Changes, outcome: Outcome, now: Instant) -> bool {
        let give_up = match outcome {
            Outcome::Done => true,
            Outcome::Failed => self.watch.retry.failed(now),
            Outcome::Busy => {
                self.watch.retry.postponed(now);
                false
            }
        };
        if give_up {
            self.watch.retry = Retry::default();
        } else {
            self.watch.put_back(changes);
        }
        give_up && outcome == Outcome::Failed
    }

    pub(super) fn timer_ended(&mut self, id: &str, number: u64, outcome: Outcome, now: Instant) -> bool {
        // It may be gone, or another: the guest may have set or cleared it in its handler.
        let Some(retry) = self.timers.retry(id, number) else { return false };
        let give_up = match outcome {
            Outcome::Done => true,
            Outcome::Failed => retry.failed(now),
            Outcome::Busy => {
                retry.postponed(now);
                false
            }
        };
        if give_up {
            self.timers.done(id, number, now);
        }
        give_up && outcome == Outcome::Failed
    }
}
