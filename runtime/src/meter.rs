//! How much CPU time a guest uses: within one call, and over time.
//!
//! What is measured is the time spent polling the guest, and what the host computes for it elsewhere meanwhile. One that is
//! parked in a host call is not polled, and so not charged for its waiting.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use quanta::Clock;

use crate::account::{Account, nanos, signed};
use crate::memory::Touched;
use crate::metrics::add_alone;
use crate::ticker::TICK;

/// An app may save up this many seconds' worth of its CPU time per second: starting up is allowed to take more.
pub(crate) const BURST: u32 = 4;

/// The part of its CPU time that an app may use at its host's priority, as a divisor. One that uses more for a while is busy,
/// however short each of its calls is, and computes where it is in nobody's way.
const LIGHT_SHARE: i64 = 4;

/// The part of a second's worth that it may save up of that, as a divisor.
const LIGHT_BURST: u32 = 20;

/// Bits behind the point of [`Meter::share`].
const SHARE_BITS: u32 = 32;

thread_local! {
    /// Nanoseconds that guests were polled on this thread: within what is charged to somebody else.
    static POLLED: Cell<u64> = const { Cell::new(0) };
    /// Whether this thread has a low priority: it may be waiting for a core at any time.
    static LOW: Cell<bool> = const { Cell::new(false) };
}

/// Guests that run on this thread do so at a low priority from now on.
pub(crate) fn low_from_here_on() {
    LOW.set(true);
}

/// How long guests were polled on this thread so far.
pub(crate) fn polled() -> Duration {
    Duration::from_nanos(POLLED.get())
}

/// The meter of one instance. One call runs in it at a time; whoever looks from outside sees figures that are at most
/// a poll old.
///
/// A poll costs two looks at the clock, and everything that is told about the call comes from these: they are a good
/// part of what a short call takes.
pub(crate) struct Meter {
    /// Where times count from.
    origin: Origin,
    per_second: Duration,
    /// `per_second` as a part of real time, as a fixed-point number: dividing takes longer than all else here.
    share: u64,
    per_call: Duration,
    /// When the present call began, in nanoseconds; 0 until then.
    called_at: AtomicU64,
    /// Nanoseconds of finished polls in this call.
    used: AtomicU64,
    /// When the present poll began.
    polled_at: AtomicU64,
    /// The CPU time of its thread then; of heavy calls only.
    cpu_at: AtomicU64,
    /// When the last poll ended.
    ended_at: AtomicU64,
    /// What the app may still use now; negative when it has to wait.
    balance: Account,
    balanced_at: AtomicU64,
    /// What it may still use at its host's priority.
    light: Account,
    /// From when it has used that up until it has saved all of it again: who goes on and on would else be busy for as long
    /// as it takes to earn the next call, and in its host's way during that.
    busy: AtomicBool,
    /// Nanoseconds that other threads have computed for the app, as far as nobody has counted them.
    aside: AtomicU64,
    /// The call that runs has kept a thread for a whole tick, or has begun on one of a low priority.
    heavy: AtomicBool,
    /// Nanoseconds that the app had to wait for CPU time, and how often.
    throttled: AtomicU64,
    throttles: AtomicU64,
    /// Nanoseconds of this call that a user took to answer questions, as far as nobody has allowed for them.
    asked: AtomicU64,
    /// Since when a question is open; 0 if none is.
    asking_since: AtomicU64,
    pub(crate) touched: Touched,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("used_ns", &self.used()).finish()
    }
}

/// A question to the user is open as long as this lives.
pub(crate) struct Asking<'m>(&'m Meter);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let since = self.0.asking_since.swap(0, Ordering::Relaxed);
        self.0.asked.fetch_add(self.0.now().saturating_sub(since), Ordering::Relaxed);
    }
}

impl Meter {
    /// A meter for calls that may use `per_call`, and `per_second` of each second.
    pub(crate) fn new(per_call: Duration, per_second: Duration) -> Arc<Self> {
        Arc::new(Self {
            origin: Origin::now(),
            per_second,
            share: u64::try_from((per_second.as_nanos() << SHARE_BITS) / 1_000_000_000).unwrap_or(u64::MAX),
            per_call,
            called_at: AtomicU64::new(0),
            used: AtomicU64::new(0),
            polled_at: AtomicU64::new(0),
            cpu_at: AtomicU64::new(0),
            ended_at: AtomicU64::new(0),
            balance: Account::full(per_second * BURST),
            balanced_at: AtomicU64::new(0),
            light: Account::full(per_second / LIGHT_BURST),
            busy: AtomicBool::new(false),
            aside: AtomicU64::new(0),
            heavy: AtomicBool::new(false),
            throttled: AtomicU64::new(0),
            throttles: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            asking_since: AtomicU64::new(0),
            touched: Touched::default(),
        })
    }

    /// A new call begins with its whole budget. A busy app is not given another tick of the host's own threads.
    #[inline]
    pub(crate) fn start_call(&self) {
        let busy = self.is_busy();
        // Who may have to wait before the first poll waits on the call's time; others begin with that poll.
        self.called_at.store(if busy { self.now() } else { 0 }, Ordering::Relaxed);
        self.used.store(0, Ordering::Relaxed);
        self.asked.store(0, Ordering::Relaxed);
        self.heavy.store(busy || LOW.get(), Ordering::Relaxed);
    }

    /// True for an app that has used more than a part of its CPU time for a while. To be asked by whose turn it is: the
    /// time since it was last polled counts too.
    #[inline]
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) && self.is_still_busy()
    }

    #[cold]
    fn is_still_busy(&self) -> bool {
        self.earn(self.now());
        self.busy.load(Ordering::Relaxed)
    }

    /// Charges the app for what another thread did for it.
    pub(crate) fn charge_aside(&self, took: Duration) {
        self.aside.fetch_add(nanos(took), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn begin(&self) {
        let now = self.now();
        self.polled_at.store(now, Ordering::Relaxed);
        if self.called_at.load(Ordering::Relaxed) == 0 {
            self.called_at.store(now, Ordering::Relaxed);
        }
        if self.is_heavy() {
            self.cpu_at.store(thread_cpu_time().unwrap_or(0), Ordering::Relaxed);
        }
        self.touched.begin();
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.touched.end();
        let now = self.now();
        let slice = self.slice(now);
        self.ended_at.store(now, Ordering::Relaxed);
        add_alone(&self.used, slice);
        POLLED.set(POLLED.get().wrapping_add(slice));
        self.earn(now);
        let mut spent = signed(slice);
        if self.aside.load(Ordering::Relaxed) != 0 {
            spent = spent.saturating_add(signed(self.aside.swap(0, Ordering::Relaxed)));
        }
        // One piece of work on the disk may take long; nobody waits for longer than it takes to save all that can be.
        self.balance.spend(spent, -self.balance.full);
        // Without a debt: how busy it was is not held against it for longer than it takes to save all of it.
        if self.light.spend(spent, 0) < 0 {
            self.busy.store(true, Ordering::Relaxed);
        }
        if slice >= nanos(TICK) / 2 {
            self.heavy.store(true, Ordering::Relaxed);
        }
    }

    /// How long the call that has just ended took, waiting included, in nanoseconds: to its answer, or to now if it gave
    /// none.
    #[inline]
    pub(crate) fn took(&self, answered: bool) -> u64 {
        let until = if answered { self.ended_at.load(Ordering::Relaxed) } else { self.now() };
        match self.called_at.load(Ordering::Relaxed) {
            0 => 0,
            began => until.saturating_sub(began),
        }
    }

    /// From here until the guard is dropped, the call waits for a person.
    pub(crate) fn ask(&self) -> Asking<'_> {
        self.asking_since.store(self.now().max(1), Ordering::Relaxed);
        Asking(self)
    }

    /// How long the call has waited for a person since this was last called.
    pub(crate) fn take_asked(&self) -> Duration {
        let mut asked = self.asked.swap(0, Ordering::Relaxed);
        if self.asking_since.load(Ordering::Relaxed) != 0 {
            let now = self.now();
            asked += now.saturating_sub(self.asking_since.swap(now, Ordering::Relaxed));
        }
        Duration::from_nanos(asked)
    }

    /// Adds what the time since the last look is worth.
    #[inline]
    fn earn(&self, now: u64) {
        let since = now.saturating_sub(self.balanced_at.load(Ordering::Relaxed));
        self.balanced_at.store(now, Ordering::Relaxed);
        let earned =
            i64::try_from((u128::from(since) * u128::from(self.share)) >> SHARE_BITS).unwrap_or(i64::MAX);
        self.balance.earn(earned);
        if self.light.earn(earned / LIGHT_SHARE) {
            self.busy.store(false, Ordering::Relaxed);
        }
    }

    /// CPU time of the finished polls of this call, in nanoseconds.
    #[inline]
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether the call belongs on a thread where it keeps nobody waiting.
    #[inline]
    pub(crate) fn is_heavy(&self) -> bool {
        self.heavy.load(Ordering::Relaxed)
    }

    pub(crate) fn over_call_budget(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed).saturating_add(self.slice(self.now()));
        used > nanos(self.per_call)
    }

    /// How long the app has to wait until it may run again; `None` if it need not.
    #[inline]
    pub(crate) fn debt(&self) -> Option<Duration> {
        if self.balance.get() >= 0 {
            return None;
        }
        self.earn(self.now());
        let balance = self.balance.get();
        if balance >= 0 {
            return None;
        }
        // A share of nothing is a mistake in a policy; waiting for ever would hide it.
        let per_second = self.per_second.as_secs_f64().max(0.001);
        let wait = Duration::from_nanos(balance.unsigned_abs()).div_f64(per_second);
        self.throttled.fetch_add(nanos(wait), Ordering::Relaxed);
        self.throttles.fetch_add(1, Ordering::Relaxed);
        Some(wait)
    }

    /// How long the app had to wait for CPU time in all.
    pub(crate) fn throttled(&self) -> Duration {
        Duration::from_nanos(self.throttled.load(Ordering::Relaxed))
    }

    /// How often it had to.
    pub(crate) fn throttles(&self) -> u64 {
        self.throttles.load(Ordering::Relaxed)
    }

    /// What the poll that runs has used. Real time for a call that has just begun. A heavy one runs at a low priority
    /// and may be waiting for a core while it is being polled, so there the thread's own CPU time counts.
    ///
    /// A guest gives its thread back at every tick. What a poll takes beyond that, on a thread that is not low in
    /// priority, is somebody else's: the system had other things to do.
    #[inline]
    fn slice(&self, now: u64) -> u64 {
        let real = now.saturating_sub(self.polled_at.load(Ordering::Relaxed));
        if !self.is_heavy() {
            return real.min(2 * nanos(TICK));
        }
        thread_cpu_time().map_or(real, |cpu| cpu.saturating_sub(self.cpu_at.load(Ordering::Relaxed)))
    }

    /// Nanoseconds since the meter was made.
    #[inline]
    fn now(&self) -> u64 {
        self.origin.nanos()
    }
}

/// A moment from which nanoseconds are counted. A short call looks at the clock twice, which is a good part of what it
/// takes: so this is the processor's own counter where that can be relied upon.
struct Origin {
    clock: Clock,
    at: u64,
}

/// Asking what the processor has takes longer than starting an app.
static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::new);

impl Origin {
    fn now() -> Self {
        let clock = CLOCK.clone();
        Self { at: clock.raw(), clock }
    }

    #[inline]
    fn nanos(&self) -> u64 {
        self.clock.delta_as_nanos(self.at, self.clock.raw())
    }
}

#[cfg(unix)]
pub(crate) fn thread_cpu_time() -> Option<u64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

#[cfg(not(unix))]
pub(crate) fn thread_cpu_time() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_used_up_their_time_waits_for_as_long_as_it_takes_to_earn_and_no_longer() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        assert_eq!(meter.debt(), None);
        meter.balance.set(-50_000_000);
        meter.balanced_at.store(meter.now(), Ordering::Relaxed);
        let wait = meter.debt().unwrap();
        assert!(wait > Duration::from_millis(50) && wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!((meter.throttled(), meter.throttles()), (wait, 1));
        // As if that time had passed: a debt that is looked at again and not paid would be waited for for ever.
        meter.balanced_at.store(0, Ordering::Relaxed);
        meter.balance.set(-1);
        assert_eq!(meter.debt(), None);
    }

    /// As if the meter had not been looked at for so long.
    fn later(meter: &Meter, nanos: u64) {
        meter.balanced_at.store(meter.now(), Ordering::Relaxed);
        meter.earn(meter.now() + nanos);
    }

    #[test]
    fn who_is_busy_is_so_until_it_has_calmed_down_for_a_while() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        assert!(!meter.is_busy());
        // What others do for an app makes it busy too; the more so, the longer it is remembered.
        meter.begin();
        meter.charge_aside(Duration::from_secs(1));
        meter.end();
        meter.start_call();
        assert!(meter.is_busy() && meter.is_heavy());
        assert!(meter.balance.get() < 1_500_000_000, "{}", meter.balance.get());
        // A fourth of 500 ms a second, until there are 25 ms.
        later(&meter, 150_000_000);
        assert!(meter.is_busy());
        later(&meter, 60_000_000);
        meter.start_call();
        assert!(!meter.is_busy() && !meter.is_heavy());
    }

    #[test]
    fn no_debt_takes_longer_to_pay_than_savings_to_save() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(1));
        meter.begin();
        meter.charge_aside(Duration::from_secs(1));
        meter.end();
        let wait = meter.debt().unwrap();
        assert!(wait <= Duration::from_secs(BURST.into()), "{wait:?}");
    }

    #[test]
    fn a_thread_of_a_low_priority_is_charged_for_what_it_computes_not_for_what_it_waits() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        let heavy = |low: bool| {
            let meter = meter.clone();
            let run = move || {
                if low {
                    low_from_here_on();
                }
                meter.start_call();
                meter.is_heavy()
            };
            std::thread::spawn(run).join().unwrap()
        };
        assert!(!heavy(false));
        assert!(heavy(true));
    }

    #[test]
    fn who_is_not_called_calms_down_too() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        meter.busy.store(true, Ordering::Relaxed);
        meter.light.set(24_999_999);
        let began = std::time::Instant::now();
        while meter.is_busy() {
            assert!(began.elapsed() < Duration::from_secs(10), "it is asked and never told");
        }
    }

    #[test]
    fn savings_are_bounded() {
        let meter = Meter::new(Duration::from_secs(60), Duration::from_millis(500));
        later(&meter, 1_000_000_000_000);
        assert_eq!(meter.balance.get(), 2_000_000_000);
        assert_eq!(meter.light.get(), 25_000_000);
    }
}
