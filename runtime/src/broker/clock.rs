//! The clock that grants run out by.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::data::unix_ms;

/// Milliseconds since 1970 that never go back: where the device's clock is set back, time goes on as the monotonic
/// clock has it. Else whoever sets the clock could keep a grant from running out.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// The greatest difference seen between the device's clock and the monotonic one.
    ahead: AtomicU64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), ahead: AtomicU64::new(0) }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.read(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX), unix_ms())
    }

    fn read(&self, monotonic: u64, wall: u64) -> u64 {
        let ahead = wall.saturating_sub(monotonic);
        self.ahead.fetch_max(ahead, Ordering::AcqRel).max(ahead).saturating_add(monotonic)
    }

    /// Lets time pass.
    #[cfg(test)]
    pub(crate) fn advance(&self, ms: u64) {
        self.now_ms();
        self.ahead.fetch_add(ms, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_gains_nothing() {
        let clock = Clock::new();
        assert_eq!(clock.read(0, 1_000_000), 1_000_000);
        assert_eq!(clock.read(500, 1_000_500), 1_000_500);
        assert_eq!(clock.read(600, 400_000), 1_000_600, "set back: the monotonic clock goes on");
        assert_eq!(clock.read(700, 2_000_000), 2_000_000, "set forward: grants run out");
        assert_eq!(clock.read(800, 400_200), 2_000_100);
    }
}
