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

use crate::meter::{Meter, low_from_here_on};
#[cfg(target_os = "linux")]
use crate::ticker::TICK;
#[cfg(target_os = "linux")]
use crate::unchecked::give_way;

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
                .on_thread_start(|| {
                    lower_priority();
                    low_from_here_on();
                })
                .build();
            built.map_err(|error| tracing::error!(%error, "no threads for busy guests")).ok()
        });
        runtime.as_ref().map(Runtime::handle)
    }

    /// The threads, if that is where a call belongs whose turn it is.
    fn for_busy(&self, meter: &Meter) -> Option<&Handle> {
        if meter.is_heavy() || meter.is_busy() { self.handle() } else { None }
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

/// Of the calling thread alone. Refused by nobody but a sandbox; then the guest shares fairly.
pub(crate) fn lower_priority() {
    if let Err(error) = lowered() {
        tracing::warn!(%error, "busy guests run at the priority of their host");
    }
}

#[cfg(target_os = "linux")]
fn lowered() -> std::io::Result<()> {
    give_way(NICE, TICK).or_else(|_| Ok(rustix::process::setpriority_process(None, NICE)?))
}

/// An app's sandbox allows only the niceness here.
#[cfg(target_os = "android")]
fn lowered() -> std::io::Result<()> {
    Ok(rustix::process::setpriority_process(None, NICE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn lowered() -> std::io::Result<()> {
    Ok(())
}

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
            this.work = Place::There(match this.heavy.for_busy(this.meter) {
                Some(threads) => threads.spawn(async move { Some(work.await) }),
                None => this.runtime.spawn(Task::new(work, this.meter.clone(), this.heavy.clone())),
            });
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
        // Once it is there, its meter is that thread's to look at.
        if matches!(self.work, Place::Here(_))
            && let Some(threads) = self.heavy.for_busy(&self.meter)
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn a_thread_for_busy_guests_lets_others_go_first() {
        let looked = std::thread::spawn(|| {
            let before = rustix::process::getpriority_process(None).unwrap();
            super::lower_priority();
            (before, std::fs::read_to_string("/proc/thread-self/stat").unwrap())
        });
        let (before, stat) = looked.join().unwrap();
        // Fields by their numbers in proc_pid_stat(5); the name before these may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let (nice, policy) = (fields[19 - 3], fields[41 - 3]);
        if before <= super::NICE {
            assert_eq!(nice, super::NICE.to_string());
        }
        // A sandbox may allow the niceness alone.
        let allowed = std::thread::spawn(|| crate::unchecked::give_way(19, super::TICK)).join().unwrap();
        if allowed.is_ok() && before <= super::NICE {
            assert_eq!(policy, libc::SCHED_BATCH.to_string());
        }
    }
}
