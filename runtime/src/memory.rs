//! The host's memory: what all instances have resident together, and who makes room for whom.
//!
//! An app's own cap counts declared bytes, exactly. That would be unfair between apps: a JavaScript guest declares 9
//! MiB at once and touches two. So the host counts what an instance has touched when it started, as measured for its
//! version, and in full what it declares from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use serde::Serialize;

use crate::app::App;
use crate::error::LaunchError;
use crate::host::Inner;
use crate::instance::Instance;
use crate::life::State;
use crate::stop::StopReason;

/// What an instance takes besides its memories: its store, its stack, its session. Measured with a thousand of them.
const OVERHEAD: u64 = 24 * 1024;

/// Whether an app will fit, asked before its launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// What an instance of the app is expected to take, in bytes.
    pub needs: u64,
    /// What is free, in bytes.
    pub free: u64,
    /// What instances out of the user's sight could give up, in bytes.
    pub reclaimable: u64,
}

impl Fit {
    /// True if a launch will not be refused for want of memory.
    pub fn fits(&self) -> bool {
        self.needs <= self.free.saturating_add(self.reclaimable)
    }
}

/// The memory of all instances of a host, in bytes.
#[derive(Debug)]
pub(crate) struct HostMemory {
    budget: u64,
    used: AtomicU64,
}

impl HostMemory {
    pub(crate) fn new(budget: u64) -> Arc<Self> {
        Arc::new(Self { budget, used: AtomicU64::new(0) })
    }

    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|&total| total <= self.budget);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Room for an instance, if there is.
    pub(crate) fn seat(self: &Arc<Self>, bytes: u64) -> Option<Arc<Seat>> {
        self.take(bytes).then(|| Arc::new(Seat { host: self.clone(), bytes: AtomicU64::new(bytes) }))
    }
}

/// An instance's part of its host's memory; given back on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    host: Arc<HostMemory>,
    bytes: AtomicU64,
}

impl Seat {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn grow(&self, bytes: u64) -> bool {
        let granted = self.host.take(bytes);
        if granted {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        granted
    }

    /// Gives back at most what is left: the rest went when the instance was buried.
    pub(crate) fn shrink(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        let before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0);
        self.host.used.fetch_sub(bytes.min(before), Ordering::Relaxed);
    }

    /// Gives everything back: the instance's memory is freed, whoever still holds a handle.
    pub(crate) fn release(&self) {
        self.settle(0);
    }

    /// Corrects an estimate by what was measured. What is there is counted, even over the budget: the next launch makes
    /// room for it.
    fn settle(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        self.host.used.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.host.used.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

/// Counts the pages that a future is the first to touch, in bytes.
pub(crate) struct Touching<F> {
    inner: Pin<Box<F>>,
    faults: u64,
    known: bool,
}

impl<F: Future> Touching<F> {
    pub(crate) fn new(inner: F) -> Self {
        Self { inner: Box::pin(inner), faults: 0, known: true }
    }
}

impl<F: Future> Future for Touching<F> {
    /// `None` for the bytes where the system does not tell.
    type Output = (F::Output, Option<u64>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_faults();
        let polled = self.inner.as_mut().poll(cx);
        match (before, thread_faults()) {
            (Some(before), Some(after)) => self.faults += after.saturating_sub(before),
            _ => self.known = false,
        }
        polled.map(|output| (output, self.known.then(|| self.faults.saturating_mul(page_bytes()))))
    }
}

#[cfg(unix)]
fn page_bytes() -> u64 {
    rustix::param::page_size() as u64
}

#[cfg(not(unix))]
fn page_bytes() -> u64 {
    4096
}

/// Pages that this thread was the first to touch: `minflt` of proc(5), the tenth field.
fn thread_faults() -> Option<u64> {
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return None;
    }
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The second field is a name in parentheses, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(7)?.parse().ok()
}

/// Corrects the seat of an instance that has started by what starting touched, and remembers it for the version.
pub(crate) fn settle(app: &App, seat: &Seat, declared: u64, touched: Option<u64>) {
    let measured = touched.map_or(declared, |touched| touched.min(declared)) + OVERHEAD;
    let before = app.footprint.fetch_max(measured, Ordering::Relaxed);
    seat.settle(before.max(measured));
}

/// What an instance of this version is expected to have resident.
pub(crate) fn footprint(app: &App) -> u64 {
    match app.footprint.load(Ordering::Relaxed) {
        0 => app.declared_memory + OVERHEAD,
        measured => measured,
    }
}

impl Inner {
    pub(crate) fn fit(&self, app: &App) -> Fit {
        let needs = footprint(app);
        let free = self.memory.budget().saturating_sub(self.memory.used());
        let reclaimable = self.evictable().iter().map(|i| i.shared.session.seat.bytes()).sum();
        Fit { needs, free, reclaimable }
    }

    /// Room for an instance of `app`, made by ending others if need be.
    pub(crate) async fn admit(&self, app: &App) -> Result<Arc<Seat>, LaunchError> {
        let needs = footprint(app);
        // First, because looking through all that live is for when there is no room.
        if let Some(seat) = self.memory.seat(needs) {
            return Ok(seat);
        }
        if !self.fit(app).fits() {
            // Nobody is ended for a launch that would not fit even then.
            return Err(self.does_not_fit(app, needs));
        }
        loop {
            if let Some(seat) = self.memory.seat(needs) {
                return Ok(seat);
            }
            let Some(victim) = self.evictable().into_iter().next() else {
                return Err(self.does_not_fit(app, needs));
            };
            let gone = victim.kill_handle();
            victim.unload_because(StopReason::Evicted).await;
            drop(victim);
            gone.stopped().await;
        }
    }

    fn does_not_fit(&self, app: &App, needs: u64) -> LaunchError {
        LaunchError::DoesNotFit {
            app_id: app.installed.app_id.clone(),
            needs,
            used: self.memory.used(),
            budget: self.memory.budget(),
        }
    }

    /// Instances that may be ended for others, the least recently shown first: hidden ones before those that were
    /// never shown, and none that a call waits for.
    fn evictable(&self) -> Vec<Instance> {
        let mut found: Vec<_> = self
            .living
            .all()
            .into_iter()
            .filter_map(|life| {
                let instance = life.instance()?;
                let idle = life.switch.is_suspended() || instance.shared.is_idle();
                match life.state() {
                    State::Hidden if idle => Some((0, life.last_shown(), instance)),
                    State::Launched if idle => Some((1, life.last_shown(), instance)),
                    _ => None,
                }
            })
            .collect();
        found.sort_by_key(|(rank, last_shown, _)| (*rank, *last_shown));
        found.into_iter().map(|(_, _, instance)| instance).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_never_exceed_the_budget_and_are_given_back() {
        let memory = HostMemory::new(100);
        let first = memory.seat(60).unwrap();
        assert!(memory.seat(41).is_none());
        assert!(!first.grow(41));
        assert!(first.grow(40));
        first.shrink(30);
        let second = memory.seat(30).unwrap();
        second.settle(10);
        assert_eq!(memory.used(), 80);
        drop((first, second));
        assert_eq!(memory.used(), 0);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn touched_pages_are_counted() {
        // More than the allocator keeps for itself, so that the system has to give it anew.
        let pages = 10_000;
        let touch = async {
            let mut bytes = vec![0u8; pages * 4096];
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::hint::black_box(bytes.len())
        };
        let (bytes, touched) = Touching::new(touch).await;
        let touched = touched.unwrap();
        assert!(touched >= bytes as u64 / 2 && touched < 4 * bytes as u64, "{touched} of {bytes}");
    }
}
