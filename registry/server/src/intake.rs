//! Telemetry: one writer takes what came in together, and answers when it is committed.
//!
//! Merging takes the maximum of each counter, so duplicates and order do not matter. What a row grew by goes into the
//! minute in which it came, so that the minutes' sum is the sum of the rows.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use mpkg_fleet::{Arm, Batch, Counters};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use tokio::sync::{mpsc, oneshot};

use crate::auth::Caller;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::{Db, damaged, int, uint};
use mpkg_registry_client::wire::Received;

/// Batches that wait; the next sender waits with its connection.
const WAITING: usize = 1_024;
/// Batches that are taken together.
const TOGETHER: usize = 512;
/// Rows in one transaction, about: whoever wants to stop something waits for no more than that.
const COMMIT: usize = 8_192;
/// Rows in one statement: 15 values each, and SQLite takes 32 766.
const ROWS: usize = 512;

struct Waiting {
    caller: Caller,
    batch: Batch,
    answer: oneshot::Sender<Result<Received, Failure>>,
}

pub(crate) struct Intake {
    sender: Mutex<Option<mpsc::Sender<Waiting>>>,
}

pub(crate) struct Batches(mpsc::Receiver<Waiting>);

impl Intake {
    pub(crate) fn new() -> (Self, Batches) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender: Mutex::new(Some(sender)) }, Batches(receiver))
    }

    /// Gives when the rows are committed.
    pub(crate) async fn take(&self, caller: Caller, batch: Batch) -> Result<Received, Failure> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sender = sender.ok_or(Refusal::Stopping)?;
        let (answer, committed) = oneshot::channel();
        sender.send(Waiting { caller, batch, answer }).await.map_err(|_| Refusal::Stopping)?;
        drop(sender);
        committed.await.map_err(|_| Refusal::Stopping)?
    }

    /// No more; what waits is still written.
    pub(crate) fn close(&self) {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The writer.
pub(crate) async fn write(registry: Arc<Registry>, Batches(mut receiver): Batches) {
    let mut waiting = Vec::new();
    while receiver.recv_many(&mut waiting, TOGETHER).await > 0 {
        while !waiting.is_empty() {
            let mut rows = 0;
            let fits = waiting.iter().take_while(|it| {
                rows += it.batch.reports.len();
                rows <= COMMIT
            });
            let first = fits.count().max(1);
            let now: Vec<_> = waiting.drain(..first).collect();
            let result = commit(&registry, &now).await;
            for (index, it) in now.into_iter().enumerate() {
                let answer = match &result {
                    Ok(received) => received.get(index).copied().ok_or_else(|| Refusal::Internal.into()),
                    Err(failure) => Err(failure.clone()),
                };
                // Who does not wait any more sends again, which does no harm.
                let _ = it.answer.send(answer);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    app: &'a str,
    release_seq: i64,
    device: &'a str,
    boot: &'a str,
}

/// Parts of a list whose lengths are powers of two: as many different statements as there are such lengths, all of
/// which the database has prepared after a while.
fn parts<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut parts = Vec::new();
    while let Some(log) = rows.len().checked_ilog2() {
        let (part, rest) = rows.split_at(ROWS.min(1 << log));
        parts.push(part);
        rows = rest;
    }
    parts
}

pub(crate) fn number(arm: Arm) -> i64 {
    match arm {
        Arm::Treatment => 0,
        Arm::Control => 1,
        Arm::Neither => 2,
    }
}

pub(crate) fn from_number(number: i64) -> Arm {
    match number {
        0 => Arm::Treatment,
        1 => Arm::Control,
        _ => Arm::Neither,
    }
}

pub(crate) fn counters(row: &SqliteRow) -> Result<Counters, sqlx::Error> {
    let get = |name| row.try_get::<i64, _>(name).map(uint);
    Ok(Counters {
        launches: get("launches")?,
        beacons: get("beacons")?,
        calls: get("calls")?,
        errors: get("errors")?,
        slow_500: get("slow_500")?,
        slow_2000: get("slow_2000")?,
        crashes: get("crashes")?,
        crash_loops: get("crash_loops")?,
        kills: get("kills")?,
    })
}

fn values(it: &Counters) -> [i64; 9] {
    let all = [
        it.launches,
        it.beacons,
        it.calls,
        it.errors,
        it.slow_500,
        it.slow_2000,
        it.crashes,
        it.crash_loops,
        it.kills,
    ];
    all.map(int)
}

fn from_values(values: [u64; 9]) -> Counters {
    let [launches, beacons, calls, errors, slow_500, slow_2000, crashes, crash_loops, kills] = values;
    Counters { launches, beacons, calls, errors, slow_500, slow_2000, crashes, crash_loops, kills }
}

const COLUMNS: &str = "launches, beacons, calls, errors, slow_500, slow_2000, crashes, crash_loops, kills";

/// What `after` has more than `before`, of which no counter is larger.
fn growth(before: &Counters, after: &Counters) -> Counters {
    Counters {
        launches: after.launches.saturating_sub(before.launches),
        beacons: after.beacons.saturating_sub(before.beacons),
        calls: after.calls.saturating_sub(before.calls),
        errors: after.errors.saturating_sub(before.errors),
        slow_500: after.slow_500.saturating_sub(before.slow_500),
        slow_2000: after.slow_2000.saturating_sub(before.slow_2000),
        crashes: after.crashes.saturating_sub(before.crashes),
        crash_loops: after.crash_loops.saturating_sub(before.crash_loops),
        kills: after.kills.saturating_sub(before.kills),
    }
}

/// The releases that there are, of those that are reported.
async fn known<'a>(
    db: &mut Db,
    wanted: BTreeSet<(&'a str, i64)>,
) -> Result<HashSet<(&'a str, i64)>, sqlx::Error> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut found: HashSet<(String, i64)> = HashSet::new();
    for part in parts(&wanted) {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT app, seq FROM releases WHERE (app, seq) IN ");
        query.push_tuples(part, |mut row, (app, seq)| {
            row.push_bind(*app).push_bind(*seq);
        });
        for row in query.build().fetch_all(&mut *db).await? {
            found.insert((row.try_get("app")?, row.try_get("seq")?));
        }
    }
    Ok(wanted.into_iter().filter(|(app, seq)| found.contains(&((*app).to_owned(), *seq))).collect())
}

async fn commit(registry: &Registry, waiting: &[Waiting]) -> Result<Vec<Received>, Failure> {
    let mut tx = registry.store.begin().await?;
    let now = registry.unix();
    let reported = waiting.iter().flat_map(|it| &it.batch.reports);
    let reported = reported.map(|report| (report.app.as_str(), int(report.release_seq))).collect();
    let known = known(&mut tx, reported).await?;

    let mut rows: BTreeMap<Key<'_>, (Arm, Counters)> = BTreeMap::new();
    let mut received = Vec::with_capacity(waiting.len());
    for it in waiting {
        let mut accepted = 0;
        for report in &it.batch.reports {
            let (app, release_seq) = (report.app.as_str(), int(report.release_seq));
            if !known.contains(&(app, release_seq)) || it.caller.app(&report.app).is_err() {
                continue;
            }
            // The device is whoever signed in, whatever else it says.
            let key = Key { app, release_seq, device: &it.caller.owner, boot: report.boot.as_str() };
            let row = rows.entry(key).or_insert((report.arm, Counters::default()));
            *row = (row.0.max(report.arm), row.1.merge(report.counters));
            accepted += 1;
        }
        received.push(Received { accepted, ignored: it.batch.reports.len() as u64 - accepted });
    }

    let rows: Vec<_> = rows.into_iter().collect();
    let mut grown: BTreeMap<(&str, i64), Counters> = BTreeMap::new();
    for part in parts(&rows) {
        let stored = stored(&mut tx, part).await?;
        let mut merged = Vec::with_capacity(part.len());
        for ((key, (arm, counters)), before) in part.iter().zip(stored) {
            let (before_arm, before) = before.unwrap_or((*arm, Counters::default()));
            let after = before.merge(*counters);
            let sum = grown.entry((key.app, key.release_seq)).or_default();
            *sum = sum.plus(growth(&before, &after));
            merged.push((key, before_arm.max(*arm), after));
        }
        let mut query =
            QueryBuilder::<Sqlite>::new("INSERT INTO counters (app, release_seq, device, boot, arm, ");
        query.push(COLUMNS).push(", at) ");
        query.push_values(&merged, |mut row, (key, arm, counters)| {
            row.push_bind(key.app).push_bind(key.release_seq).push_bind(key.device).push_bind(key.boot);
            row.push_bind(number(*arm));
            for value in values(counters) {
                row.push_bind(value);
            }
            row.push_bind(now);
        });
        query.push(" ON CONFLICT (app, release_seq, device, boot) DO UPDATE SET arm = excluded.arm, at = excluded.at");
        for column in COLUMNS.split(", ") {
            query.push(format!(", {column} = excluded.{column}"));
        }
        query.build().execute(&mut *tx).await?;
    }
    minutes(&mut tx, now - now.rem_euclid(60), &grown).await?;
    tx.commit().await?;
    let total: u64 = received.iter().map(|it| it.accepted).sum();
    registry.metrics.rows.fetch_add(total, Ordering::Relaxed);
    registry.metrics.commits.fetch_add(1, Ordering::Relaxed);
    Ok(received)
}

/// What is stored of rows, in their order.
async fn stored(
    db: &mut Db,
    part: &[(Key<'_>, (Arm, Counters))],
) -> Result<Vec<Option<(Arm, Counters)>>, sqlx::Error> {
    // By number: reading all the names back would cost more than everything else.
    let mut query =
        QueryBuilder::<Sqlite>::new("WITH wanted (number, app, release_seq, device, boot) AS (VALUES ");
    let mut rows = query.separated(", ");
    for (number, (key, _)) in (0_i64..).zip(part) {
        rows.push("(").push_bind_unseparated(number).push_unseparated(", ");
        rows.push_bind_unseparated(key.app).push_unseparated(", ");
        rows.push_bind_unseparated(key.release_seq).push_unseparated(", ");
        rows.push_bind_unseparated(key.device).push_unseparated(", ");
        rows.push_bind_unseparated(key.boot).push_unseparated(")");
    }
    query.push(") SELECT number, arm, ").push(COLUMNS);
    query.push(" FROM wanted CROSS JOIN counters USING (app, release_seq, device, boot)");
    let mut stored = vec![None; part.len()];
    for row in query.build().fetch_all(db).await? {
        let number = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
        let mut counted = [0; 9];
        for (index, value) in counted.iter_mut().enumerate() {
            *value = uint(row.try_get::<i64, _>(index + 2)?);
        }
        let found = stored.get_mut(number).ok_or_else(|| damaged("row of counters"))?;
        *found = Some((from_number(row.try_get(1)?), from_values(counted)));
    }
    Ok(stored)
}

async fn minutes(
    db: &mut Db,
    minute: i64,
    grown: &BTreeMap<(&str, i64), Counters>,
) -> Result<(), sqlx::Error> {
    let grown: Vec<_> = grown.iter().filter(|(_, more)| **more != Counters::default()).collect();
    for part in parts(&grown) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO minutes (app, release_seq, minute, ");
        query.push(COLUMNS).push(") ");
        query.push_values(part, |mut row, ((app, release_seq), more)| {
            row.push_bind(*app).push_bind(*release_seq).push_bind(minute);
            for value in values(more) {
                row.push_bind(value);
            }
        });
        query.push(" ON CONFLICT (app, release_seq, minute) DO UPDATE SET ");
        for (index, column) in COLUMNS.split(", ").enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            query.push(format!("{comma}{column} = minutes.{column} + excluded.{column}"));
        }
        query.build().execute(&mut *db).await?;
    }
    Ok(())
}
