//! What a decision was made by, so that it can be made again.

use mpkg_manifest::json::{self, JsonError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{ArmVotes, GateInputs, Metric, Row, SampleRatio, Verdict, evaluate};

/// The version of rates, lines and rules; a change of any of them is another version.
pub(super) const RULES_VERSION: u32 = 1;
const LIMIT: usize = 64 << 10;

/// How far one metric is. Ratios and lines in millionths of a natural logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The metric.
    pub metric: Metric,
    /// The ratio for going back.
    pub rollback: i64,
    /// Where it decides.
    pub rollback_line: i64,
    /// The same ratio of the control arm.
    pub control: i64,
    /// The ratio for going on.
    pub healthy: i64,
    /// Where it decides.
    pub healthy_line: i64,
}

impl Line {
    pub(super) fn of(row: &Row, treatment: &ArmVotes, control: &ArmVotes) -> Self {
        Self {
            metric: row.metric,
            rollback: row.rollback.ratio(treatment.rollback(row.metric)),
            rollback_line: row.rollback.line,
            control: row.rollback.ratio(control.rollback(row.metric)),
            healthy: row.healthy.ratio(treatment.healthy(row.metric)),
            healthy_line: row.healthy.line,
        }
    }
}

/// A decision with everything that went into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The version of the rules.
    pub rules: u32,
    /// What was known.
    pub inputs: GateInputs,
    /// What followed for each metric.
    pub lines: Vec<Line>,
    /// What followed for the arms.
    pub sample_ratio: SampleRatio,
    /// What was decided.
    pub verdict: Verdict,
}

/// Why evidence does not hold.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReplayError {
    /// Not evidence.
    #[error("the evidence is not valid: {0}")]
    Json(#[from] JsonError),
    /// Rules that this version does not know.
    #[error(
        "the evidence was made by version {found} of the rules, this program has version {RULES_VERSION}"
    )]
    Rules {
        /// The version it was made by.
        found: u32,
    },
    /// Another outcome.
    #[error("the same inputs give another outcome than the evidence says")]
    Differs {
        /// What they give.
        real: Box<Evidence>,
    },
}

impl ReplayError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::Rules { .. } => "MPKG-F60",
            Self::Differs { .. } => "MPKG-F61",
        }
    }
}

impl Evidence {
    /// The bytes to keep: the same evidence gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, integers and lists always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReplayError> {
        Ok(json::read(bytes, json::Limits::bytes(LIMIT))?)
    }
}

/// Decides again from what was known then. Everything must come out the same, to the last digit.
pub fn replay(evidence: &Evidence) -> Result<Verdict, ReplayError> {
    if evidence.rules != RULES_VERSION {
        return Err(ReplayError::Rules { found: evidence.rules });
    }
    let real = evaluate(evidence.inputs.clone());
    if real != *evidence {
        return Err(ReplayError::Differs { real: Box::new(real) });
    }
    Ok(real.verdict)
}
