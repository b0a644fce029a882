//! Sequential likelihood ratios (Wald, *Sequential Tests of Statistical Hypotheses*, 1945).
//!
//! A ratio is a sum: each vote adds the logarithm of how much likelier it is under one rate than under another. Crossing
//! `ln 1000` by chance has a probability of at most 1 in 1000, however long and however often one looks, which is what
//! a fixed window lacks. Logarithms are constants in millionths, so that every machine gets the same sum.

use serde::{Deserialize, Serialize};

/// Votes on one question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Devices that voted good.
    pub good: u64,
    /// Devices that voted bad.
    pub bad: u64,
}

impl Tally {
    /// All votes.
    pub fn votes(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// With one more vote.
    #[must_use]
    pub fn with(self, bad: bool) -> Self {
        let Self { good, bad: worse } = self;
        if bad {
            Self { good, bad: worse.saturating_add(1) }
        } else {
            Self { good: good.saturating_add(1), bad: worse }
        }
    }
}

/// A pair of rates to tell apart, as what a vote adds to the ratio. In millionths of a natural logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The rate that a high ratio speaks against, in millionths.
    pub from_ppm: u64,
    /// The rate that a high ratio speaks for, in millionths.
    pub to_ppm: u64,
    /// What a bad vote adds: `ln(to / from)`.
    pub bad: i64,
    /// What a good vote adds: `ln((1 - to) / (1 - from))`.
    pub good: i64,
    /// The ratio at which the question is decided.
    pub line: i64,
}

/// `ln 1000`.
const LN_1000: i64 = 6_907_755;
/// `ln 100`.
const LN_100: i64 = 4_605_170;

/// Against 2 %, for 5 %.
pub(super) const WORSE_THAN_2: Pair =
    Pair { from_ppm: 20_000, to_ppm: 50_000, bad: 916_291, good: -31_091, line: LN_1000 };
/// Against 1 %, for 5 %.
pub(super) const WORSE_THAN_1: Pair =
    Pair { from_ppm: 10_000, to_ppm: 50_000, bad: 1_609_438, good: -41_243, line: LN_1000 };
/// Against 5 %, for 1 %.
pub(super) const AS_GOOD_AS_1: Pair =
    Pair { from_ppm: 50_000, to_ppm: 10_000, bad: -1_609_438, good: 41_243, line: LN_100 };
/// Against 5 %, for 0.1 %.
pub(super) const AS_GOOD_AS_0_1: Pair =
    Pair { from_ppm: 50_000, to_ppm: 1_000, bad: -3_912_023, good: 50_293, line: LN_100 };

impl Pair {
    /// The ratio of these votes, in millionths.
    pub fn ratio(&self, tally: Tally) -> i64 {
        let part = |votes: u64, each: i64| i128::from(votes) * i128::from(each);
        let sum = part(tally.bad, self.bad) + part(tally.good, self.good);
        // JSON readers keep 53 bits; beyond a thousand million votes nothing depends on the rest.
        const MOST: i128 = (1 << 53) - 1;
        i64::try_from(sum.clamp(-MOST, MOST)).unwrap_or_default()
    }

    /// Whether the votes decide the question.
    pub fn is_decided(&self, tally: Tally) -> bool {
        self.ratio(tally) >= self.line
    }

    /// How many more good votes a pair whose ratio grows by good votes takes, if no bad one comes.
    pub fn good_missing(&self, tally: Tally) -> u64 {
        let left = self.line.saturating_sub(self.ratio(tally));
        match (u64::try_from(left), u64::try_from(self.good)) {
            (Ok(left), Ok(each)) if each > 0 => left.div_ceil(each),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constants are what they are said to be, to the last digit.
    #[test]
    fn logarithms_are_right() {
        let near = |constant: i64, real: f64| (constant as f64 - real * 1e6).abs() <= 0.5;
        for pair in [WORSE_THAN_2, WORSE_THAN_1, AS_GOOD_AS_1, AS_GOOD_AS_0_1] {
            let (from, to) = (pair.from_ppm as f64 / 1e6, pair.to_ppm as f64 / 1e6);
            assert!(near(pair.bad, (to / from).ln()), "{pair:?}");
            assert!(near(pair.good, ((1.0 - to) / (1.0 - from)).ln()), "{pair:?}");
        }
        assert!(near(LN_1000, 1000_f64.ln()) && near(LN_100, 100_f64.ln()));
    }
}
