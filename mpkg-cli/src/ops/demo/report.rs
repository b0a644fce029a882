//! What the story came to, for the table at its end and for scripts.

use hdrhistogram::Histogram;
use mpkg_fleet::Evidence;
use serde::Serialize;

/// The longest time that is told apart, in microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Everything that the demo saw. Every claim in it was checked when it was made.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Hosts, the real ones included.
    pub(crate) hosts: usize,
    /// Hosts that run the app in its sandbox.
    pub(crate) real_hosts: usize,
    /// Processes, that of the registry included.
    pub(crate) processes: usize,
    pub(crate) app: String,
    pub(crate) registry: String,
    pub(crate) publisher: String,
    pub(crate) releases: Vec<Released>,
    /// From the first host that wants the app to the last that has it.
    pub(crate) install_s: f64,
    /// The rollout of the good release.
    pub(crate) steps: Vec<StepReport>,
    /// What came of the bad one.
    pub(crate) bad: BadReport,
    pub(crate) kill: Latency,
    pub(crate) lift: Latency,
    pub(crate) outage: Outage,
    pub(crate) transfer: Transfer,
    pub(crate) memory: Option<MemoryReport>,
    /// All of it, without building the app.
    pub(crate) took_s: f64,
}

/// A release.
#[derive(Debug, Serialize)]
pub(crate) struct Released {
    pub(crate) version: String,
    pub(crate) release_seq: u64,
    pub(crate) sha256: String,
    /// Of the package without its signature.
    pub(crate) bytes: u64,
}

/// Who let a rollout go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// The gates.
    Gates,
    /// A person: with so few devices a gate never becomes sure.
    Operator,
}

/// A step of a rollout.
#[derive(Debug, Serialize)]
pub(crate) struct StepReport {
    /// Hundredths of a percent.
    pub(crate) basis_points: u16,
    /// Hosts whose bucket is below that.
    pub(crate) in_bucket: usize,
    /// Hosts that ran the release, which were these.
    pub(crate) ran: usize,
    /// Hosts that ran the one before.
    pub(crate) stayed: usize,
    /// From the command to the last of them that had it.
    pub(crate) settled_s: f64,
    /// Devices that had voted when it went on.
    pub(crate) votes: u64,
    /// What the gate still lacked then.
    pub(crate) missing: Vec<String>,
    pub(crate) went_on_by: By,
}

/// What came of the release that does not come up.
#[derive(Debug, Serialize)]
pub(crate) struct BadReport {
    /// The share of its first step, in hundredths of a percent.
    pub(crate) basis_points: u16,
    /// How often a salt was drawn until the step had devices enough for a gate.
    pub(crate) drafts: usize,
    /// Hosts whose bucket is below it.
    pub(crate) in_bucket: usize,
    /// Hosts that got it first by name.
    pub(crate) allowed: usize,
    /// Hosts that launched it, which were these.
    pub(crate) launched: usize,
    /// Hosts that went back by themselves, before the gate did.
    pub(crate) went_back_alone: usize,
    /// Real ones among them.
    pub(crate) real_went_back_alone: usize,
    /// From the first crash that was reported to everybody being back.
    pub(crate) back_s: f64,
    /// Why, in words.
    pub(crate) why: Vec<String>,
    /// What the gate decided by.
    pub(crate) evidence: Evidence,
    /// Whether deciding again gives the same, to the last digit.
    pub(crate) replays: bool,
}

/// How long something took to reach every host, in milliseconds from when the command was given.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latency {
    /// Hosts.
    pub(crate) hosts: u64,
    /// When the registry had it on its disk and answered.
    pub(crate) accepted_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) slowest_ms: f64,
}

impl Latency {
    /// From times of all hosts, in microseconds since the command.
    pub(super) fn of(times_us: &[u64], accepted_us: u64) -> Option<Self> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).ok()?;
        for time in times_us {
            histogram.saturating_record((*time).max(1));
        }
        let ms = |us: u64| us as f64 / 1_000.0;
        Some(Self {
            hosts: histogram.len(),
            accepted_ms: ms(accepted_us),
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            slowest_ms: ms(histogram.max()),
        })
    }
}

/// The registry away and back.
#[derive(Debug, Serialize)]
pub(crate) struct Outage {
    pub(crate) kill: Latency,
    /// How long nobody answered.
    pub(crate) down_s: f64,
    /// Hosts that were restarted meanwhile.
    pub(crate) restarted: usize,
    /// Launches that were refused meanwhile: one of each host.
    pub(crate) refused: usize,
    /// Calls of the other app that were answered meanwhile.
    pub(crate) other_calls: usize,
    /// From when the registry listened again to the last host that listens to it.
    pub(crate) back_s: f64,
    pub(crate) lift: Latency,
}

/// What went over the wire for packages.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Transfer {
    /// The patch from the first release to the second, in bytes; none where the registry has none.
    pub(crate) delta_bytes: Option<u64>,
    /// The second release as a whole.
    pub(crate) whole_bytes: u64,
    /// Updates that came as a patch.
    pub(crate) by_delta: usize,
    /// Updates that came whole.
    pub(crate) by_whole: usize,
}

/// Memory of hosts, that of the registry's side of them included where they share its process.
#[derive(Debug, Serialize)]
pub(crate) struct MemoryReport {
    /// Resident bytes that all hosts added when they had started, the real ones not counted.
    pub(crate) hosts_bytes: u64,
    /// For each.
    pub(crate) per_host_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_out_in_milliseconds() {
        let times: Vec<u64> = (1..=100).map(|n| n * 1_000).collect();
        let it = Latency::of(&times, 500).unwrap();
        assert_eq!((it.hosts, it.accepted_ms), (100, 0.5));
        let near = |found: f64, real: f64| (found - real).abs() / real < 0.01;
        assert!(near(it.p50_ms, 50.0) && near(it.p99_ms, 99.0) && near(it.slowest_ms, 100.0), "{it:?}");
    }
}
