//! Threads for guests that compute: their own, and of a low priority.
//!
//! A guest gives its thread back at every tick, but that is milliseconds, and with as many busy guests as the host has
//! workers everybody else waits that long at every turn. So a call that has kept its thread for a tick is moved here,
//! where the operating system lets others go first.

use std::future::Future;
use std::pin::Pin;
use std::sync::OnceLock;
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
fn lower_priority() {
    // On Linux this is the calling thread's alone. Refused by nobody but a sandbox; then the guest shares fairly.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "busy guests run at the priority of their host");
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lower_priority() {}

pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Awaits work in a guest, and lets it run to its end in the background when the one who awaits goes away: a guest
/// must not be left in the middle of something because a host's request timed out. Work that turns out to be heavy is
/// moved to threads of its own.
pub(crate) struct Unstoppable<'a, T: Send + 'static> {
    work: Place<T>,
    entered: bool,
    meter: &'a Meter,
    runtime: &'a Handle,
    heavy: &'a HeavyThreads,
}

enum Place<T> {
    Here(Work<T>),
    There(JoinHandle<T>),
    Gone,
}

impl<'a, T: Send + 'static> Unstoppable<'a, T> {
    pub(crate) fn new(work: Work<T>, meter: &'a Meter, runtime: &'a Handle, heavy: &'a HeavyThreads) -> Self {
        Self { work: Place::Here(work), entered: false, meter, runtime, heavy }
    }

    fn move_away(&mut self) {
        if let Some(threads) = self.heavy.handle() {
            match std::mem::replace(&mut self.work, Place::Gone) {
                Place::Here(work) => self.work = Place::There(threads.spawn(work)),
                other => self.work = other,
            }
        }
    }
}

impl<T: Send + 'static> Future for Unstoppable<'_, T> {
    /// `None` if the work panicked on another thread.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !this.entered && this.meter.is_low() {
            this.move_away();
        }
        this.entered = true;
        if let Place::Here(work) = &mut this.work {
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => {
                    this.work = Place::Gone;
                    return Poll::Ready(Some(done));
                }
                Poll::Pending if this.meter.is_heavy() => this.move_away(),
                Poll::Pending => return Poll::Pending,
            }
        }
        match &mut this.work {
            Place::Here(_) => Poll::Pending,
            Place::There(joined) => Pin::new(joined).poll(cx).map(|joined| match joined {
                Ok(done) => Some(done),
                Err(error) => {
                    tracing::error!(%error, "a call into an app did not end as it should");
                    None
                }
            }),
            Place::Gone => Poll::Ready(None),
        }
    }
}

impl<T: Send + 'static> Drop for Unstoppable<'_, T> {
    fn drop(&mut self) {
        if let Place::Here(work) = std::mem::replace(&mut self.work, Place::Gone)
            && self.entered
        {
            self.runtime.spawn(work);
        }
    }
}
