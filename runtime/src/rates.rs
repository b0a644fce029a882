//! How often things may happen: calls of a method, lines of a log.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

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
    ("network.open", 50),
    ("notifications.show", 10),
];

/// So many a second, and as many at once after a pause.
///
/// With the standard clock: the limiter's own default asks the processor what it is whenever one is made, which on a
/// virtual machine takes longer than launching an app.
pub(crate) struct Rate(RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<Instant>>);

impl std::fmt::Debug for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rate")
    }
}

impl Rate {
    /// At least one a second.
    pub(crate) fn per_second(rate: u32) -> Self {
        let rate = NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::direct_with_clock(Quota::per_second(rate), MonotonicClock))
    }

    /// So many a second, and `saved` at once after a pause.
    pub(crate) fn saving(per_second: NonZeroU32, saved: NonZeroU32) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(saved);
        Self(RateLimiter::direct_with_clock(quota, MonotonicClock))
    }

    /// Counts so many more, or says how long to wait for them. What is more than can be saved up counts as that.
    pub(crate) fn take(&self, many: u32) -> Result<(), Duration> {
        let Some(mut many) = NonZeroU32::new(many) else { return Ok(()) };
        loop {
            match self.0.check_n(many) {
                Ok(taken) => return taken.map_err(|until| until.wait_time_from(MonotonicClock.now())),
                Err(governor::InsufficientCapacity(most)) => match NonZeroU32::new(most) {
                    Some(most) if most < many => many = most,
                    _ => return Ok(()),
                },
            }
        }
    }

    /// Counts one more, or says how long to wait for it.
    pub(crate) fn check(&self) -> Result<(), Duration> {
        self.0.check().map_err(|not_until| not_until.wait_time_from(MonotonicClock.now()))
    }
}

/// How often each method may be called a second, by their places; the same for all instances of an app's version.
pub(crate) type Limited = Arc<[Option<NonZeroU32>]>;

/// The rates of one instance's methods, made when a call first meets one: most apps never do.
#[derive(Debug)]
pub(crate) struct Rates {
    limited: Limited,
    made: OnceLock<Box<[OnceLock<Rate>]>>,
}

impl Rates {
    pub(crate) fn new(limited: Limited) -> Self {
        Self { limited, made: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn check(&self, place: usize) -> Result<(), Duration> {
        let Some(Some(limit)) = self.limited.get(place) else { return Ok(()) };
        let made = self.made.get_or_init(|| self.limited.iter().map(|_| OnceLock::new()).collect());
        match made.get(place) {
            Some(rate) => rate.get_or_init(|| Rate::per_second(limit.get())).check(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_up_is_taken_at_once_and_no_more() {
        let of = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate::saving(of(10), of(100));
        assert!(rate.take(60).is_ok() && rate.take(0).is_ok() && rate.take(40).is_ok());
        let wait = rate.take(50).unwrap_err();
        assert!(wait > Duration::from_secs(4) && wait <= Duration::from_secs(5), "{wait:?}");
        // More than there ever is, is taken when all there is, is there.
        assert!(Rate::saving(of(10), of(100)).take(1000).is_ok());
    }

    #[test]
    fn a_method_without_a_rate_is_not_held_up() {
        let rates = Rates::new([None, NonZeroU32::new(1)].into());
        assert!((0..10_000).all(|_| rates.check(0).is_ok()));
        assert!(rates.check(1).is_ok());
        assert!(rates.check(1).unwrap_err() <= Duration::from_secs(1));
        assert!(rates.check(7).is_ok());
    }
}
