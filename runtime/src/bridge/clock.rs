//! `clock`: wall and monotonic time. Needs no permission.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Bridge;
use super::params::Nothing;

#[derive(Serialize)]
struct Now {
    unix_ms: u64,
}

#[derive(Serialize)]
struct Monotonic {
    nanos: u64,
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("clock")
        .immediate("clock.now", |_, _: Nothing| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(Now { unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) })
        })
        .immediate("clock.monotonic", |caller, _: Nothing| {
            // Counted from the launch: the host's own uptime is nobody's business.
            let since = caller.session.life.age();
            Ok(Monotonic { nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) })
        })
}
