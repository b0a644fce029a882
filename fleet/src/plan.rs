//! The steps of a rollout.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;
use crate::types::BasisPoints;

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The share that gets the release.
    pub percent: BasisPoints,
    /// How long the step lasts at least.
    pub bake_s: u64,
    /// How many devices have to have voted since the rollout began.
    pub min_votes: u64,
}

/// The steps of a rollout.
///
/// ```
/// use mpkg_fleet::Plan;
/// let percents: Vec<u16> = Plan::default().steps().iter().map(|step| step.percent.get()).collect();
/// assert_eq!(percents, [500, 2_500, 10_000]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Step>", into = "Vec<Step>")]
pub struct Plan(Vec<Step>);

/// Why a plan makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a plan has 1 to {} steps, each with a larger share than the one before, from above 0 % to 100 %",
    limits::STEPS
)]
pub struct PlanError;

impl PlanError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        "MPKG-F50"
    }
}

impl Plan {
    /// A plan of these steps.
    pub fn new(steps: Vec<Step>) -> Result<Self, PlanError> {
        let ascends = steps.is_sorted_by(|a, b| a.percent < b.percent && a.min_votes <= b.min_votes);
        let starts = steps.first().is_some_and(|step| step.percent > BasisPoints::NONE);
        let ends = steps.last().is_some_and(|step| step.percent == BasisPoints::ALL);
        if ascends && starts && ends && steps.len() <= limits::STEPS {
            Ok(Self(steps))
        } else {
            Err(PlanError)
        }
    }

    /// Its steps, at least one.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// A step, counted from 0.
    pub fn step(&self, index: usize) -> Option<&Step> {
        self.0.get(index)
    }
}

impl Default for Plan {
    /// 5 % for an hour and 150 devices, 25 % for four hours and 400, then everybody.
    fn default() -> Self {
        let step = |percent, bake_s, min_votes| Step { percent, bake_s, min_votes };
        let share = |points| BasisPoints::new(points).unwrap_or(BasisPoints::ALL);
        Self(vec![
            step(share(500), 3_600, 150),
            step(share(2_500), 4 * 3_600, 400),
            step(BasisPoints::ALL, 24 * 3_600, 1_000),
        ])
    }
}

impl TryFrom<Vec<Step>> for Plan {
    type Error = PlanError;

    fn try_from(steps: Vec<Step>) -> Result<Self, PlanError> {
        Self::new(steps)
    }
}

impl From<Plan> for Vec<Step> {
    fn from(plan: Plan) -> Self {
        plan.0
    }
}
