//! What hosts report, and what becomes of it.
//!
//! Counters only grow while a host's process lives, and each process has a number of its own (`boot`). So the newest
//! report of a row is the largest one, merging takes the maximum of each counter, and a report that comes twice, late
//! or in another order changes nothing.

use std::collections::BTreeMap;

use mpkg_manifest::AppId;
use mpkg_manifest::json::{self, JsonError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bucket::{Arm, bucket, cbor};
use crate::gate::{ArmVotes, Tally};
use crate::limits;
use crate::types::Token;

/// What happened on one device, with one release of one app, during one run of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Counters {
    /// Launches whose outcome is known: with a beacon, or without one when its time was over or the host went down.
    pub launches: u64,
    /// Launches after which the app said that it was up.
    pub beacons: u64,
    /// Calls into the app that were answered or failed.
    pub calls: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that took more than 500 ms.
    pub slow_500: u64,
    /// Those that took more than 2000 ms.
    pub slow_2000: u64,
    /// Times that the app went down by itself.
    pub crashes: u64,
    /// Times that the host gave up on the release after too many of them.
    pub crash_loops: u64,
    /// Times that it was stopped by a kill.
    pub kills: u64,
}

impl Counters {
    fn fields(&self) -> [u64; 9] {
        [
            self.launches,
            self.beacons,
            self.calls,
            self.errors,
            self.slow_500,
            self.slow_2000,
            self.crashes,
            self.crash_loops,
            self.kills,
        ]
    }

    fn combine(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            launches: with(self.launches, other.launches),
            beacons: with(self.beacons, other.beacons),
            calls: with(self.calls, other.calls),
            errors: with(self.errors, other.errors),
            slow_500: with(self.slow_500, other.slow_500),
            slow_2000: with(self.slow_2000, other.slow_2000),
            crashes: with(self.crashes, other.crashes),
            crash_loops: with(self.crash_loops, other.crash_loops),
            kills: with(self.kills, other.kills),
        }
    }

    /// Two reports of one row: the maximum of each counter.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        self.combine(other, u64::max)
    }

    /// Two rows: the sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.combine(other, u64::saturating_add)
    }

    /// What it has more than an earlier report of the same row.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        self.combine(before, u64::saturating_sub)
    }
}

/// The counters in the order of their declaration, which is how a registry keeps them.
impl From<Counters> for [u64; 9] {
    fn from(counters: Counters) -> Self {
        counters.fields()
    }
}

/// The same way back.
///
/// ```
/// let counters = mpkg_fleet::Counters { launches: 2, kills: 1, ..Default::default() };
/// assert_eq!(mpkg_fleet::Counters::from(<[u64; 9]>::from(counters)), counters);
/// ```
impl From<[u64; 9]> for Counters {
    fn from(fields: [u64; 9]) -> Self {
        let [launches, beacons, calls, errors, slow_500, slow_2000, crashes, crash_loops, kills] = fields;
        Self { launches, beacons, calls, errors, slow_500, slow_2000, crashes, crash_loops, kills }
    }
}

/// One row of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The app.
    pub app: AppId,
    /// The release that ran.
    pub release_seq: u64,
    /// The arm that the host was in, as [`crate::decide`] said.
    pub arm: Arm,
    /// The host's run.
    pub boot: Token,
    /// The counters, since that run began.
    pub counters: Counters,
}

/// What a host sends. Which device it is the server knows from how the host signed in, and takes from nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The rows.
    pub reports: Vec<Report>,
}

/// Why a batch is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// Not strict JSON of the right shape.
    #[error("the telemetry batch is not valid: {0}")]
    Json(#[from] JsonError),
    /// Too much at once.
    #[error("the telemetry batch has {found} rows, the limit is {}", limits::ROWS)]
    Rows {
        /// Their number.
        found: usize,
    },
    /// Counters that cannot be.
    #[error("row {row} of the telemetry batch counts more {part} than {whole}")]
    Counters {
        /// The row, from 0.
        row: usize,
        /// Of what.
        part: &'static str,
        /// Among what.
        whole: &'static str,
    },
}

impl BatchError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::Rows { .. } => "MPKG-F70",
            Self::Counters { .. } => "MPKG-F71",
        }
    }
}

impl Batch {
    /// Reads a batch.
    ///
    /// ```
    /// let batch = mpkg_fleet::Batch::parse(br#"{"reports": [{"app": "org.example.x", "release_seq": 3,
    ///     "arm": "treatment", "boot": "b1", "counters": {"launches": 2, "beacons": 1}}]}"#).unwrap();
    /// assert_eq!(batch.reports[0].counters.launches, 2);
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let batch: Self = match Self::fast(bytes) {
            Some(batch) => batch,
            None => json::read(bytes, json::Limits::bytes(limits::BATCH))?,
        };
        if batch.reports.len() > limits::ROWS {
            return Err(BatchError::Rows { found: batch.reports.len() });
        }
        for (row, report) in batch.reports.iter().enumerate() {
            let it = &report.counters;
            let pairs = [
                (it.beacons, it.launches, "beacons", "launches"),
                (it.errors, it.calls, "errors", "calls"),
                (it.slow_500, it.calls, "slow calls", "calls"),
                (it.slow_2000, it.slow_500, "calls over 2000 ms", "calls over 500 ms"),
            ];
            if let Some((_, _, part, whole)) = pairs.into_iter().find(|(part, whole, ..)| part > whole) {
                return Err(BatchError::Counters { row, part, whole });
            }
        }
        Ok(batch)
    }

    /// A batch that nothing is wrong with, in one pass over its bytes: reading them is most of what a registry does with
    /// them. Whatever this gives, the strict reader gives too; what that one would refuse, this leaves to it.
    ///
    /// The shape leaves the strict profile little to add: members of a struct that come twice are refused, and there is
    /// no place for a float or for depth. Large integers are what is left.
    fn fast(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > limits::BATCH {
            return None;
        }
        let batch: Self = serde_json::from_slice(bytes).ok()?;
        let safe = |it: &Report| {
            let largest = it.counters.fields().into_iter().fold(it.release_seq, u64::max);
            largest <= json::MAX_SAFE_INTEGER.unsigned_abs()
        };
        batch.reports.iter().all(safe).then_some(batch)
    }

    /// The bytes to send.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, integers and lists always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What one device says about one release. None where it has nothing to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// Bad on errors.
    pub errors: Option<bool>,
    /// Bad with calls over 2000 ms.
    pub slow: Option<bool>,
    /// Bad with calls over 500 ms.
    pub sluggish: Option<bool>,
    /// Bad on availability.
    pub unavailable: Option<bool>,
    /// In a crash loop.
    pub crash_loop: bool,
}

/// The votes of a device, from the sum of its runs with a release.
///
/// A vote is one draw: bad with the probability with which things went bad on this device. The draw is a hash of
/// question, release and device, so it comes out the same everywhere and again. A device of which one call in a hundred
/// fails votes bad once in a hundred releases, however many calls it made; "bad if anything failed" would call every
/// busy device bad. A launch without a beacon counts as bad on errors and availability.
pub fn votes(device: &str, release_seq: u64, counters: &Counters) -> Votes {
    let draw = |question: &str, bad: u64, of: u64| {
        (of > 0).then(|| {
            let bytes = cbor(&format!("{question}.{release_seq}"), device);
            // In 1 048 576ths, so that any count fits; more precision than a vote can show.
            let (bad, of) = (u128::from(bad.min(of)), u128::from(of));
            let share = (bad << 20).div_ceil(of);
            u128::from(bucket(&bytes, 1 << 20)) < share
        })
    };
    let it = counters;
    let failed = it.launches.saturating_sub(it.beacons);
    Votes {
        errors: draw("errors", it.errors.saturating_add(failed), it.calls.saturating_add(it.launches)),
        slow: draw("slow", it.slow_2000, it.calls),
        sluggish: draw("slow", it.slow_500, it.calls),
        unavailable: draw("unavailable", failed.saturating_add(it.crashes), it.launches),
        crash_loop: it.crash_loops > 0,
    }
}

impl ArmVotes {
    /// Counts one device that ran the release of its arm.
    pub fn add(&mut self, votes: &Votes) {
        let count = |tally: &mut Tally, vote: Option<bool>| {
            if let Some(bad) = vote {
                *tally = tally.with(bad);
            }
        };
        count(&mut self.errors, votes.errors);
        count(&mut self.slow, votes.slow);
        count(&mut self.sluggish, votes.sluggish);
        count(&mut self.unavailable, votes.unavailable);
        self.crash_loops += u64::from(votes.crash_loop);
    }
}

/// Reports of many devices, in memory. A registry does the same in its database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    rows: BTreeMap<(String, AppId, u64, Token), (Arm, Counters)>,
}

impl Ledger {
    /// Takes in what a device sent.
    pub fn merge(&mut self, device: &str, batch: &Batch) {
        for report in &batch.reports {
            let key = (device.to_owned(), report.app.clone(), report.release_seq, report.boot.clone());
            let row = self.rows.entry(key).or_insert((report.arm, Counters::default()));
            // The same in every order, should a host say both.
            row.0 = row.0.max(report.arm);
            row.1 = row.1.merge(report.counters);
        }
    }

    /// What all devices together report about a release.
    pub fn total(&self, app: &AppId, release_seq: u64) -> Counters {
        let rows = self.rows.iter().filter(|((_, of, seq, _), _)| of == app && *seq == release_seq);
        rows.fold(Counters::default(), |sum, (_, (_, counters))| sum.plus(*counters))
    }

    /// The votes of an arm: on `release_seq`, and with all devices of the arm counted.
    pub fn votes(&self, app: &AppId, release_seq: u64, arm: Arm) -> ArmVotes {
        let mut devices: BTreeMap<&str, Option<Counters>> = BTreeMap::new();
        for ((device, of, seq, _), (in_arm, counters)) in &self.rows {
            if of != app || *in_arm != arm {
                continue;
            }
            let sum = devices.entry(device).or_default();
            if *seq == release_seq {
                *sum = Some(sum.unwrap_or_default().plus(*counters));
            }
        }
        let mut result = ArmVotes { devices: devices.len() as u64, ..ArmVotes::default() };
        for (device, counters) in devices {
            if let Some(counters) = counters {
                result.add(&votes(device, release_seq, &counters));
            }
        }
        result
    }
}

/// Whether no counter of `after` is below that of `before`: what a host that tells the truth reports.
pub fn grows(before: &Counters, after: &Counters) -> bool {
    before.fields().iter().zip(after.fields()).all(|(before, after)| *before <= after)
}
