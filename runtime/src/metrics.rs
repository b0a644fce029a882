//! What an instance has done, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Counters of one bridge method.
#[derive(Debug, Default)]
pub(crate) struct MethodCounters {
    pub(crate) calls: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) denied: AtomicU64,
}

/// Counters of one instance. Bridge methods have fixed places, so that counting allocates nothing.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) calls: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) cpu_nanos: AtomicU64,
    pub(crate) log_lines: AtomicU64,
    pub(crate) log_dropped: AtomicU64,
    latency: Option<Mutex<Histogram<u64>>>,
    bridge: Box<[MethodCounters]>,
    names: Arc<[String]>,
}

impl Metrics {
    /// `names` are the bridge methods, in the order of their places.
    pub(crate) fn new(names: Arc<[String]>) -> Self {
        Self {
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            cpu_nanos: AtomicU64::new(0),
            log_lines: AtomicU64::new(0),
            log_dropped: AtomicU64::new(0),
            latency: empty_histogram(),
            bridge: names.iter().map(|_| MethodCounters::default()).collect(),
            names,
        }
    }

    pub(crate) fn method(&self, place: usize) -> Option<&MethodCounters> {
        self.bridge.get(place)
    }

    pub(crate) fn record_call(&self, failed: bool, took: Duration, cpu: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.cpu_nanos.fetch_add(u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if let Some(latency) = &self.latency {
            latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos);
        }
    }

    pub(crate) fn snapshot(&self, memory_bytes: u64, memory_peak: u64, memory_cap: u64) -> InstanceMetrics {
        let latency = self.latency.as_ref().map(|l| l.lock().unwrap_or_else(PoisonError::into_inner));
        let quantile = |q| Duration::from_nanos(latency.as_ref().map_or(0, |l| l.value_at_quantile(q)));
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        InstanceMetrics {
            calls: load(&self.calls),
            errors: load(&self.errors),
            latency_p50: quantile(0.5),
            latency_p99: quantile(0.99),
            latency_max: quantile(1.0),
            cpu: Duration::from_nanos(load(&self.cpu_nanos)),
            memory_bytes,
            memory_peak,
            memory_cap,
            log_lines: load(&self.log_lines),
            log_dropped: load(&self.log_dropped),
            inbox_delivered: 0,
            inbox_dropped: 0,
            bridge: self
                .names
                .iter()
                .zip(self.bridge.iter())
                .filter(|(_, c)| load(&c.calls) + load(&c.denied) > 0)
                .map(|(name, c)| {
                    let metrics = MethodMetrics {
                        calls: load(&c.calls),
                        errors: load(&c.errors),
                        denied: load(&c.denied),
                    };
                    (name.clone(), metrics)
                })
                .collect(),
        }
    }
}

/// Nanoseconds up to an hour, to two digits.
fn empty_histogram() -> Option<Mutex<Histogram<u64>>> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 2).ok().map(Mutex::new)
}

/// What an instance has done so far.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceMetrics {
    /// Calls into the app that have ended.
    pub calls: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Median time of a call, waiting included.
    pub latency_p50: Duration,
    /// 99th percentile of the same.
    pub latency_p99: Duration,
    /// The longest.
    pub latency_max: Duration,
    /// CPU time of the guest, host functions that answer at once included.
    pub cpu: Duration,
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
    /// Events, changes and timers that the app was told and took.
    pub inbox_delivered: u64,
    /// Those that were given up because the app answered with errors or crashed, again and again.
    pub inbox_dropped: u64,
    /// Calls of the app to its host, by method.
    pub bridge: BTreeMap<String, MethodMetrics>,
}

/// Calls of one bridge method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MethodMetrics {
    /// Calls that were authorized.
    pub calls: u64,
    /// Those that ended in an error.
    pub errors: u64,
    /// Calls that were denied, and had no effect.
    pub denied: u64,
}
