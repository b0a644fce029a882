//! What came through in the last hour.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

const MINUTE_MS: i64 = 60_000;
const MINUTES: i64 = 60;
/// How many times from arrival to done are kept for the percentiles.
const DURATIONS: usize = 256;

/// What became of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted,
    Forged,
    Late,
    Replayed,
    Malformed,
}

/// Counts of one minute.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Minute {
    minute: i64,
    accepted: u64,
    forged: u64,
    late: u64,
    replayed: u64,
    malformed: u64,
    done: u64,
}

/// The last hour, minute by minute.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    minutes: VecDeque<Minute>,
    durations_ms: VecDeque<u64>,
}

/// The last hour in figures.
#[derive(Debug, Serialize)]
pub(crate) struct Throughput {
    pub(crate) window_minutes: i64,
    pub(crate) accepted: u64,
    pub(crate) refused: Refused,
    pub(crate) done: u64,
    /// Thousandths of an order per minute, over the minutes since the first webhook of the hour.
    pub(crate) accepted_per_minute_milli: u64,
    pub(crate) done_per_minute_milli: u64,
    /// From arrival to done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) median_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p95_ms: Option<u64>,
}

/// Why webhooks were refused.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Refused {
    pub(crate) forged: u64,
    pub(crate) late: u64,
    pub(crate) replayed: u64,
    pub(crate) malformed: u64,
}

impl Stats {
    /// The one entry of this minute.
    fn minute(&mut self, now_ms: i64) -> impl Iterator<Item = &mut Minute> {
        let minute = now_ms / MINUTE_MS;
        self.minutes.retain(|old| old.minute > minute - MINUTES);
        if !self.minutes.iter().any(|old| old.minute == minute) {
            self.minutes.push_back(Minute { minute, ..Minute::default() });
        }
        self.minutes.iter_mut().filter(move |known| known.minute == minute)
    }

    pub(crate) fn count(&mut self, fate: Fate, now_ms: i64) {
        for minute in self.minute(now_ms) {
            match fate {
                Fate::Accepted => minute.accepted += 1,
                Fate::Forged => minute.forged += 1,
                Fate::Late => minute.late += 1,
                Fate::Replayed => minute.replayed += 1,
                Fate::Malformed => minute.malformed += 1,
            }
        }
    }

    pub(crate) fn done(&mut self, received_ms: i64, now_ms: i64) {
        self.minute(now_ms).for_each(|minute| minute.done += 1);
        if self.durations_ms.len() == DURATIONS {
            self.durations_ms.pop_front();
        }
        self.durations_ms.push_back(u64::try_from(now_ms - received_ms).unwrap_or(0));
    }

    pub(crate) fn throughput(&self, now_ms: i64) -> Throughput {
        let this = now_ms / MINUTE_MS;
        let recent: Vec<&Minute> = self.minutes.iter().filter(|old| old.minute > this - MINUTES).collect();
        let sum = |field: fn(&Minute) -> u64| recent.iter().map(|minute| field(minute)).sum::<u64>();
        let first = recent.iter().map(|minute| minute.minute).min().unwrap_or(this);
        let minutes = u64::try_from(this - first + 1).unwrap_or(1).max(1);
        let mut durations: Vec<u64> = self.durations_ms.iter().copied().collect();
        durations.sort_unstable();
        let percentile = |percent: usize| {
            let at = (durations.len() * percent).div_ceil(100).saturating_sub(1);
            durations.get(at).copied()
        };
        Throughput {
            window_minutes: MINUTES,
            accepted: sum(|minute| minute.accepted),
            refused: Refused {
                forged: sum(|minute| minute.forged),
                late: sum(|minute| minute.late),
                replayed: sum(|minute| minute.replayed),
                malformed: sum(|minute| minute.malformed),
            },
            done: sum(|minute| minute.done),
            accepted_per_minute_milli: sum(|minute| minute.accepted) * 1000 / minutes,
            done_per_minute_milli: sum(|minute| minute.done) * 1000 / minutes,
            median_ms: percentile(50),
            p95_ms: percentile(95),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_last_hour_only() {
        let mut stats = Stats::default();
        for minute in 0..120 {
            stats.count(Fate::Accepted, minute * MINUTE_MS);
        }
        let report = stats.throughput(119 * MINUTE_MS);
        assert_eq!((report.accepted, report.accepted_per_minute_milli), (60, 1000));
        assert_eq!(stats.throughput(400 * MINUTE_MS).accepted, 0);
    }

    #[test]
    fn percentiles_are_of_real_durations() {
        let mut stats = Stats::default();
        assert_eq!(stats.throughput(0).median_ms, None);
        for duration in 1..=100 {
            stats.done(0, duration);
        }
        let report = stats.throughput(100);
        assert_eq!((report.median_ms, report.p95_ms), (Some(50), Some(95)));
    }
}
