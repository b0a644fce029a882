//! The time, in the one form that documents have it.

use std::time::{SystemTime, UNIX_EPOCH};

use mpkg_package::Time;

/// Seconds since 1970.
pub(crate) fn unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or_default()
}

/// As documents have it. None for years that they do not know.
pub(crate) fn time(seconds: i64) -> Option<Time> {
    Time::from_unix(seconds)
}
