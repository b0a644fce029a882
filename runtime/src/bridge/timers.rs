//! `timers`: wakes an app after a while. Needs no permission.
//!
//! A timer that is due is told as `timers.fired {id}`, one call at a time like everything else. It is bound to the
//! instance: it waits while that is suspended, and ends with it. Firings that were missed are not made up for.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Bridge;
use super::params::Nothing;
use crate::inbox::{TIMERS, TimerState};
use crate::rpc::{RpcError, code};

/// The longest id of a timer, in bytes.
const ID: usize = 64;
/// The shortest time between two firings of a repeating timer, in milliseconds.
const EVERY_MIN: u64 = 100;
/// The longest time of any timer, in milliseconds: 30 days.
const LONGEST: u64 = 30 * 24 * 60 * 60 * 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    #[serde(default)]
    id: Option<String>,
    after_ms: u64,
    #[serde(default)]
    every_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Id {
    id: String,
}

#[derive(Serialize)]
struct Made {
    id: String,
}

#[derive(Serialize)]
struct Cleared {
    existed: bool,
}

#[derive(Serialize)]
struct Listed {
    timers: Vec<Shown>,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    left_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_ms: Option<u64>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<TimerState> for Shown {
    fn from(TimerState { id, left, every }: TimerState) -> Self {
        Self { id, left_ms: millis(left), every_ms: every.map(millis) }
    }
}

fn check(set: &Set) -> Result<(), RpcError> {
    if let Some(id) = set.id.as_ref().filter(|id| id.is_empty() || id.len() > ID) {
        let message = format!("`id` has {} bytes; it must have from 1 to {ID}.", id.len());
        return Err(RpcError::invalid_params(message));
    }
    if set.after_ms > LONGEST {
        let message = format!("`after_ms` is {}; it must be at most {LONGEST}.", set.after_ms);
        return Err(RpcError::invalid_params(message));
    }
    match set.every_ms {
        Some(every) if !(EVERY_MIN..=LONGEST).contains(&every) => Err(RpcError::invalid_params(format!(
            "`every_ms` is {every}; it must be from {EVERY_MIN} to {LONGEST}."
        ))),
        _ => Ok(()),
    }
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("timers")
        .immediate("timers.set", |caller, set: Set| {
            check(&set)?;
            let Set { id, after_ms, every_ms } = set;
            let every = every_ms.map(Duration::from_millis);
            let id = caller.session.local.lane.set_timer(id, Duration::from_millis(after_ms), every);
            id.map(|id| Made { id }).ok_or_else(|| {
                let message =
                    format!("This app has {TIMERS} timers, which is the most, or no memory for another.");
                RpcError::new(code::BUSY, message)
            })
        })
        .immediate("timers.clear", |caller, Id { id }| {
            Ok(Cleared { existed: caller.session.local.lane.clear_timer(&id) })
        })
        .immediate("timers.list", |caller, _: Nothing| {
            let timers = caller.session.local.lane.timers().into_iter().map(Shown::from).collect();
            Ok(Listed { timers })
        })
}
