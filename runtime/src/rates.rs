//! How often things may happen: calls of a method, lines of a log.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Rates of built-in methods that cost more than the call: they write to disk or wake somebody up.
pub(crate) const BUILTIN: &[(&str, u32)] = &[
    ("storage.set", 200),
    ("storage.delete", 200),
    ("storage.transaction", 100),
    ("storage.clear", 20),
    ("files.write", 100),
    ("files.delete", 100),
    ("events.publish", 200),
    ("events.subscribe", 100),
    ("events.unsubscribe", 100),
    ("network.fetch", 50),
    ("notifications.show", 10),
];

/// So many a second, and as many at once after a pause.
pub(crate) struct Rate(DefaultDirectRateLimiter);

impl std::fmt::Debug for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rate")
    }
}

impl Rate {
    /// At least one a second.
    pub(crate) fn per_second(rate: u32) -> Self {
        let rate = NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::direct(Quota::per_second(rate)))
    }

    /// Counts one more, or says how long to wait for it.
    pub(crate) fn check(&self) -> Result<(), Duration> {
        self.0.check().map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }
}

/// The rates of one instance's methods, by their places.
#[derive(Debug, Default)]
pub(crate) struct Rates(Box<[Option<Rate>]>);

impl Rates {
    pub(crate) fn new(per_second: impl Iterator<Item = Option<NonZeroU32>>) -> Self {
        Self(per_second.map(|rate| rate.map(|rate| Rate::per_second(rate.get()))).collect())
    }

    #[inline]
    pub(crate) fn check(&self, place: usize) -> Result<(), Duration> {
        match self.0.get(place) {
            Some(Some(rate)) => rate.check(),
            Some(None) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn a_method_without_a_rate_is_not_held_up() {
        let rates = Rates::new([None, NonZeroU32::new(1)].into_iter());
        assert!((0..10_000).all(|_| rates.check(0).is_ok()));
        assert!(rates.check(1).is_ok());
        assert!(rates.check(1).unwrap_err() <= Duration::from_secs(1));
        assert!(rates.check(7).is_ok());
    }
}
