//! Stops a guest, whatever it is doing; and holds one still.
//!
//! An epoch alone does not stop a guest parked in a host call; dropping its future alone does not stop one that
//! spins. A [`KillSwitch`] does both: it bumps the engines' epochs, so that compiled code reaches its next check, and
//! wakes the task that polls the call, so that a parked one is dropped.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use wasmtime::UpdateDeadline;

use crate::meter::Meter;
use crate::stop::StopReason;
use crate::ticker::Ticker;

/// The one handle that ends an instance. The first reason wins and stays.
#[derive(Debug)]
pub(crate) struct KillSwitch {
    ticker: Arc<Ticker>,
    reason: OnceLock<StopReason>,
    suspended: AtomicBool,
    resumed: Notify,
    /// At most one call runs in a store at a time, so one waker is enough.
    waker: AtomicWaker,
    /// Wakes those who wait for the instance to be gone or free.
    pub(crate) gone: CancellationToken,
}

impl KillSwitch {
    pub(crate) fn new(ticker: Arc<Ticker>) -> Arc<Self> {
        Arc::new(Self {
            ticker,
            reason: OnceLock::new(),
            suspended: AtomicBool::new(false),
            resumed: Notify::new(),
            waker: AtomicWaker::new(),
            gone: CancellationToken::new(),
        })
    }

    /// Ends the instance. True if this call was the one that did it.
    pub(crate) fn kill(&self, reason: StopReason) -> bool {
        let first = self.reason.set(reason).is_ok();
        if first {
            self.ticker.bump();
            self.waker.wake();
            self.gone.cancel();
        }
        first
    }

    #[inline]
    pub(crate) fn reason(&self) -> Option<&StopReason> {
        self.reason.get()
    }

    /// Holds the guest still, wherever it is: it is not polled until [`KillSwitch::resume`].
    pub(crate) fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
        self.ticker.bump();
        // One that is parked has its clock stopped now, not when it is next looked at.
        self.waker.wake();
    }

    pub(crate) fn resume(&self) {
        self.suspended.store(false, Ordering::Release);
        self.waker.wake();
        self.resumed.notify_waiters();
    }

    #[inline]
    pub(crate) fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// Waits until the guest may run; false if it has ended.
    pub(crate) async fn runnable(&self) -> bool {
        loop {
            let mut resumed = pin!(self.resumed.notified());
            // Before looking, or a resume in between would be slept through.
            resumed.as_mut().enable();
            if self.reason().is_some() {
                return false;
            }
            if !self.is_suspended() {
                return true;
            }
            tokio::select! {
                () = resumed => {}
                () = self.gone.cancelled() => {}
            }
        }
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
    if meter.over_call_budget() {
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

/// Polls `call` until it is done, the switch is thrown, or `wall` has passed. While the instance is suspended, or its
/// app has used up its CPU time for the moment, the call is left where it is; only the former stops the clock, as does
/// a question to the user.
///
/// The one who drops `call` then drops the guest's stack, wherever it was parked.
#[inline]
pub(crate) fn supervise<'a, T>(
    call: Pin<&'a mut impl Future<Output = T>>,
    switch: &'a KillSwitch,
    meter: &'a Meter,
    wall: Duration,
) -> impl Future<Output = Ended<T>> {
    Supervised { call, switch, meter, wall, late: None }
}

struct Supervised<'a, F> {
    call: Pin<&'a mut F>,
    switch: &'a KillSwitch,
    meter: &'a Meter,
    wall: Duration,
    late: Option<Box<Late>>,
}

/// What a call needs that is not done when it is first polled. Most are, and have neither to make nor to move it.
#[derive(Default)]
struct Late {
    /// Made when the call first has to wait: a timer costs more than most calls take.
    timer: Option<Pin<Box<Sleep>>>,
    throttle: Option<Pin<Box<Sleep>>>,
    held_since: Option<Instant>,
}

impl Late {
    /// The guest runs: the time while it was held still does not count.
    fn release(&mut self) {
        let Some(since) = self.held_since.take() else { return };
        if let Some(timer) = &mut self.timer {
            let deadline = timer.deadline() + since.elapsed();
            timer.as_mut().reset(deadline);
        }
    }
}

impl<F: Future> Supervised<'_, F> {
    fn late(&mut self) -> &mut Late {
        self.late.get_or_insert_default()
    }

    fn is_held(&self) -> bool {
        self.late.as_ref().is_some_and(|late| late.held_since.is_some())
    }

    /// True once the call has used up its time, waiting included; but not for a person, who is no fault of the app's.
    fn out_of_time(&mut self, cx: &mut Context<'_>) -> bool {
        let (meter, wall) = (self.meter, self.wall);
        let timer = self.late().timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(wall)));
        while timer.as_mut().poll(cx).is_ready() {
            let asked = meter.take_asked();
            if asked.is_zero() {
                return true;
            }
            timer.as_mut().reset(tokio::time::Instant::now() + asked);
        }
        false
    }

    /// True while the app has to wait for CPU time of its own.
    #[inline]
    fn throttled(&mut self, cx: &mut Context<'_>) -> bool {
        let waits = self.late.as_ref().is_some_and(|late| late.throttle.is_some());
        let debt = if waits { None } else { self.meter.debt() };
        (waits || debt.is_some()) && self.wait_for_time(debt, cx)
    }

    #[cold]
    fn wait_for_time(&mut self, debt: Option<Duration>, cx: &mut Context<'_>) -> bool {
        let throttle = &mut self.late().throttle;
        if let Some(debt) = debt {
            *throttle = Some(Box::pin(tokio::time::sleep(debt)));
        }
        let waiting = throttle.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_pending());
        if !waiting {
            *throttle = None;
        }
        waiting
    }
}

impl<F: Future> Future for Supervised<'_, F> {
    type Output = Ended<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if this.switch.reason().is_some() {
            return Poll::Ready(Ended::Killed);
        }
        if this.switch.is_suspended() {
            this.late().held_since.get_or_insert_with(Instant::now);
        } else {
            if let Some(late) = &mut this.late {
                late.release();
            }
            if !this.throttled(cx) {
                this.switch.ticker.keep_awake();
                this.meter.begin();
                let polled = this.call.as_mut().poll(cx);
                this.meter.end();
                if let Poll::Ready(done) = polled {
                    return Poll::Ready(Ended::Finished(done));
                }
            }
            if this.out_of_time(cx) {
                return Poll::Ready(Ended::WallBudget);
            }
        }
        // Only now, because most calls do not come here. What is looked at after registering is what would else be
        // slept through if it came before.
        this.switch.waker.register(cx.waker());
        if this.switch.reason().is_some() {
            return Poll::Ready(Ended::Killed);
        }
        if this.is_held() != this.switch.is_suspended() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
