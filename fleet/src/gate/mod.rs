//! Health gates: whether a release is to be rolled back, to go on, or to wait.
//!
//! Each device has one vote per release on each question. A vote is one draw from what the device experienced
//! ([`crate::votes`]), so the share of bad votes is the rate that an average device sees, and no device counts for more
//! than one, however much it reports.

mod compare;
mod evidence;
mod forecast;
mod sprt;

pub use compare::{SampleRatio, excuses, sample_ratio, two_proportions};
pub use evidence::{Evidence, Line, ReplayError, replay};
pub use forecast::{Effect, Forecast, Rates, StepForecast, Traffic, average_votes, detectable, forecast};
pub use sprt::{Pair, Tally};

use mpkg_manifest::AppId;
use mpkg_package::Time;
use serde::{Deserialize, Serialize};

use crate::plan::Step;
use crate::types::BasisPoints;

/// A question that devices vote on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Did a call fail, or a launch not succeed?
    Errors,
    /// Did a call take too long?
    Slow,
    /// Did the app not come up, or go down?
    Unavailable,
}

/// What a metric is decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The metric.
    pub metric: Metric,
    /// Decides for going back.
    pub rollback: Pair,
    /// Decides for going on.
    pub healthy: Pair,
}

/// The metrics and their rates. Errors and slow calls: back at 5 % against 2 %, healthy at 1 % against 5 %;
/// unavailability: back at 5 % against 1 %, healthy at 0.1 % against 5 %.
pub const ROWS: [Row; 3] = [
    Row { metric: Metric::Errors, rollback: sprt::WORSE_THAN_2, healthy: sprt::AS_GOOD_AS_1 },
    Row { metric: Metric::Slow, rollback: sprt::WORSE_THAN_2, healthy: sprt::AS_GOOD_AS_1 },
    Row { metric: Metric::Unavailable, rollback: sprt::WORSE_THAN_1, healthy: sprt::AS_GOOD_AS_0_1 },
];

/// Devices in a crash loop from which on the tripwire can act.
pub const CRASH_LOOPS: u64 = 5;
/// The share of devices in a crash loop from which on it does: 1 in this many.
pub const CRASH_LOOP_SHARE: u64 = 100;

/// What one arm has to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmVotes {
    /// Devices of the arm that reported since the rollout began, whatever they run: those that are still downloading
    /// count here, or the arms would look unequal.
    pub devices: u64,
    /// Votes on [`Metric::Errors`].
    pub errors: Tally,
    /// Votes on [`Metric::Slow`] with calls over 2000 ms as events, for going back.
    pub slow: Tally,
    /// Votes on [`Metric::Slow`] with calls over 500 ms as events, for going on.
    pub sluggish: Tally,
    /// Votes on [`Metric::Unavailable`].
    pub unavailable: Tally,
    /// Devices that report a crash loop.
    pub crash_loops: u64,
}

impl ArmVotes {
    fn rollback(&self, metric: Metric) -> Tally {
        match metric {
            Metric::Errors => self.errors,
            Metric::Slow => self.slow,
            Metric::Unavailable => self.unavailable,
        }
    }

    fn healthy(&self, metric: Metric) -> Tally {
        if metric == Metric::Slow { self.sluggish } else { self.rollback(metric) }
    }

    fn trips(&self) -> bool {
        self.crash_loops >= CRASH_LOOPS && self.crash_loops.saturating_mul(CRASH_LOOP_SHARE) >= self.devices
    }
}

/// What a gate decides by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateInputs {
    /// The app.
    pub app: AppId,
    /// The release that is rolled out.
    pub release_seq: u64,
    /// When the gate looked.
    pub at: Time,
    /// The step, from 0.
    pub step: usize,
    /// What the plan asks of the step.
    pub plan: Step,
    /// How long the step has lasted, in seconds.
    pub elapsed_s: u64,
    /// The size of the control arm.
    pub control_share: BasisPoints,
    /// Devices that run the release.
    pub treatment: ArmVotes,
    /// Devices that run the baseline for comparison.
    pub control: ArmVotes,
}

/// Why a gate goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bad {
    /// Too many devices are in a crash loop.
    CrashLoops,
    /// A metric.
    Metric(Metric),
}

/// Why a gate waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waiting {
    /// The control arm is as bad as the release: the cause lies elsewhere. Someone should look.
    ControlIsBadToo(Bad),
    /// The arms have other sizes than they should. Someone should look.
    SampleRatio,
    /// A metric is not decided.
    Votes {
        /// Which one.
        metric: Metric,
        /// Votes so far.
        have: u64,
        /// How many more it takes, if all of them are good.
        good_missing: u64,
    },
    /// Fewer devices have voted than the plan asks.
    Sample {
        /// Devices so far.
        have: u64,
        /// What the plan asks.
        needed: u64,
    },
    /// The step has not lasted long enough.
    Baking {
        /// Seconds left.
        left_s: u64,
    },
}

/// What a gate decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub enum Verdict {
    /// Everybody back, also while the rollout waits for an approval.
    RollBack {
        /// Why.
        why: Vec<Bad>,
    },
    /// Stay.
    Hold {
        /// Why.
        why: Vec<Waiting>,
    },
    /// Go on.
    Healthy,
}

/// Decides, and tells what by.
pub fn evaluate(inputs: GateInputs) -> Evidence {
    let (treatment, control) = (&inputs.treatment, &inputs.control);
    let ratio = sample_ratio(treatment.devices, control.devices, inputs.plan.percent, inputs.control_share);
    let mut why = Vec::new();
    let mut waiting = Vec::new();
    let mut lines = Vec::new();

    if treatment.trips() {
        // A control arm of another size than it should have is no measure of anything.
        if control.trips() && !ratio.mismatch {
            waiting.push(Waiting::ControlIsBadToo(Bad::CrashLoops));
        } else {
            why.push(Bad::CrashLoops);
        }
    }
    for row in &ROWS {
        let (bad, theirs) = (treatment.rollback(row.metric), control.rollback(row.metric));
        if row.rollback.is_decided(bad) {
            if excuses(&row.rollback, bad, theirs) && !ratio.mismatch {
                waiting.push(Waiting::ControlIsBadToo(Bad::Metric(row.metric)));
            } else {
                why.push(Bad::Metric(row.metric));
            }
        }
        lines.push(Line::of(row, treatment, control));
    }
    if ratio.mismatch {
        waiting.push(Waiting::SampleRatio);
    }
    for row in &ROWS {
        let tally = treatment.healthy(row.metric);
        if !row.healthy.is_decided(tally) {
            let (metric, have) = (row.metric, tally.votes());
            waiting.push(Waiting::Votes { metric, have, good_missing: row.healthy.good_missing(tally) });
        }
    }
    let (have, needed) = (treatment.unavailable.votes(), inputs.plan.min_votes);
    if have < needed {
        waiting.push(Waiting::Sample { have, needed });
    }
    if inputs.elapsed_s < inputs.plan.bake_s {
        waiting.push(Waiting::Baking { left_s: inputs.plan.bake_s - inputs.elapsed_s });
    }

    let verdict = if !why.is_empty() {
        Verdict::RollBack { why }
    } else if !waiting.is_empty() {
        Verdict::Hold { why: waiting }
    } else {
        Verdict::Healthy
    };
    Evidence { rules: evidence::RULES_VERSION, inputs, lines, sample_ratio: ratio, verdict }
}
