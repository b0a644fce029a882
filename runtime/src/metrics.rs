//! What instances and their host have done, in numbers.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mpkg_fleet::Counters;
use serde::Serialize;

use crate::budget::Ledger;
use crate::latency::{Latency, LatencySnapshot};
use crate::limits::Limit;
use crate::meter::Meter;
use crate::session::Session;
use crate::stop::StopReason;

/// From where on telemetry calls a call slow, and very slow, in nanoseconds.
const SLOW: [u64; 2] = [500_000_000, 2_000_000_000];

/// Counters of one bridge method.
#[derive(Debug, Default)]
pub(crate) struct MethodCounters {
    pub(crate) calls: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) denied: AtomicU64,
    /// Of calls that may wait, once there is one; the others take less than looking at a clock does. An instance has a
    /// hundred methods and uses a few.
    waited: OnceLock<Box<Latency>>,
}

impl MethodCounters {
    pub(crate) fn record_wait(&self, took: Duration) {
        self.waited.get_or_init(Box::default).record(took);
    }
}

/// Adds where nobody else writes at the same time; readers may look at any time. A call is short enough for an atomic
/// addition to show.
#[inline]
pub(crate) fn add_alone(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Counters of one instance. Bridge methods have fixed places, so that counting allocates nothing after the first.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) errors: AtomicU64,
    /// Errors but for notifications that the app has no handler for.
    failures: AtomicU64,
    /// Calls that took longer than [`SLOW`].
    slow: [AtomicU64; SLOW.len()],
    pub(crate) cpu_nanos: AtomicU64,
    pub(crate) log_lines: AtomicU64,
    pub(crate) log_dropped: AtomicU64,
    network_sent: AtomicU64,
    network_received: AtomicU64,
    hits: [AtomicU64; Limit::ALL.len()],
    latency: Latency,
    bridge: OnceLock<Box<[MethodCounters]>>,
    names: Arc<[String]>,
}

impl Metrics {
    /// `names` are the bridge methods, in the order of their places.
    pub(crate) fn new(names: Arc<[String]>) -> Self {
        Self {
            errors: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            slow: Default::default(),
            cpu_nanos: AtomicU64::new(0),
            log_lines: AtomicU64::new(0),
            log_dropped: AtomicU64::new(0),
            network_sent: AtomicU64::new(0),
            network_received: AtomicU64::new(0),
            hits: Default::default(),
            latency: Latency::default(),
            bridge: OnceLock::new(),
            names,
        }
    }

    pub(crate) fn method(&self, place: usize) -> Option<&MethodCounters> {
        let bridge = || self.names.iter().map(|_| MethodCounters::default()).collect();
        self.bridge.get_or_init(bridge).get(place)
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        self.network_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.network_received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts that a limit was met.
    pub(crate) fn hit(&self, limit: Limit) {
        let place = Limit::ALL.iter().position(|&l| l == limit);
        if let Some(count) = place.and_then(|place| self.hits.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts the limit that an instance ended for. Demands for memory are counted where they are refused.
    #[cold]
    pub(crate) fn hit_by(&self, reason: &StopReason) {
        match reason.limit() {
            Some(Limit::Memory | Limit::HostMemory) | None => {}
            Some(limit) => self.hit(limit),
        }
    }

    /// Called by the one call that runs.
    #[inline]
    pub(crate) fn record_call(&self, failed: bool, took_nanos: u64, cpu_nanos: u64) {
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        add_alone(&self.cpu_nanos, cpu_nanos);
        self.latency.record_alone(took_nanos);
        let [slow, _] = SLOW;
        if took_nanos > slow {
            self.record_slow(took_nanos);
        }
    }

    #[cold]
    fn record_slow(&self, took_nanos: u64) {
        for (count, bound) in self.slow.iter().zip(SLOW) {
            if took_nanos > bound {
                add_alone(count, 1);
            }
        }
    }

    /// Called after [`record_call`](Self::record_call) for a call that failed.
    #[cold]
    pub(crate) fn record_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// What telemetry tells of the calls. Each number only grows, and none is larger than the one that it is a part of.
    pub(crate) fn counters(&self) -> Counters {
        let [slow_500, slow_2000] = &self.slow;
        let (failures, slow_2000) =
            (self.failures.load(Ordering::Relaxed), slow_2000.load(Ordering::Relaxed));
        let slow_500 = slow_500.load(Ordering::Relaxed);
        let calls = self.latency.snapshot().count();
        let slow_500 = slow_500.min(calls);
        Counters {
            calls,
            errors: failures.min(calls),
            slow_500,
            slow_2000: slow_2000.min(slow_500),
            ..Counters::default()
        }
    }

    /// CPU time that the app used before its first call.
    pub(crate) fn count_start(&self, cpu_nanos: u64) {
        self.cpu_nanos.fetch_add(cpu_nanos, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self, ledger: &Ledger, meter: &Meter) -> InstanceMetrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Those that are met elsewhere are counted there.
        let elsewhere = |limit: Limit| match limit {
            Limit::Memory => ledger.refusals(false),
            Limit::HostMemory => ledger.refusals(true),
            Limit::CpuPerSecond => meter.throttles(),
            _ => 0,
        };
        let latency = self.latency.snapshot();
        InstanceMetrics {
            calls: latency.count(),
            errors: load(&self.errors),
            latency_p50: latency.quantile(0.5),
            latency_p99: latency.quantile(0.99),
            latency_max: latency.longest(),
            latency,
            cpu: Duration::from_nanos(load(&self.cpu_nanos)),
            throttled: meter.throttled(),
            memory_bytes: ledger.used(),
            memory_peak: ledger.peak(),
            memory_cap: ledger.cap(),
            limits_met: Limit::ALL
                .iter()
                .zip(&self.hits)
                .map(|(&limit, count)| (limit, load(count) + elsewhere(limit)))
                .filter(|&(_, count)| count > 0)
                .collect(),
            log_lines: load(&self.log_lines),
            log_dropped: load(&self.log_dropped),
            network_sent: load(&self.network_sent),
            network_received: load(&self.network_received),
            inbox_delivered: 0,
            inbox_dropped: 0,
            bridge: self
                .names
                .iter()
                .zip(self.bridge.get().into_iter().flatten())
                .filter(|(_, c)| load(&c.calls) + load(&c.denied) > 0)
                .map(|(name, c)| {
                    let metrics = MethodMetrics {
                        calls: load(&c.calls),
                        errors: load(&c.errors),
                        denied: load(&c.denied),
                        waited: c.waited.get().map(|waited| waited.snapshot()).unwrap_or_default(),
                    };
                    (name.clone(), metrics)
                })
                .collect(),
        }
    }
}

/// What an instance has done so far.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceMetrics {
    /// Calls into the app that have ended.
    pub calls: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Half of the calls took no longer than this, waiting included.
    pub latency_p50: Duration,
    /// 99 in 100 calls took no longer than this.
    pub latency_p99: Duration,
    /// The longest.
    pub latency_max: Duration,
    #[serde(skip)]
    pub(crate) latency: LatencySnapshot,
    /// CPU time of the guest, host functions that answer at once included.
    pub cpu: Duration,
    /// How long it had to wait because it used more than its CPU time per second.
    pub throttled: Duration,
    /// How often limits were met.
    pub limits_met: BTreeMap<Limit, u64>,
    /// Bytes charged now: memories, tables, messages under way.
    pub memory_bytes: u64,
    /// The most ever charged, in bytes.
    pub memory_peak: u64,
    /// The cap, in bytes.
    pub memory_cap: u64,
    /// Log lines written.
    pub log_lines: u64,
    /// Log lines dropped because there were too many.
    pub log_dropped: u64,
    /// Bytes of request bodies sent to the network; once more for each redirect that they follow.
    pub network_sent: u64,
    /// Bytes of response bodies received from the network.
    pub network_received: u64,
    /// Events, changes and timers that the app was told and took.
    pub inbox_delivered: u64,
    /// Those that were given up because the app answered with errors or crashed, again and again.
    pub inbox_dropped: u64,
    /// Calls of the app to its host, by method.
    pub bridge: BTreeMap<String, MethodMetrics>,
}

/// Calls of one bridge method.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MethodMetrics {
    /// Calls that were authorized.
    pub calls: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Calls that were denied, and had no effect.
    pub denied: u64,
    #[serde(skip)]
    pub(crate) waited: LatencySnapshot,
}

/// What all instances of an app have done, those that have ended included.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppTotals {
    pub(crate) errors: u64,
    pub(crate) latency: LatencySnapshot,
    pub(crate) cpu: Duration,
    pub(crate) throttled: Duration,
    pub(crate) limits_met: BTreeMap<Limit, u64>,
    pub(crate) memory_peak: u64,
    pub(crate) log_lines: u64,
    pub(crate) log_dropped: u64,
    pub(crate) network_sent: u64,
    pub(crate) network_received: u64,
    pub(crate) inbox_delivered: u64,
    pub(crate) inbox_dropped: u64,
    pub(crate) bridge: BTreeMap<String, MethodMetrics>,
}

impl AppTotals {
    fn add(&mut self, other: &InstanceMetrics) {
        self.errors += other.errors;
        self.latency.add(&other.latency);
        self.cpu += other.cpu;
        self.throttled += other.throttled;
        for (limit, count) in &other.limits_met {
            *self.limits_met.entry(*limit).or_default() += count;
        }
        self.memory_peak = self.memory_peak.max(other.memory_peak);
        self.log_lines += other.log_lines;
        self.log_dropped += other.log_dropped;
        self.network_sent += other.network_sent;
        self.network_received += other.network_received;
        self.inbox_delivered += other.inbox_delivered;
        self.inbox_dropped += other.inbox_dropped;
        for (method, counts) in &other.bridge {
            let sum = self.bridge.entry(method.clone()).or_default();
            sum.calls += counts.calls;
            sum.errors += counts.errors;
            sum.denied += counts.denied;
            sum.waited.add(&counts.waited);
        }
    }
}

/// A part of a launch that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Mapping code that was compiled before, if there is any.
    Load,
    /// Waiting until others have been compiled.
    Wait,
    /// Reading the package back, checking and compiling it.
    Compile,
    /// Making room, and asking for required permissions.
    Admit,
    /// Running the component's start code.
    Instantiate,
    /// Telling the app that it was launched.
    Launched,
}

impl Phase {
    /// All there are, in their order.
    pub const ALL: [Self; 6] =
        [Self::Load, Self::Wait, Self::Compile, Self::Admit, Self::Instantiate, Self::Launched];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Wait => "wait",
            Self::Compile => "compile",
            Self::Admit => "admit",
            Self::Instantiate => "instantiate",
            Self::Launched => "launched",
        }
    }
}

/// Counters of a host, over all its instances.
#[derive(Default)]
pub(crate) struct HostMetrics {
    phases: [Latency; Phase::ALL.len()],
    stops: [AtomicU64; StopReason::LABELS.len()],
    pub(crate) compiles: AtomicU64,
    /// Launches that came to nothing, by the code of the error.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    apps: Mutex<Apps>,
}

/// Counters never fall: what an instance has done moves from those that live to those that have ended under one lock.
#[derive(Default)]
struct Apps {
    ended: BTreeMap<String, AppTotals>,
    /// By the instance's id, from before its code runs.
    live: HashMap<u64, Arc<Session>>,
}

impl HostMetrics {
    pub(crate) fn phase(&self, phase: Phase, took: Duration) {
        let place = Phase::ALL.iter().position(|&p| p == phase);
        if let Some(latency) = place.and_then(|place| self.phases.get(place)) {
            latency.record(took);
        }
    }

    pub(crate) fn phases(&self) -> impl Iterator<Item = (Phase, LatencySnapshot)> + '_ {
        Phase::ALL.into_iter().zip(self.phases.iter().map(Latency::snapshot))
    }

    pub(crate) fn stopped(&self, reason: &StopReason) {
        let place = StopReason::LABELS.iter().position(|&label| label == reason.label());
        if let Some(count) = place.and_then(|place| self.stops.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many instances ended, by the reason's label.
    pub(crate) fn stops(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        StopReason::LABELS.into_iter().zip(self.stops.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// Counts a launch that came to nothing.
    pub(crate) fn refused(&self, code: &'static str) {
        *lock(&self.refused).entry(code).or_default() += 1;
    }

    /// Launches that came to nothing, by the code of the error.
    pub(crate) fn refusals(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.refused).clone()
    }

    /// Follows what a new instance does.
    pub(crate) fn follow(&self, session: &Arc<Session>) {
        lock(&self.apps).live.insert(session.life.id, session.clone());
    }

    /// Keeps the figures of an instance that has ended.
    pub(crate) fn over(&self, id: u64) {
        let mut apps = lock(&self.apps);
        let Some(session) = apps.live.remove(&id) else { return };
        apps.ended.entry(session.identity.app_id.clone()).or_default().add(&session.figures());
        drop(apps);
    }

    /// What all instances have done until now, by app.
    pub(crate) fn totals(&self) -> BTreeMap<String, AppTotals> {
        let apps = lock(&self.apps);
        let mut totals = apps.ended.clone();
        for session in apps.live.values() {
            totals.entry(session.identity.app_id.clone()).or_default().add(&session.figures());
        }
        totals
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
