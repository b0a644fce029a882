//! The time, in the one form that documents have it.

use std::time::{SystemTime, UNIX_EPOCH};

use mpkg_package::Time;

use crate::failure::{Failure, Refusal};
use crate::registry::Registry;

/// Seconds since 1970.
pub(crate) fn unix(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or_default()
}

/// As documents have it. None for years that they do not know.
pub(crate) fn time(seconds: i64) -> Option<Time> {
    Time::from_unix(seconds)
}

impl Registry {
    /// Seconds since 1970, now.
    pub(crate) fn unix(&self) -> i64 {
        unix((self.config.now)())
    }

    /// Now, as documents have it.
    pub(crate) fn time(&self) -> Result<Time, Failure> {
        Ok(time(self.unix()).ok_or(Refusal::Internal)?)
    }
}
