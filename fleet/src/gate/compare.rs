//! Comparing the release with its concurrent control arm.

use serde::{Deserialize, Serialize};

use super::sprt::{Pair, Tally};
use crate::types::BasisPoints;

/// Fewest votes of a control arm that can excuse a release.
const CONTROL_VOTES: u64 = 20;
/// Chi-square with one degree of freedom at a one-sided probability of 1 % (2.326²), in thousandths.
const WORSE: u128 = 5_412;
/// Chi-square with one degree of freedom at a probability of 0.1 %, in thousandths.
const MISMATCH: u128 = 10_828;
/// Fewest devices to be expected in either arm for chi-square to mean something.
const EXPECTED: u128 = 5;
/// Counts are kept below this for the comparison, by halving all of them alike: products then fit.
const LARGE: u64 = 1 << 24;

fn halved<const N: usize>(counts: [u64; N]) -> [u128; N] {
    let largest = counts.iter().copied().max().unwrap_or_default();
    let bits = u64::BITS - largest.leading_zeros();
    let shift = bits.saturating_sub(LARGE.ilog2());
    counts.map(|count| u128::from(count >> shift))
}

/// The pooled two-proportion statistic (`z²`, which is chi-square without correction) in thousandths, and whether the
/// treatment is the worse one.
pub fn two_proportions(treatment: Tally, control: Tally) -> (u64, bool) {
    let [bad_t, bad_c, good_t, good_c] = halved([treatment.bad, control.bad, treatment.good, control.good]);
    let (n_t, n_c) = (bad_t + good_t, bad_c + good_c);
    let (left, right) = (bad_t * n_c, bad_c * n_t);
    let difference = left.abs_diff(right);
    let spread = n_t * n_c;
    let outcomes = (bad_t + bad_c) * (good_t + good_c);
    if spread == 0 || outcomes == 0 {
        return (0, left > right);
    }
    // In an order in which nothing exceeds 128 bits: each count has at most 25.
    let statistic = difference * difference / spread * (n_t + n_c) * 1_000 / outcomes;
    (u64::try_from(statistic).unwrap_or(u64::MAX), left > right)
}

/// Whether the control arm, which does not run the release, shows the same trouble: it leans to bad by itself, has
/// voices enough to say so, and the release is not significantly worse. Then the cause lies elsewhere (a backend, a
/// network), and going back would not help.
pub fn excuses(pair: &Pair, treatment: Tally, control: Tally) -> bool {
    let (statistic, worse) = two_proportions(treatment, control);
    let enough = control.votes() >= CONTROL_VOTES && control.votes() >= treatment.votes() / 4;
    enough && pair.ratio(control) >= 0 && !(worse && u128::from(statistic) >= WORSE)
}

/// The check that as many devices are in each arm as the percentages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleRatio {
    /// Chi-square with one degree of freedom, in thousandths.
    pub chi_square_milli: u64,
    /// Its probability is below 0.1 %: something assigns or loses devices, and the arms cannot be compared.
    pub mismatch: bool,
}

/// Compares the devices that were seen in each arm with the arms' sizes.
pub fn sample_ratio(treatment: u64, control: u64, percent: BasisPoints, share: BasisPoints) -> SampleRatio {
    let [t, c] = halved([treatment, control]);
    let (p, q) = (u128::from(percent.get()), u128::from(share.get()));
    let all = t + c;
    if p == 0 || q == 0 || all * p.min(q) < EXPECTED * (p + q) {
        return SampleRatio { chi_square_milli: 0, mismatch: false };
    }
    // Σ (O - E)² / E with E = all·p/(p+q) and all·q/(p+q).
    let difference = (t * q).abs_diff(c * p);
    let statistic = difference * difference * 1_000 / (all * p * q);
    SampleRatio {
        chi_square_milli: u64::try_from(statistic).unwrap_or(u64::MAX),
        mismatch: statistic > MISMATCH,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_the_textbook() {
        let tally = |bad, good| Tally { bad, good };
        // 30/100 against 15/100: chi-square without correction 6.4516.
        assert_eq!(two_proportions(tally(30, 70), tally(15, 85)), (6_451, true));
        assert_eq!(two_proportions(tally(15, 85), tally(30, 70)), (6_451, false));
        assert_eq!(two_proportions(tally(0, 0), tally(3, 5)), (0, false));
        let even = BasisPoints::new(500).unwrap();
        // (1000 - 1100)² / 2100
        assert_eq!(sample_ratio(1_000, 1_100, even, even).chi_square_milli, 4_761);
        assert!(!sample_ratio(1_000, 1_100, even, even).mismatch);
        assert!(sample_ratio(1_000, 1_200, even, even).mismatch);
        assert!(
            !sample_ratio(6_000, 4_000, BasisPoints::new(6_000).unwrap(), BasisPoints::new(4_000).unwrap())
                .mismatch
        );
    }

    #[test]
    fn large_counts_do_not_overflow() {
        let (most, half) =
            (Tally { bad: u64::MAX / 2, good: u64::MAX / 2 }, Tally { bad: 1 << 60, good: 1 << 62 });
        assert!(two_proportions(most, half).0 > 0);
        let even = BasisPoints::new(5_000).unwrap();
        assert!(!sample_ratio(u64::MAX, u64::MAX, even, even).mismatch);
    }
}
