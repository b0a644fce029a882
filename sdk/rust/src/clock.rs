//! Time, as the host tells it. Needs no permission.

use std::time::Duration;

use serde::Deserialize;

use crate::Error;
use crate::bridge::{self, Empty};

/// Milliseconds since 1970-01-01 00:00 UTC. Can jump when somebody sets the device's clock.
pub fn now_ms() -> Result<i64, Error> {
    #[derive(Deserialize)]
    struct Now {
        unix_ms: i64,
    }
    bridge::request(bridge::clock, "clock.now", &Empty {}).map(|now: Now| now.unix_ms)
}

/// Time since some moment before the app was launched. Never runs backwards: use it to measure.
pub fn monotonic() -> Result<Duration, Error> {
    #[derive(Deserialize)]
    struct Monotonic {
        nanos: u64,
    }
    bridge::request(bridge::clock, "clock.monotonic", &Empty {})
        .map(|answer: Monotonic| Duration::from_nanos(answer.nanos))
}
