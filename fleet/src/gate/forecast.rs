//! What a plan can tell, and how long it takes, before it is started.
//!
//! By Wald's average sample number: a ratio that starts at 0 and moves by `drift` per vote on average reaches its line
//! after `line / drift` votes. With a bad rate `p`, a bad vote adding `a` and a good one adding `b`, the drift is
//! `p·a + (1 - p)·b`. Solved for `p`, the smallest rate that `n` votes can show on average is
//! `(line / n - b) / (a - b)`. The ratio overshoots its line by part of one vote, so real figures are a little
//! larger where a single vote adds much.

use serde::{Deserialize, Serialize};

use super::{Metric, Pair, ROWS, Row};
use crate::plan::Plan;

const MILLION: i128 = 1_000_000;
const DAY_S: u64 = 86_400;

/// How many devices there are. New votes come from devices that have not voted yet, so they end when all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Different devices that launch the app on a day.
    pub devices_per_day: u64,
    /// Different devices that launch it at all within the rollout.
    pub devices: u64,
}

/// Expected shares of bad votes on a healthy release, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Of [`Metric::Errors`].
    pub errors_ppm: u32,
    /// Of [`Metric::Slow`], calls over 500 ms.
    pub slow_ppm: u32,
    /// Of [`Metric::Unavailable`].
    pub unavailable_ppm: u32,
}

impl Default for Rates {
    /// Half of what counts as healthy.
    fn default() -> Self {
        Self { errors_ppm: 5_000, slow_ppm: 5_000, unavailable_ppm: 500 }
    }
}

impl Rates {
    fn of(&self, metric: Metric) -> u32 {
        match metric {
            Metric::Errors => self.errors_ppm,
            Metric::Slow => self.slow_ppm,
            Metric::Unavailable => self.unavailable_ppm,
        }
    }
}

/// What one step can show about one metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// The metric.
    pub metric: Metric,
    /// The smallest rate of bad votes that the votes of the step show on average, in millionths; none when there are
    /// too few votes for any.
    pub detectable_ppm: Option<u32>,
    /// Votes until 10 % bad ones roll back, on average.
    pub votes_at_ten_percent: u64,
    /// Votes until the expected rate counts as healthy, on average; none when it never does.
    pub votes_to_healthy: Option<u64>,
}

/// What to expect of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepForecast {
    /// The step, from 0.
    pub step: usize,
    /// New votes per day while there are new devices.
    pub votes_per_day: u64,
    /// Votes at its end, those of the steps before included.
    pub votes: u64,
    /// How long it takes, in seconds; none when it never ends by itself.
    pub takes_s: Option<u64>,
    /// By metric.
    pub effects: Vec<Effect>,
}

/// What to expect of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// By step, up to the first that never ends.
    pub steps: Vec<StepForecast>,
    /// How long all of it takes, in seconds; none when it never ends by itself.
    pub takes_s: Option<u64>,
}

/// Votes until a pair is decided at this rate of bad votes, on average; none when it drifts the other way.
///
/// ```
/// use mpkg_fleet::{ROWS, average_votes};
/// assert_eq!(average_votes(&ROWS[0].rollback, 100_000), Some(109)); // 10 % bad
/// assert_eq!(average_votes(&ROWS[0].rollback, 10_000), None); // 1 % bad
/// ```
pub fn average_votes(pair: &Pair, bad_ppm: u32) -> Option<u64> {
    let bad = i128::from(bad_ppm).min(MILLION);
    let drift = bad * i128::from(pair.bad) + (MILLION - bad) * i128::from(pair.good);
    if drift <= 0 {
        return None;
    }
    let line = i128::from(pair.line) * MILLION;
    u64::try_from((line + drift - 1) / drift).ok()
}

/// The smallest rate of bad votes, in millionths, that so many votes show on average; none when even bad votes alone
/// would be too few.
pub fn detectable(pair: &Pair, votes: u64) -> Option<u32> {
    if votes == 0 {
        return None;
    }
    let (line, bad, good) = (i128::from(pair.line), i128::from(pair.bad), i128::from(pair.good));
    let needed = line * MILLION / i128::from(votes) - good * MILLION;
    let rate = needed.div_euclid(bad - good) + 1;
    (rate <= MILLION).then(|| u32::try_from(rate).ok()).flatten()
}

fn effect(row: &Row, votes: u64, rates: &Rates) -> Effect {
    Effect {
        metric: row.metric,
        detectable_ppm: detectable(&row.rollback, votes),
        votes_at_ten_percent: average_votes(&row.rollback, 100_000).unwrap_or_default(),
        votes_to_healthy: average_votes(&row.healthy, rates.of(row.metric)),
    }
}

/// What a plan can detect at this traffic, and how long each step takes on a healthy release.
pub fn forecast(plan: &Plan, traffic: Traffic, rates: &Rates) -> Forecast {
    let mut steps = Vec::new();
    let (mut have, mut total) = (0_u64, Some(0_u64));
    let healthy: Option<u64> = ROWS
        .iter()
        .map(|row| average_votes(&row.healthy, rates.of(row.metric)))
        .try_fold(0, |most, votes| votes.map(|votes| votes.max(most)));
    for (index, step) in plan.steps().iter().enumerate() {
        let share = |count: u64| scaled(count, u64::from(step.percent.get()), 10_000);
        let (per_day, most) = (share(traffic.devices_per_day), share(traffic.devices));
        let needed = healthy.map(|votes| votes.max(step.min_votes));
        let collecting = match needed {
            Some(needed) if needed <= have => Some(0),
            Some(needed) if needed <= most && per_day > 0 => Some(scaled_up(needed - have, DAY_S, per_day)),
            _ => None,
        };
        let takes_s = collecting.map(|collecting| collecting.max(step.bake_s));
        let votes = match takes_s {
            Some(takes) => have.saturating_add(scaled(per_day, takes, DAY_S)).min(most).max(have),
            None => most.max(have),
        };
        let effects = ROWS.iter().map(|row| effect(row, votes, rates)).collect();
        steps.push(StepForecast { step: index, votes_per_day: per_day, votes, takes_s, effects });
        have = votes;
        total = total.zip(takes_s).map(|(total, takes)| total.saturating_add(takes));
        if total.is_none() {
            break;
        }
    }
    Forecast { steps, takes_s: total }
}

fn scaled(count: u64, by: u64, of: u64) -> u64 {
    u64::try_from(u128::from(count) * u128::from(by) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

fn scaled_up(count: u64, by: u64, of: u64) -> u64 {
    u64::try_from((u128::from(count) * u128::from(by)).div_ceil(u128::from(of.max(1)))).unwrap_or(u64::MAX)
}
