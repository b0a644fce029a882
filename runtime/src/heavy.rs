//! Threads for guests that compute: their own, and of a low priority.
//!
//! A guest gives its thread back at every tick, but that is milliseconds, and with as many busy guests as the host has
//! workers everybody else waits that long at every turn. So a call that has kept its thread for a tick is moved here,
//! where the operating system lets others go first.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::meter::Meter;

/// Lower than anything that somebody waits for, higher than what runs when nothing else does.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NICE: i32 = 10;

/// The threads, made when the first guest needs them.
#[derive(Default)]
pub(crate) struct HeavyThreads(OnceLock<Option<Runtime>>);

impl HeavyThreads {
    fn handle(&self) -> Option<&Handle> {
        let runtime = self.0.get_or_init(|| {
            let built = Builder::new_multi_thread()
                .thread_name("miniapp-heavy")
                .enable_all()
                .on_thread_start(lower_priority)
                .build();
            built.map_err(|error| tracing::error!(%error, "no threads for busy guests")).ok()
        });
        runtime.as_ref().map(Runtime::handle)
    }
}

impl Drop for HeavyThreads {
    fn drop(&mut self) {
        // Waiting for the threads is not allowed where a host may be dropped, and not needed: no guest is left.
        if let Some(Some(runtime)) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn lower_priority() {
    // On Linux this is the calling thread's alone. Refused by nobody but a sandbox; then the guest shares fairly.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "busy guests run at the priority of their host");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn lower_priority() {}

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Awaits work in a guest. Who awaits it polls it once: most calls are done by then. What is not becomes a task of the
/// host's, which holds on to the guest's memory instead of its caller: one that forgot to poll would otherwise keep a
/// killed guest's memory, and one that went away would leave a guest in the middle of something.
pub(crate) struct Unstoppable<'a, T: Send + 'static> {
    work: Place<T>,
    meter: &'a Arc<Meter>,
    runtime: &'a Handle,
    heavy: &'a Arc<HeavyThreads>,
}

enum Place<T> {
    Here(Work<T>),
    There(JoinHandle<Option<T>>),
    Gone,
}

impl<T> Place<T> {
    fn take(&mut self) -> Option<Work<T>> {
        match std::mem::replace(self, Self::Gone) {
            Self::Here(work) => Some(work),
            other => {
                *self = other;
                None
            }
        }
    }

    fn poll_there(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Self::There(joined) = self else { return Poll::Ready(None) };
        Pin::new(joined).poll(cx).map(|joined| {
            joined.unwrap_or_else(|error| {
                tracing::error!(%error, "a call into an app did not end as it should");
                None
            })
        })
    }
}

impl<'a, T: Send + 'static> Unstoppable<'a, T> {
    #[inline]
    pub(crate) fn new(
        work: Work<T>,
        meter: &'a Arc<Meter>,
        runtime: &'a Handle,
        heavy: &'a Arc<HeavyThreads>,
    ) -> Self {
        Self { work: Place::Here(work), meter, runtime, heavy }
    }
}

impl<T: Send + 'static> Future for Unstoppable<'_, T> {
    /// `None` if the work panicked on another thread.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Place::Here(work) = &mut this.work
            && !this.meter.is_busy()
            && let Poll::Ready(done) = work.as_mut().poll(cx)
        {
            this.work = Place::Gone;
            return Poll::Ready(Some(done));
        }
        if let Some(work) = this.work.take() {
            let task = Task::new(work, this.meter.clone(), this.heavy.clone());
            this.work = Place::There(this.runtime.spawn(task));
        }
        this.work.poll_there(cx)
    }
}

/// Work that is polled by the host, and moves to threads of its own once it turns out to be heavy.
pub(crate) struct Task<T: Send + 'static> {
    work: Place<T>,
    meter: Arc<Meter>,
    heavy: Arc<HeavyThreads>,
}

impl<T: Send + 'static> Task<T> {
    pub(crate) fn new(work: Work<T>, meter: Arc<Meter>, heavy: Arc<HeavyThreads>) -> Self {
        Self { work: Place::Here(work), meter, heavy }
    }

    fn move_if_heavy(&mut self) {
        if (self.meter.is_heavy() || self.meter.is_busy())
            && let Some(threads) = self.heavy.handle()
            && let Some(work) = self.work.take()
        {
            self.work = Place::There(threads.spawn(async move { Some(work.await) }));
        }
    }
}

impl<T: Send + 'static> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.move_if_heavy();
        if let Place::Here(work) = &mut this.work {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                this.work = Place::Gone;
                return Poll::Ready(Some(done));
            }
            this.move_if_heavy();
            if matches!(this.work, Place::Here(_)) {
                return Poll::Pending;
            }
        }
        this.work.poll_there(cx)
    }
}
