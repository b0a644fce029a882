//! `clock`: wall and monotonic time. Needs no permission.

use serde::Serialize;

use super::Bridge;
use super::params::Nothing;
use crate::account::nanos;

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
        .immediate("clock.now", |caller, _: Nothing| {
            let since = caller.session.senses.unix();
            Ok(Now { unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) })
        })
        .immediate("clock.monotonic", |caller, _: Nothing| {
            Ok(Monotonic { nanos: nanos(caller.session.senses.elapsed()) })
        })
}
