//! The timers of one instance.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::state::Retry;

/// The most timers of one instance.
pub(crate) const TIMERS: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Timers {
    by_id: BTreeMap<String, Timer>,
    made: u64,
}

#[derive(Debug)]
struct Timer {
    /// Tells a timer from one that took its id while it was being told.
    number: u64,
    due: Instant,
    every: Option<Duration>,
    retry: Retry,
}

/// What an app is told about one of its timers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TimerState {
    pub(crate) id: String,
    pub(crate) left: Duration,
    pub(crate) every: Option<Duration>,
}

impl Timers {
    /// Sets a timer, in the place of one with the same id. False if there are too many.
    pub(super) fn set(&mut self, id: &str, due: Instant, every: Option<Duration>) -> bool {
        if self.by_id.len() >= TIMERS && !self.by_id.contains_key(id) {
            return false;
        }
        self.made += 1;
        let timer = Timer { number: self.made, due, every, retry: Retry::default() };
        self.by_id.insert(id.to_owned(), timer);
        true
    }

    /// An id that is not in use.
    pub(super) fn free_id(&self) -> String {
        let mut number = self.made + 1;
        while self.by_id.contains_key(&format!("timer-{number}")) {
            number += 1;
        }
        format!("timer-{number}")
    }

    /// Bytes of their names.
    pub(super) fn bytes(&self) -> usize {
        self.by_id.keys().map(String::len).sum()
    }

    pub(super) fn clear(&mut self, id: &str) -> bool {
        self.by_id.remove(id).is_some()
    }

    pub(super) fn states(&self, now: Instant) -> Vec<TimerState> {
        let state = |(id, timer): (&String, &Timer)| TimerState {
            id: id.clone(),
            left: timer.due.saturating_duration_since(now),
            every: timer.every,
        };
        self.by_id.iter().map(state).collect()
    }

    /// The timer that is due longest, begun: a delivery of it counts from here.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(String, u64)> {
        let due = self.by_id.iter_mut().filter(|(_, timer)| timer.at() <= now);
        let (id, timer) = due.min_by_key(|(_, timer)| timer.at())?;
        timer.retry.begin();
        Some((id.clone(), timer.number))
    }

    /// When there is something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.by_id.values().map(Timer::at).min()
    }

    /// The timer was told, or is given up: it goes, or goes on from `now` in its own beat. What it missed meanwhile is
    /// not made up for.
    pub(super) fn done(&mut self, id: &str, number: u64, now: Instant) {
        let Some(timer) = self.by_id.get_mut(id).filter(|timer| timer.number == number) else { return };
        timer.retry = Retry::default();
        match timer.every.filter(|every| !every.is_zero()) {
            None => drop(self.by_id.remove(id)),
            Some(every) => {
                let late = now.saturating_duration_since(timer.due).as_nanos() % every.as_nanos();
                timer.due = now + every.saturating_sub(Duration::from_nanos(late.try_into().unwrap_or(0)));
            }
        }
    }

    pub(super) fn retry(&mut self, id: &str, number: u64) -> Option<&mut Retry> {
        self.by_id.get_mut(id).filter(|timer| timer.number == number).map(|timer| &mut timer.retry)
    }
}

impl Timer {
    fn at(&self) -> Instant {
        self.retry.not_before.map_or(self.due, |pause| pause.max(self.due))
    }
}
