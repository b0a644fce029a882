//! How much CPU time a guest uses: within one call, and over time.
//!
//! What is measured is the time spent polling the guest. One that is parked in a host call is not polled, and so not
//! charged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::engine::TICK;

/// An app may save up this many seconds' worth of its CPU time per second: starting up is allowed to take more.
const BURST: u32 = 4;

/// The meter of one instance. One call runs in it at a time; whoever looks from outside sees figures that are at most
/// a poll old.
pub(crate) struct Meter {
    /// Where times count from.
    origin: Instant,
    per_second: Duration,
    per_call: Duration,
    /// Nanoseconds of finished polls in this call.
    used: AtomicU64,
    /// When the present poll began, on the clock of `heavy` or the other.
    polled_at: AtomicU64,
    /// Nanoseconds that the app may still use now; negative when it has to wait.
    balance: AtomicI64,
    balanced_at: AtomicU64,
    /// The call that runs has kept a thread for a whole tick.
    heavy: AtomicBool,
    /// Nanoseconds that the app had to wait for CPU time.
    throttled: AtomicU64,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("used", &self.used()).finish()
    }
}

impl Meter {
    /// A meter for calls that may use `per_call`, and `per_second` of each second.
    pub(crate) fn new(per_call: Duration, per_second: Duration) -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            per_second,
            per_call,
            used: AtomicU64::new(0),
            polled_at: AtomicU64::new(0),
            balance: AtomicI64::new(signed(nanos(per_second * BURST))),
            balanced_at: AtomicU64::new(0),
            heavy: AtomicBool::new(false),
            throttled: AtomicU64::new(0),
        })
    }

    /// A new call begins with its whole budget. An app that has used up most of what it saved is not given another
    /// tick of the host's own threads.
    pub(crate) fn start_call(&self) {
        self.used.store(0, Ordering::Relaxed);
        self.heavy.store(self.is_low(), Ordering::Relaxed);
    }

    /// True for an app that has used up most of what it saved.
    pub(crate) fn is_low(&self) -> bool {
        self.balance.load(Ordering::Relaxed) < signed(nanos(self.per_second))
    }

    pub(crate) fn begin(&self) {
        self.polled_at.store(self.clock(), Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        let slice = self.slice();
        self.used.store(self.used.load(Ordering::Relaxed).saturating_add(slice), Ordering::Relaxed);
        self.earn();
        self.balance.fetch_sub(signed(slice), Ordering::Relaxed);
        if slice >= nanos(TICK) / 2 {
            self.heavy.store(true, Ordering::Relaxed);
        }
    }

    /// Adds what the time since the last look is worth.
    fn earn(&self) {
        let now = nanos(self.origin.elapsed());
        let since = now.saturating_sub(self.balanced_at.swap(now, Ordering::Relaxed));
        let earned = u128::from(since) * self.per_second.as_nanos() / 1_000_000_000;
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        let full = signed(nanos(self.per_second * BURST));
        let balance = self.balance.load(Ordering::Relaxed).saturating_add(earned).min(full);
        self.balance.store(balance, Ordering::Relaxed);
    }

    /// CPU time of the finished polls of this call.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Whether the call belongs on a thread where it keeps nobody waiting.
    pub(crate) fn is_heavy(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }

    pub(crate) fn over_call_budget(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed).saturating_add(self.slice());
        used > nanos(self.per_call)
    }

    /// How long the app has to wait until it may run again; `None` if it need not.
    pub(crate) fn debt(&self) -> Option<Duration> {
        if self.balance.load(Ordering::Relaxed) >= 0 {
            return None;
        }
        self.earn();
        let balance = self.balance.load(Ordering::Relaxed);
        if balance >= 0 {
            return None;
        }
        // A share of nothing is a mistake in a policy; waiting for ever would hide it.
        let per_second = self.per_second.as_secs_f64().max(0.001);
        let wait = Duration::from_nanos(balance.unsigned_abs()).div_f64(per_second);
        self.throttled.fetch_add(nanos(wait), Ordering::Relaxed);
        Some(wait)
    }

    /// How long the app had to wait for CPU time in all.
    pub(crate) fn throttled(&self) -> Duration {
        Duration::from_nanos(self.throttled.load(Ordering::Relaxed))
    }

    /// A guest gives its thread back at every tick. What a poll takes beyond that, on a thread that is not low in
    /// priority, is somebody else's: the system had other things to do.
    fn slice(&self) -> u64 {
        let slice = self.clock().saturating_sub(self.polled_at.load(Ordering::Relaxed));
        if self.is_heavy() { slice } else { slice.min(2 * nanos(TICK)) }
    }

    /// Real time for a call that has just begun: reading it takes nanoseconds. A heavy one runs at a low priority and
    /// may be waiting for a core while it is being polled, so there the thread's own CPU time counts.
    fn clock(&self) -> u64 {
        if self.heavy.load(Ordering::Relaxed)
            && let Some(time) = thread_cpu_time()
        {
            return time;
        }
        nanos(self.origin.elapsed())
    }
}

#[cfg(unix)]
fn thread_cpu_time() -> Option<u64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

#[cfg(not(unix))]
fn thread_cpu_time() -> Option<u64> {
    None
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_used_up_their_time_waits_for_as_long_as_it_takes_to_earn_and_no_longer() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        assert_eq!(meter.debt(), None);
        meter.balance.store(-50_000_000, Ordering::Relaxed);
        meter.balanced_at.store(nanos(meter.origin.elapsed()), Ordering::Relaxed);
        let wait = meter.debt().unwrap();
        assert!(wait > Duration::from_millis(50) && wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(meter.throttled(), wait);
        // As if that time had passed: a debt that is looked at again and not paid would be waited for for ever.
        meter.balanced_at.store(0, Ordering::Relaxed);
        meter.balance.store(-1, Ordering::Relaxed);
        assert_eq!(meter.debt(), None);
    }

    #[test]
    fn savings_are_bounded() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        meter.balanced_at.store(0, Ordering::Relaxed);
        meter.earn();
        assert_eq!(meter.balance.load(Ordering::Relaxed), 2_000_000_000);
        assert!(!meter.is_low());
        meter.balance.store(499_999_999, Ordering::Relaxed);
        assert!(meter.is_low());
    }
}
