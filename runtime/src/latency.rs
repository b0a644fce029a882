//! How long things took: counts in fixed buckets, cheap enough to be kept for every app and method.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::add_alone;

/// Upper bounds of the buckets, in nanoseconds: 1, 2, 5 in each decade from a microsecond to a minute.
pub(crate) const BOUNDS: [u64; 24] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// For each number of bits the first bucket that a number with as many can be in. Searching for it shows in a short call.
#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which would say so")]
const FIRST: [u8; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let least = 1u64 << (bits - 1);
        let mut bucket = 0;
        while bucket < BOUNDS.len() && BOUNDS[bucket] < least {
            bucket += 1;
        }
        first[bits] = bucket as u8;
        bits += 1;
    }
    first
};

/// The first bucket whose bound is not below `nanos`.
#[inline]
fn bucket(nanos: u64) -> usize {
    let bits = u64::BITS - nanos.leading_zeros();
    let first = FIRST.get(bits as usize).copied().map_or(0, usize::from);
    let beyond = BOUNDS.get(first..).unwrap_or_default();
    first + beyond.iter().take_while(|&&bound| bound < nanos).count()
}

/// Durations counted by bucket, from any thread.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// The last one is for what took longer than every bound.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
    longest: AtomicU64,
}

impl Latency {
    pub(crate) fn record(&self, took: Duration) {
        let nanos = crate::account::nanos(took);
        if let Some(count) = self.counts.get(bucket(nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(nanos, Ordering::Relaxed);
        if nanos > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// The same where nobody else records at the same time.
    #[inline]
    pub(crate) fn record_alone(&self, nanos: u64) {
        if let Some(count) = self.counts.get(bucket(nanos)) {
            add_alone(count, 1);
        }
        add_alone(&self.sum, nanos);
        if nanos > self.longest.load(Ordering::Relaxed) {
            self.longest.store(nanos, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> LatencySnapshot {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut counts = [0; BOUNDS.len() + 1];
        for (copy, count) in counts.iter_mut().zip(&self.counts) {
            *copy = load(count);
        }
        LatencySnapshot { counts, sum: load(&self.sum), longest: load(&self.longest) }
    }
}

/// A copy of a [`Latency`] that can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LatencySnapshot {
    counts: [u64; BOUNDS.len() + 1],
    sum: u64,
    longest: u64,
}

impl LatencySnapshot {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(&other.counts) {
            *sum += count;
        }
        self.sum = self.sum.saturating_add(other.sum);
        self.longest = self.longest.max(other.longest);
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.sum).as_secs_f64()
    }

    /// For each bucket its upper bound in seconds, infinity at the end, and how many fell into it.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|&nanos| Duration::from_nanos(nanos).as_secs_f64());
        bounds.chain([f64::MAX]).zip(self.counts).collect()
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }

    /// The bound below which a share `q` of all lies; zero if there is nothing.
    pub(crate) fn quantile(&self, q: f64) -> Duration {
        let wanted = (self.count() as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (bound, count) in BOUNDS.iter().zip(self.counts) {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_nanos(*bound).min(self.longest());
            }
        }
        self.longest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_bounds_and_never_beyond_the_longest() {
        let latency = Latency::default();
        assert_eq!(latency.snapshot().quantile(0.5), Duration::ZERO);
        for micros in 1..=100 {
            latency.record(Duration::from_micros(micros));
        }
        let snapshot = latency.snapshot();
        assert_eq!(snapshot.quantile(0.5), Duration::from_micros(50));
        assert_eq!(snapshot.quantile(0.99), Duration::from_micros(100));
        assert_eq!((snapshot.count(), snapshot.longest()), (100, Duration::from_micros(100)));
        latency.record(Duration::from_secs(3600));
        assert_eq!(latency.snapshot().quantile(1.0), Duration::from_secs(3600));
    }

    #[test]
    fn every_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let around = BOUNDS.into_iter().flat_map(|bound| [bound - 1, bound, bound + 1]);
        for nanos in around.chain([0, 1, u64::MAX]) {
            assert_eq!(bucket(nanos), BOUNDS.partition_point(|&bound| bound < nanos), "{nanos}");
        }
    }

    #[test]
    fn sums_add_up() {
        let latency = Latency::default();
        latency.record(Duration::from_millis(3));
        let mut sum = latency.snapshot();
        sum.add(&latency.snapshot());
        assert_eq!((sum.count(), sum.seconds()), (2, 0.006));
        assert_eq!(sum.buckets().iter().map(|(_, n)| n).sum::<u64>(), 2);
    }
}
