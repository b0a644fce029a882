//! From the journal to the tables: what came in over a while is sorted, merged and counted in one go.
//!
//! A batch is answered when it is in the journal, which is one row for all that came together. The tables cost fifty
//! times as much, since devices come in any order and stand all over them; sorted, they are written from one end to
//! the other. Counting is done in small parts, each its own transaction, so that nobody who wants to stop something
//! waits for long. A part that was counted when the process ended is counted again and then grows by nothing.

use crate::registry::Registry;
use crate::store::telemetry::{self, Noticed, Said};

/// Rows that are taken from the journal together.
pub(crate) const WINDOW: usize = 1 << 16;
/// Rows of a transaction.
pub(crate) const PART: usize = 4_096;

/// Entries of the journal on their way into the tables.
pub(crate) struct Fold {
    last: i64,
    minute: i64,
    /// As many rows as the journal loses.
    sent: usize,
    rows: Vec<Said>,
    counted: usize,
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is more.
    More,
    /// These entries are out of the journal, up to this number.
    Done {
        /// The last of them.
        last: i64,
        /// Rows that they had.
        rows: usize,
    },
}

/// What several reports of a row come to, each row once, in the tables' order.
fn merged(mut rows: Vec<Said>) -> Vec<Said> {
    rows.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    rows.dedup_by(|next, kept| {
        let same = next.key == kept.key;
        if same {
            kept.merge(next);
        }
        same
    });
    rows
}

impl Fold {
    /// Takes the oldest entries; none when the journal is empty.
    pub(crate) async fn begin(registry: &Registry, most: usize) -> Result<Option<Self>, sqlx::Error> {
        let mut db = registry.store.read.acquire().await?;
        let noticed = telemetry::noticed(&mut db, most).await?;
        Ok(noticed.map(|Noticed { last, minute, rows }| Self {
            last,
            minute,
            sent: rows.len(),
            rows: merged(rows),
            counted: 0,
        }))
    }

    /// Counts the next part.
    pub(crate) async fn step(&mut self, registry: &Registry, part: usize) -> Result<Step, sqlx::Error> {
        let mut tx = registry.store.begin().await?;
        let end = self.rows.len().min(self.counted + part);
        let rows = self.rows.get(self.counted..end).unwrap_or_default();
        telemetry::count(&mut tx, self.minute, rows).await?;
        let all = end == self.rows.len();
        if all {
            telemetry::forget_noted(&mut tx, self.last).await?;
        }
        tx.commit().await?;
        self.counted = end;
        Ok(if all { Step::Done { last: self.last, rows: self.sent } } else { Step::More })
    }
}

#[cfg(test)]
mod tests {
    use mpkg_fleet::{Arm, Batch, Counters, Ledger, Report};
    use proptest::prelude::*;
    use sqlx::Row;

    use super::*;
    use crate::Config;
    use crate::store::telemetry::Entry;

    const APP: &str = "org.example.app";

    /// What a commit has: a device, a run of its host, two counters.
    type Sent = (u8, u8, u64, u64);

    fn report(boot: u8, launches: u64, calls: u64) -> Report {
        let counters = Counters { launches, beacons: launches, calls, ..Counters::default() };
        let boot = format!("b{boot}").parse().unwrap();
        Report { app: APP.parse().unwrap(), release_seq: 1, arm: Arm::Control, boot, counters }
    }

    async fn note(registry: &Registry, number: i64, at: i64, sent: &[Sent]) {
        let mut tx = registry.store.begin().await.unwrap();
        let sent: Vec<_> = sent.iter().map(|it| (format!("d{}", it.0), report(it.1, it.2, it.3))).collect();
        let entry: Entry<&str> = sent
            .iter()
            .map(|(device, it)| {
                let arm = telemetry::number(it.arm);
                (device.as_str(), vec![(APP, 1, it.boot.as_str(), arm, it.counters.into())])
            })
            .collect();
        telemetry::note(&mut tx, number, at, sent.len() as u64, &entry).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The sums of the devices' rows, and of each minute.
    async fn sums(registry: &Registry) -> (Counters, Vec<(i64, Counters)>) {
        let mut db = registry.store.read.acquire().await.unwrap();
        let rows = sqlx::query("SELECT counters FROM counters").fetch_all(&mut *db).await.unwrap();
        let devices = rows.iter().fold(Counters::default(), |sum, row| {
            sum.plus(telemetry::counters(row.try_get(0).unwrap()).unwrap())
        });
        let rows = sqlx::query("SELECT * FROM minutes ORDER BY minute").fetch_all(&mut *db).await.unwrap();
        let minute = |row| (Row::try_get(row, "minute").unwrap(), telemetry::of_minute(row).unwrap());
        (devices, rows.iter().map(minute).collect())
    }

    /// As many of the largest counters as an integer of the database does not hold, in parts and in one minute.
    #[tokio::test]
    async fn no_host_can_make_a_minute_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(Config::new(folder.path())).await.unwrap().registry;
        let most = (1 << 53) - 1;
        for number in 1..=2 {
            let devices = 4 * number as u8..4 * number as u8 + 4;
            let sent = devices.flat_map(|device| (0..=255).map(move |boot| (device, boot, most, most)));
            note(&registry, number, 60, &sent.collect::<Vec<Sent>>()).await;
        }
        while let Some(mut fold) = Fold::begin(&registry, 1).await.unwrap() {
            while fold.step(&registry, 1_024).await.unwrap() == Step::More {}
        }
        let (_, minutes) = sums(&registry).await;
        assert_eq!((minutes.len(), minutes[0].1.launches, minutes[0].1.calls), (1, most, most));
        registry.close().await;
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

        /// However much is taken at once, in whatever parts, and however often it is given up in the middle: every
        /// device has what the ledger has, each minute what it grew by in it, and the journal is empty in the end.
        #[test]
        fn counting_may_be_given_up_and_begun_again(
            commits in prop::collection::vec(
                prop::collection::vec((0_u8..4, 0_u8..3, 0_u64..20, 0_u64..20), 1..6), 1..6,
            ),
            most in 1_usize..12, part in 1_usize..5, gives_up in prop::collection::vec(any::<bool>(), 0..12),
        ) {
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                let folder = tempfile::tempdir().unwrap();
                let registry = Registry::open(Config::new(folder.path())).await.unwrap().registry;
                let (mut ledger, mut expected, mut before) = (Ledger::default(), Vec::new(), Counters::default());
                for (number, sent) in (1..).zip(&commits) {
                    note(&registry, number, 90 * number, sent).await;
                    for (device, boot, launches, calls) in sent {
                        let batch = Batch { reports: vec![report(*boot, *launches, *calls)] };
                        ledger.merge(&format!("d{device}"), &batch);
                    }
                    let after = ledger.total(&APP.parse().unwrap(), 1);
                    let minute = 90 * number - (90 * number) % 60;
                    if after != before {
                        expected.push((minute, after.since(before)));
                    }
                    before = after;
                }
                let mut gives_up = gives_up.into_iter();
                while let Some(mut fold) = Fold::begin(&registry, most).await.unwrap() {
                    while fold.step(&registry, part).await.unwrap() == Step::More {
                        if gives_up.next() == Some(true) {
                            break;
                        }
                    }
                }
                let (devices, minutes) = sums(&registry).await;
                assert_eq!(devices, before);
                assert_eq!(minutes, expected);
                registry.close().await;
            });
        }
    }
}
