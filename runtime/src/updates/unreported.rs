//! Telemetry that survives restarts: what was counted, in rows that the registry can merge in any order.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use mpkg_fleet::{Arm, Batch, Counters, Report, Token, limits};
use mpkg_manifest::AppId;
use serde::{Deserialize, Serialize};

use super::device::Counted;

/// Rows of earlier runs that wait for a registry. The oldest go first: a host that was away for months has little to say
/// about a rollout of today.
const WAITING: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    report: Report,
    /// What the registry has committed.
    acknowledged: Option<Counters>,
}

impl Row {
    fn is_reported(&self) -> bool {
        self.acknowledged == Some(self.report.counters)
    }
}

/// A stretch of this run in which a release counted for one arm.
#[derive(Debug)]
struct Stretch {
    arm: Arm,
    number: u32,
    /// What had been counted when it began.
    base: Counters,
}

/// Counters that were read while others counted: no part is above its whole, or the whole batch would be refused.
fn whole(counters: Counters) -> Counters {
    let slow_500 = counters.slow_500.min(counters.calls);
    Counters {
        beacons: counters.beacons.min(counters.launches),
        errors: counters.errors.min(counters.calls),
        slow_500,
        slow_2000: counters.slow_2000.min(slow_500),
        ..counters
    }
}

/// All rows that are not reported yet, and those that still grow.
#[derive(Debug)]
pub(crate) struct Unreported {
    boot: String,
    /// Stretches that have ended, the oldest first.
    ended: Vec<Row>,
    growing: BTreeMap<(AppId, u64), (Stretch, Row)>,
    /// Whether what is kept on the disk is older.
    pub(crate) changed: bool,
}

impl Unreported {
    /// Begins a run, with what is left of those before. Rows that cannot be read are lost, and nothing else is.
    pub(crate) fn new(kept: Option<&[u8]>) -> Self {
        let mut boot = [0_u8; 8];
        // Two runs under one name would hide each other's counts, not more.
        let _ = getrandom::fill(&mut boot);
        let ended = kept.and_then(|bytes| {
            let rows = serde_json::from_slice(bytes);
            rows.map_err(|error| tracing::warn!(%error, "kept telemetry cannot be read")).ok()
        });
        let boot = HEXLOWER.encode(&boot);
        Self { boot, ended: ended.unwrap_or_default(), growing: BTreeMap::new(), changed: false }
    }

    /// Takes in what was counted since this run began. A release whose arm is another one than before begins a new row:
    /// what it did in an earlier rollout says nothing about this one.
    pub(crate) fn count(&mut self, counted: Vec<Counted>, arm: impl Fn(&AppId) -> Arm) {
        for Counted { app, release_seq, counters } in counted {
            let arm = arm(&app);
            let key = (app, release_seq);
            if let Some((stretch, row)) = self.growing.get_mut(&key)
                && stretch.arm == arm
            {
                let counters = whole(counters.since(stretch.base));
                self.changed |= counters != row.report.counters;
                row.report.counters = counters;
                continue;
            }
            let before = self.growing.remove(&key);
            let (number, base) = match before {
                None => (0, Counters::default()),
                Some((stretch, mut row)) => {
                    let base = stretch.base.plus(row.report.counters);
                    // A host leaves an arm when the rollout is over. Reported late, or once more by somebody else's
                    // retry, the row would count for an arm of the rollout that follows.
                    if row.report.arm != Arm::Neither {
                        row.report.arm = Arm::Neither;
                        row.acknowledged = None;
                    }
                    self.ended.push(row);
                    (stretch.number.saturating_add(1), base)
                }
            };
            let Ok(boot) = format!("{}-{number}", self.boot).parse::<Token>() else { continue };
            let (app, release_seq) = key.clone();
            let report = Report { app, release_seq, arm, boot, counters: whole(counters.since(base)) };
            self.growing.insert(key, (Stretch { arm, number, base }, Row { report, acknowledged: None }));
            self.changed = true;
        }
        let over = self.ended.len().saturating_sub(WAITING);
        self.ended.drain(..over);
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.ended.iter().chain(self.growing.values().map(|(_, row)| row))
    }

    /// What to keep on the disk.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let rows: Vec<_> = self.rows().filter(|row| !row.is_reported()).collect();
        // Strings, integers and lists always serialize.
        serde_json::to_vec(&rows).unwrap_or_default()
    }

    /// What to send next; nothing where all is reported.
    pub(crate) fn batch(&self) -> Option<Batch> {
        let news = self.rows().filter(|row| !row.is_reported() && row.report.counters != Counters::default());
        let reports: Vec<Report> = news.take(limits::ROWS / 2).map(|row| row.report.clone()).collect();
        (!reports.is_empty()).then_some(Batch { reports })
    }

    /// That a batch is committed.
    pub(crate) fn acknowledge(&mut self, batch: &Batch) {
        let rows = self.ended.iter_mut().chain(self.growing.values_mut().map(|(_, row)| row));
        for row in rows {
            let sent = batch.reports.iter().find(|sent| {
                (&sent.app, sent.release_seq, &sent.boot)
                    == (&row.report.app, row.report.release_seq, &row.report.boot)
            });
            if let Some(sent) = sent {
                row.acknowledged = Some(sent.counters);
            }
        }
        self.ended.retain(|row| !row.is_reported());
        self.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppId {
        "org.example.app".parse().unwrap()
    }

    fn counted(launches: u64) -> Vec<Counted> {
        let counters = Counters { launches, ..Counters::default() };
        vec![Counted { app: app(), release_seq: 3, counters }]
    }

    fn launches(batch: &Batch) -> Vec<(Arm, u64)> {
        batch.reports.iter().map(|row| (row.arm, row.counters.launches)).collect()
    }

    #[test]
    fn what_is_not_acknowledged_is_sent_again_by_the_next_run_too() {
        let mut unreported = Unreported::new(None);
        assert_eq!(unreported.batch(), None);
        unreported.count(counted(2), |_| Arm::Treatment);
        let first = unreported.batch().unwrap();
        assert_eq!(launches(&first), [(Arm::Treatment, 2)]);
        // It goes on while the batch is under way.
        unreported.count(counted(5), |_| Arm::Treatment);
        unreported.acknowledge(&first);
        assert_eq!(launches(&unreported.batch().unwrap()), [(Arm::Treatment, 5)]);

        let mut next = Unreported::new(Some(&unreported.to_bytes()));
        next.count(counted(1), |_| Arm::Treatment);
        let batch = next.batch().unwrap();
        assert_eq!(launches(&batch), [(Arm::Treatment, 5), (Arm::Treatment, 1)]);
        assert_ne!(batch.reports[0].boot, batch.reports[1].boot);
        next.acknowledge(&batch);
        assert_eq!(next.batch(), None);
        assert_eq!(next.to_bytes(), b"[]");
    }

    #[test]
    fn each_arm_has_what_was_counted_while_it_was_in_it() {
        let mut unreported = Unreported::new(None);
        unreported.count(counted(2), |_| Arm::Neither);
        unreported.count(counted(5), |_| Arm::Neither);
        unreported.count(counted(9), |_| Arm::Control);
        assert_eq!(launches(&unreported.batch().unwrap()), [(Arm::Neither, 5), (Arm::Control, 4)]);
    }

    #[test]
    fn what_was_counted_for_a_rollout_does_not_count_for_the_next_one() {
        let mut unreported = Unreported::new(None);
        unreported.count(counted(2), |_| Arm::Treatment);
        let first = unreported.batch().unwrap();
        unreported.acknowledge(&first);
        unreported.count(counted(3), |_| Arm::Control);
        assert_eq!(launches(&unreported.batch().unwrap()), [(Arm::Neither, 2), (Arm::Control, 1)]);
    }

    #[test]
    fn a_host_that_was_away_for_long_does_not_grow_without_end() {
        let mut unreported = Unreported::new(None);
        for n in 0..2 * WAITING as u64 {
            unreported.count(counted(n), |_| if n % 2 == 0 { Arm::Treatment } else { Arm::Control });
        }
        assert!(unreported.rows().count() <= WAITING + 2);
        assert!(unreported.batch().unwrap().to_bytes().len() <= limits::BATCH);
    }
}
