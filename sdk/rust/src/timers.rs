//! Wakes the app after a while. Needs no permission.
//!
//! A timer that is due arrives as `timers.fired`: take it with
//! `#[on("timers.fired")] fn fired(&mut self, timer: timers::Fired)`. Timers end with the instance, wait while it is hidden,
//! and never fire while the app is doing something else; what was missed is not made up for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bridge::{self, Empty};

/// `timers.fired`: a timer is due.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Fired {
    /// Which one.
    pub id: String,
}

/// A timer that is set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Timer {
    /// Its id.
    pub id: String,
    /// Milliseconds until it fires next.
    pub left_ms: u64,
    /// Milliseconds between firings, if it repeats.
    #[serde(default)]
    pub every_ms: Option<u64>,
}

#[derive(Serialize)]
struct Set<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    after_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
}

fn set(id: Option<&str>, after: Duration, every: Option<Duration>) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let set = Set { id, after_ms: millis(after), every_ms: every.map(millis) };
    bridge::request(bridge::timers, "timers.set", &set).map(|answer: Made| answer.id)
}

/// Fires once. Takes the place of a timer with the same id; without one it gets one. Returns the id. There may be 32 at a
/// time: more are [`Error::Busy`].
pub fn after(id: Option<&str>, time: Duration) -> Result<String, Error> {
    set(id, time, None)
}

/// Fires again and again, first after `time`. At least 100 milliseconds.
pub fn every(id: Option<&str>, time: Duration) -> Result<String, Error> {
    set(id, time, Some(time))
}

/// Stops a timer. Tells whether it was set.
pub fn clear(id: &str) -> Result<bool, Error> {
    #[derive(Serialize)]
    struct Id<'a> {
        id: &'a str,
    }
    #[derive(Deserialize)]
    struct Cleared {
        existed: bool,
    }
    bridge::request(bridge::timers, "timers.clear", &Id { id }).map(|answer: Cleared| answer.existed)
}

/// The timers that are set.
pub fn list() -> Result<Vec<Timer>, Error> {
    #[derive(Deserialize)]
    struct Listed {
        timers: Vec<Timer>,
    }
    bridge::request(bridge::timers, "timers.list", &Empty {}).map(|answer: Listed| answer.timers)
}
