//! Counters for OpenMetrics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds in milliseconds.
const BOUNDS: [u64; 8] = [1, 5, 10, 50, 100, 500, 1_000, 5_000];

#[derive(Default)]
struct Latency {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    micros: u64,
}

/// Counts by status, and how long they took.
type Requests = (BTreeMap<u16, u64>, Latency);

#[derive(Default)]
pub(crate) struct Metrics {
    /// Routes and statuses are few, so labels are bounded.
    requests: Mutex<BTreeMap<(&'static str, &'static str), Requests>>,
    pub(crate) rows: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) commits: AtomicU64,
}

impl Metrics {
    pub(crate) fn request(&self, method: &'static str, path: &'static str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let (statuses, latency) = requests.entry((path, method)).or_default();
        *statuses.entry(status).or_default() += 1;
        latency.count += 1;
        latency.micros += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (bound, bucket) in BOUNDS.iter().zip(&mut latency.buckets) {
            *bucket += u64::from(took <= Duration::from_millis(*bound));
        }
    }

    /// The text form, with gauges that are read now.
    pub(crate) fn render(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut out = String::new();
        // Writing to a string never fails.
        let _ = self.write(&mut out, gauges);
        out
    }

    fn write(&self, out: &mut String, gauges: &[(&str, &str, u64)]) -> std::fmt::Result {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(
            out,
            "# TYPE mpkg_registry_requests counter\n# HELP mpkg_registry_requests Requests by route."
        )?;
        for ((route, method), (statuses, _)) in requests.iter() {
            for (status, count) in statuses {
                let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
                writeln!(out, "mpkg_registry_requests_total{{{labels}}} {count}")?;
            }
        }
        let name = "mpkg_registry_request_seconds";
        writeln!(
            out,
            "# TYPE {name} histogram\n# UNIT {name} seconds\n# HELP {name} Time until an answer begins."
        )?;
        for ((route, method), (_, latency)) in requests.iter() {
            let labels = format!("route=\"{route}\",method=\"{method}\"");
            for (bound, count) in BOUNDS.iter().zip(latency.buckets) {
                let le = format!("{}.{:03}", bound / 1_000, bound % 1_000);
                writeln!(out, "{name}_bucket{{{labels},le=\"{le}\"}} {count}")?;
            }
            writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", latency.count)?;
            writeln!(out, "{name}_count{{{labels}}} {}", latency.count)?;
            let (whole, part) = (latency.micros / 1_000_000, latency.micros % 1_000_000);
            writeln!(out, "{name}_sum{{{labels}}} {whole}.{part:06}")?;
        }
        let counters = [
            ("mpkg_registry_telemetry_rows", "Telemetry rows taken in.", &self.rows),
            (
                "mpkg_registry_telemetry_dropped",
                "Telemetry rows of too many runs of one device.",
                &self.dropped,
            ),
            ("mpkg_registry_telemetry_commits", "Transactions with telemetry.", &self.commits),
        ];
        for (name, help, value) in counters {
            let value = value.load(Ordering::Relaxed);
            writeln!(out, "# TYPE {name} counter\n# HELP {name} {help}\n{name}_total {value}")?;
        }
        for (name, help, value) in gauges {
            writeln!(out, "# TYPE {name} gauge\n# HELP {name} {help}\n{name} {value}")?;
        }
        writeln!(out, "# EOF")
    }
}
