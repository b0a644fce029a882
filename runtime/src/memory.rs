//! The host's memory: what all instances have resident together, and who makes room for whom.
//!
//! An app's own cap counts declared bytes, exactly. That would be unfair between apps: a JavaScript guest declares 9
//! MiB at once and touches two. So the host counts what an instance has touched when it started, as measured for its
//! version, and in full what it declares from then on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::app::App;
use crate::error::LaunchError;
use crate::host::Inner;
use crate::instance::Instance;
use crate::life::{BURIED, State};
use crate::nesting::is_waiting;
use crate::session::Session;
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
        self.take(bytes).then(|| Arc::new(Seat { host: self.clone(), bytes: Mutex::new(Some(bytes)) }))
    }
}

/// An instance's part of its host's memory; given back on drop.
#[derive(Debug)]
pub(crate) struct Seat {
    host: Arc<HostMemory>,
    /// None once it was given back.
    bytes: Mutex<Option<u64>>,
}

impl Seat {
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().unwrap_or(0)
    }

    pub(crate) fn grow(&self, bytes: u64) -> bool {
        let mut held = self.lock();
        match &mut *held {
            Some(held) if self.host.take(bytes) => {
                *held += bytes;
                true
            }
            Some(_) | None => false,
        }
    }

    pub(crate) fn shrink(&self, bytes: u64) {
        self.correct(0, bytes);
    }

    /// Adds what is there all the same, even over the budget, and takes away what is not.
    pub(crate) fn correct(&self, more: u64, less: u64) {
        self.change(|held| held.saturating_add(more).saturating_sub(less));
    }

    /// Gives everything back: the instance's memory is freed, whoever still holds a handle.
    pub(crate) fn release(&self) {
        let held = self.lock().take().unwrap_or(0);
        self.host.used.fetch_sub(held, Ordering::Relaxed);
    }

    /// Corrects an estimate by what was measured. What is there is counted, even over the budget: the next launch makes
    /// room for it.
    fn settle(&self, bytes: u64) {
        self.change(|_| bytes);
    }

    fn change(&self, change: impl FnOnce(u64) -> u64) {
        if let Some(held) = &mut *self.lock() {
            let after = change(*held);
            self.host.used.fetch_add(after.wrapping_sub(*held), Ordering::Relaxed);
            *held = after;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.release();
    }
}

/// Counts the pages that polls of a guest are the first to touch while its start is measured, on whatever threads it is
/// polled.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    measuring: AtomicBool,
    before: AtomicU64,
    faults: AtomicU64,
    unknown: AtomicBool,
}

impl Touched {
    pub(crate) fn start(&self) {
        self.measuring.store(true, Ordering::Relaxed);
    }

    /// Bytes that were touched since the start; `None` where the system does not tell.
    pub(crate) fn finish(&self) -> Option<u64> {
        self.measuring.store(false, Ordering::Relaxed);
        let known = !self.unknown.load(Ordering::Relaxed);
        known.then(|| self.faults.load(Ordering::Relaxed).saturating_mul(page_bytes()))
    }

    /// A poll begins, on this thread.
    #[inline]
    pub(crate) fn begin(&self) {
        if self.measuring.load(Ordering::Relaxed) {
            self.before.store(self.faults_now(), Ordering::Relaxed);
        }
    }

    /// A poll has ended, on this thread.
    #[inline]
    pub(crate) fn end(&self) {
        if self.measuring.load(Ordering::Relaxed) {
            let faults = self.faults_now().saturating_sub(self.before.load(Ordering::Relaxed));
            self.faults.fetch_add(faults, Ordering::Relaxed);
        }
    }

    #[cold]
    fn faults_now(&self) -> u64 {
        let faults = thread_faults();
        if faults.is_none() {
            self.unknown.store(true, Ordering::Relaxed);
        }
        faults.unwrap_or(0)
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
pub(crate) fn settle(app: &App, session: &Session) {
    let declared = session.ledger.used();
    let touched = session.meter.touched.finish();
    let measured = touched.map_or(declared, |touched| touched.min(declared)) + OVERHEAD;
    let before = app.footprint.fetch_max(measured, Ordering::Relaxed);
    app.declared_memory.fetch_max(declared, Ordering::Relaxed);
    session.seat.settle(before.max(measured));
    session.ledger.covers_all();
}

/// What an instance of this version is expected to have resident.
pub(crate) fn footprint(app: &App) -> u64 {
    match app.footprint.load(Ordering::Relaxed) {
        0 => app.declared_memory.load(Ordering::Relaxed) + OVERHEAD,
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
            // Somebody may show it meanwhile.
            let evicted = victim.unload_if(StopReason::Evicted, |it| rank(it).is_some()).await;
            drop(victim);
            // None: the host's runtime is gone, and nobody is ended any more.
            let evicted = evicted.ok_or(LaunchError::Interrupted)?;
            if evicted && tokio::time::timeout(BURIED, gone.stopped()).await.is_err() {
                return Err(self.does_not_fit(app, needs));
            }
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
    /// never shown, and last those in which a call runs.
    fn evictable(&self) -> Vec<Instance> {
        let mut found: Vec<_> = self
            .living
            .all()
            .into_iter()
            .filter_map(|life| {
                // Who asks for a launch in a call is not ended for it: neither would be left.
                let instance = life.instance().filter(|_| !is_waiting(life.id))?;
                rank(&instance).map(|rank| (rank, life.last_shown(), instance))
            })
            .collect();
        found.sort_by_key(|(rank, last_shown, _)| (*rank, *last_shown));
        found.into_iter().map(|(_, _, instance)| instance).collect()
    }
}

/// How soon an instance gives way to others, lowest first; `None` for one that does not.
fn rank(instance: &Instance) -> Option<u8> {
    let life = &instance.shared.session.life;
    // An app that keeps itself busy, by timers say, would otherwise never give way.
    let busy = !life.switch.is_suspended() && !instance.shared.is_idle();
    match life.state() {
        State::Hidden => Some(if busy { 2 } else { 0 }),
        State::Launched => Some(if busy { 3 } else { 1 }),
        _ => None,
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

    #[test]
    fn what_was_given_back_is_not_charged_again() {
        let memory = HostMemory::new(100);
        let seat = memory.seat(60).unwrap();
        seat.release();
        seat.settle(50);
        seat.correct(10, 0);
        assert!(!seat.grow(1));
        assert_eq!((memory.used(), seat.bytes()), (0, 0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn touched_pages_are_counted_on_whatever_thread_a_poll_runs() {
        // More than the allocator keeps for itself, so that the system has to give it anew.
        let pages = 10_000;
        let poll = |touched: &Touched| {
            touched.begin();
            let mut bytes = vec![0u8; pages * 4096];
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            std::hint::black_box(&bytes);
            touched.end();
        };
        let touched = Touched::default();
        poll(&touched);
        assert_eq!(touched.finish(), Some(0), "nothing is counted before it is wanted");
        touched.start();
        poll(&touched);
        std::thread::scope(|scope| scope.spawn(|| poll(&touched)).join().unwrap());
        let (bytes, counted) = (2 * pages as u64 * 4096, touched.finish().unwrap());
        assert!(counted >= bytes / 2 && counted < 4 * bytes, "{counted} of {bytes}");
    }
}
