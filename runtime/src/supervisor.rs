//! Stops a guest, whatever it is doing.
//!
//! An epoch alone does not stop a guest parked in a host call; dropping its future alone does not stop one that
//! spins. A [`KillSwitch`] does both: it bumps the engine's epoch, so that compiled code reaches its next check, and
//! wakes the task that polls the call, so that a parked one is dropped.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::time::Sleep;
use wasmtime::{Engine, UpdateDeadline};

use crate::engine::Ticker;
use crate::stop::StopReason;

/// The one handle that ends an instance. The first reason wins and stays.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    engine: Engine,
    ticker: Arc<Ticker>,
    reason: OnceLock<StopReason>,
    /// At most one call runs in a store at a time, so one waker is enough.
    waker: AtomicWaker,
    /// Wakes those who wait for the instance to be gone or free.
    pub(crate) gone: tokio_util::sync::CancellationToken,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("used", &self.used()).finish()
    }
}

impl KillSwitch {
    pub(crate) fn new(engine: Engine, ticker: Arc<Ticker>) -> Arc<Self> {
        Arc::new(Self {
            engine,
            ticker,
            reason: OnceLock::new(),
            waker: AtomicWaker::new(),
            gone: tokio_util::sync::CancellationToken::new(),
        })
    }

    /// Ends the instance. True if this call was the one that did it.
    pub(crate) fn kill(&self, reason: StopReason) -> bool {
        let first = self.reason.set(reason).is_ok();
        if first {
            self.engine.increment_epoch();
            self.waker.wake();
            self.gone.cancel();
        }
        first
    }

    pub(crate) fn reason(&self) -> Option<&StopReason> {
        self.reason.get()
    }
}

/// Guest CPU time of the call that runs: the time spent polling it. A guest parked in a host call is not polled and
/// so not charged.
pub(crate) struct Meter {
    /// Where `polled_at` counts from.
    origin: Instant,
    /// Nanoseconds of finished polls in this call.
    used: AtomicU64,
    /// When the present poll began, in nanoseconds after `origin`.
    polled_at: AtomicU64,
    budget: AtomicU64,
}

impl Meter {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            used: AtomicU64::new(0),
            polled_at: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn start_call(&self, budget: Duration) {
        self.used.store(0, Ordering::Relaxed);
        self.budget.store(u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn begin(&self) {
        self.polled_at.store(self.now(), Ordering::Relaxed);
    }

    fn end(&self) {
        let slice = self.now().saturating_sub(self.polled_at.load(Ordering::Relaxed));
        self.used.fetch_add(slice, Ordering::Relaxed);
    }

    /// CPU time of the finished polls of this call.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn over_budget(&self) -> bool {
        let slice = self.now().saturating_sub(self.polled_at.load(Ordering::Relaxed));
        self.used.load(Ordering::Relaxed).saturating_add(slice) > self.budget.load(Ordering::Relaxed)
    }
}

/// Why the epoch callback ended a call; carried through the trap.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupt {
    #[error("the instance was killed")]
    Killed,
    #[error("the call used up its CPU budget")]
    CpuBudget,
}

/// What runs when guest code meets an elapsed epoch: killed? over budget? else let others run and go on.
pub(crate) fn on_epoch(switch: &KillSwitch, meter: &Meter) -> wasmtime::Result<UpdateDeadline> {
    if switch.reason().is_some() {
        return Err(Interrupt::Killed.into());
    }
    if meter.over_budget() {
        return Err(Interrupt::CpuBudget.into());
    }
    Ok(UpdateDeadline::Yield(1))
}

/// How a supervised call ended.
#[derive(Debug)]
pub(crate) enum Ended<T> {
    Finished(T),
    Killed,
    WallBudget,
}

/// Polls `call` until it is done, the switch is thrown, or `wall` has passed.
///
/// Returning drops `call`, and with it the guest's stack, wherever it was parked.
pub(crate) async fn supervise<T>(
    call: impl Future<Output = T>,
    switch: &KillSwitch,
    meter: &Meter,
    wall: Duration,
) -> Ended<T> {
    Supervised { call: pin!(call), switch, meter, wall, timer: None }.await
}

struct Supervised<'a, F> {
    call: Pin<&'a mut F>,
    switch: &'a KillSwitch,
    meter: &'a Meter,
    wall: Duration,
    /// Made when the call first has to wait: most calls never do, and a timer costs more than they take.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Supervised<'_, F> {
    type Output = Ended<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.switch.waker.register(cx.waker());
        // After registering, or a kill in between would be slept through.
        if this.switch.reason().is_some() {
            return Poll::Ready(Ended::Killed);
        }
        this.switch.ticker.keep_awake();
        this.meter.begin();
        let polled = this.call.as_mut().poll(cx);
        this.meter.end();
        if let Poll::Ready(done) = polled {
            return Poll::Ready(Ended::Finished(done));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.wall)));
        timer.as_mut().poll(cx).map(|()| Ended::WallBudget)
    }
}
