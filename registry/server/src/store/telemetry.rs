//! Telemetry: the journal of what came, and what it comes to by device and by minute.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::TryStreamExt;
use mpkg_fleet::{Arm, Counters};
use mpkg_manifest::json::MAX_SAFE_INTEGER;
use mpkg_package::PublisherId;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Db, damaged, int, json, text, to_json, uint};

/// Rows in one statement: 12 values each at most, and SQLite takes 32 766.
const ROWS: usize = 512;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) app: String,
    pub(crate) device: String,
    pub(crate) release_seq: i64,
    pub(crate) boot: String,
}

/// What a device said about one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) key: Key,
    pub(crate) arm: Arm,
    pub(crate) counters: Counters,
    pub(crate) at: i64,
}

impl Said {
    /// Two reports of one row, in either order.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.arm = self.arm.max(other.arm);
        self.counters = self.counters.merge(other.counters);
        self.at = self.at.max(other.at);
    }
}

/// A row of a batch as the journal has it: app, release, boot, arm, counters.
pub(crate) type Noted<T> = (T, u64, T, i64, [u64; 9]);
/// What each device of a commit sent.
pub(crate) type Entry<T> = Vec<(T, Vec<Noted<T>>)>;

pub(crate) fn number(arm: Arm) -> i64 {
    match arm {
        Arm::Treatment => 0,
        Arm::Control => 1,
        Arm::Neither => 2,
    }
}

pub(crate) fn arm(number: i64) -> Arm {
    match number {
        0 => Arm::Treatment,
        1 => Arm::Control,
        _ => Arm::Neither,
    }
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

/// The releases that there are, of those that are reported, and whose they are.
pub(crate) async fn known<'a>(
    db: &mut Db,
    wanted: BTreeSet<(&'a str, i64)>,
) -> Result<HashMap<(&'a str, i64), PublisherId>, sqlx::Error> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let mut found: HashMap<(String, i64), PublisherId> = HashMap::new();
    for part in parts(&wanted) {
        // From the wanted ones to their releases: given as a list to compare with, they have the database look at every
        // release that there is.
        let mut query = QueryBuilder::<Sqlite>::new("WITH wanted (app, seq) AS (");
        query.push_values(part, |mut row, (app, seq)| {
            row.push_bind(*app).push_bind(*seq);
        });
        query.push(
            ") SELECT r.app, r.seq, a.publisher FROM wanted w CROSS JOIN releases r ON r.app = w.app AND r.seq = w.seq \
             CROSS JOIN apps a ON a.id = r.app",
        );
        for row in query.build().fetch_all(&mut *db).await? {
            let publisher = text(row.try_get("publisher")?, "publisher id")?;
            found.insert((row.try_get("app")?, row.try_get("seq")?), publisher);
        }
    }
    let whose = |(app, seq): &(&str, i64)| found.get(&((*app).to_owned(), *seq)).copied();
    Ok(wanted.into_iter().filter_map(|it| Some((it, whose(&it)?))).collect())
}

/// The newest number of the journal, and how many rows it has.
pub(crate) async fn journal(db: &mut Db) -> Result<(i64, u64), sqlx::Error> {
    let sql = "SELECT COALESCE(MAX(number), 0), COALESCE(SUM(rows), 0) FROM journal";
    let row = sqlx::query(sql).fetch_one(db).await?;
    Ok((row.try_get(0)?, uint(row.try_get(1)?)))
}

pub(crate) async fn note(
    db: &mut Db,
    number: i64,
    at: i64,
    rows: u64,
    entry: &Entry<&str>,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO journal (number, at, rows, body) VALUES (?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(number).bind(at).bind(int(rows)).bind(to_json(entry)?);
    query.execute(db).await.map(|_| ())
}

/// The oldest entries of the journal.
#[derive(Debug)]
pub(crate) struct Noticed {
    /// The number of the last of them.
    pub(crate) last: i64,
    /// The minute in which all of them came.
    pub(crate) minute: i64,
    /// The rows, as many as were sent.
    pub(crate) rows: Vec<Said>,
}

/// Reads entries of one minute, until there are so many rows.
pub(crate) async fn noticed(db: &mut Db, most: usize) -> Result<Option<Noticed>, sqlx::Error> {
    let mut all: Option<Noticed> = None;
    let mut entries = sqlx::query("SELECT number, at, body FROM journal ORDER BY number").fetch(db);
    while let Some(row) = entries.try_next().await? {
        let at: i64 = row.try_get("at")?;
        let minute = at - at.rem_euclid(60);
        let noticed = all.get_or_insert_with(|| Noticed { last: 0, minute, rows: Vec::new() });
        if minute != noticed.minute || noticed.rows.len() >= most {
            break;
        }
        noticed.last = row.try_get("number")?;
        let entry: Entry<String> = json(row.try_get("body")?, "entry of the journal")?;
        for (device, rows) in entry {
            noticed.rows.extend(rows.into_iter().map(|(app, release_seq, boot, of_arm, counters)| Said {
                key: Key { app, device: device.clone(), release_seq: int(release_seq), boot },
                arm: arm(of_arm),
                counters: counters.into(),
                at,
            }));
        }
    }
    Ok(all)
}

/// Forgets what was counted.
pub(crate) async fn forget_noted(db: &mut Db, last: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM journal WHERE number <= ?").bind(last).execute(db).await.map(|_| ())
}

/// Counts rows, each of which is another one: a device's row is the maximum of what was said, and what it grew by is
/// added to the minute. What was counted before grows by nothing, so counting it again does no harm.
pub(crate) async fn count(db: &mut Db, minute: i64, rows: &[Said]) -> Result<(), sqlx::Error> {
    let mut grown: BTreeMap<(&str, i64), Counters> = BTreeMap::new();
    for part in parts(rows) {
        let stored = stored(db, part).await?;
        let mut counted = Vec::with_capacity(part.len());
        for (said, before) in part.iter().zip(stored) {
            let (before_arm, before) = before.unwrap_or((said.arm, Counters::default()));
            let after = before.merge(said.counters);
            let sum = grown.entry((&said.key.app, said.key.release_seq)).or_default();
            *sum = sum.plus(after.since(before));
            counted.push((said, before_arm.max(said.arm), to_json(&<[u64; 9]>::from(after))?));
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO counters (app, device, release_seq, boot, arm, counters, at) ",
        );
        query.push_values(counted, |mut row, (Said { key, at, .. }, arm, counters)| {
            row.push_bind(key.app.as_str()).push_bind(key.device.as_str());
            row.push_bind(key.release_seq).push_bind(key.boot.as_str());
            row.push_bind(number(arm)).push_bind(counters).push_bind(*at);
        });
        query.push(" ON CONFLICT (app, device, release_seq, boot) DO UPDATE SET arm = excluded.arm, ");
        query.push("counters = excluded.counters, at = excluded.at");
        query.build().execute(&mut *db).await?;
    }
    minutes(db, minute, &grown).await
}

/// What is stored of rows, in their order.
async fn stored(db: &mut Db, part: &[Said]) -> Result<Vec<Option<(Arm, Counters)>>, sqlx::Error> {
    // By number, rather than reading all the names back.
    let mut query =
        QueryBuilder::<Sqlite>::new("WITH wanted (number, app, device, release_seq, boot) AS (VALUES ");
    let mut rows = query.separated(", ");
    for (number, Said { key, .. }) in (0_i64..).zip(part) {
        rows.push("(").push_bind_unseparated(number).push_unseparated(", ");
        rows.push_bind_unseparated(key.app.as_str()).push_unseparated(", ");
        rows.push_bind_unseparated(key.device.as_str()).push_unseparated(", ");
        rows.push_bind_unseparated(key.release_seq).push_unseparated(", ");
        rows.push_bind_unseparated(key.boot.as_str()).push_unseparated(")");
    }
    // As one row: each row by itself would wake two threads, which costs more than to find it.
    query
        .push(") SELECT string_agg('[' || number || ',' || arm || ',' || counters || ']', ',') FROM wanted ");
    query.push("CROSS JOIN counters USING (app, device, release_seq, boot)");
    let mut stored = vec![None; part.len()];
    let found: Option<String> = query.build().fetch_one(db).await?.try_get(0)?;
    let found = format!("[{}]", found.unwrap_or_default());
    for (number, of_arm, counters) in json::<Vec<(usize, i64, [u64; 9])>>(&found, "row of counters")? {
        let place = stored.get_mut(number).ok_or_else(|| damaged("row of counters"))?;
        *place = Some((arm(of_arm), Counters::from(counters)));
    }
    Ok(stored)
}

/// Reads what [`count`] wrote.
pub(crate) fn counters(text: &str) -> Result<Counters, sqlx::Error> {
    json::<[u64; 9]>(text, "row of counters").map(Counters::from)
}

const COLUMNS: &str = "launches, beacons, calls, errors, slow_500, slow_2000, crashes, crash_loops, kills";

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
            for value in <[u64; 9]>::from(**more) {
                row.push_bind(int(value).min(MAX_SAFE_INTEGER));
            }
        });
        query.push(" ON CONFLICT (app, release_seq, minute) DO UPDATE SET ");
        for (index, column) in COLUMNS.split(", ").enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            // A sum that is no integer any more would be kept as another type, and never be read again. Hosts say what
            // they like, so that a thousand of them can get there in a minute.
            let sum = format!("minutes.{column} + excluded.{column}");
            query.push(format!("{comma}{column} = min({sum}, {MAX_SAFE_INTEGER})"));
        }
        query.build().execute(&mut *db).await?;
    }
    Ok(())
}

/// Reads the counters of a minute.
pub(crate) fn of_minute(row: &SqliteRow) -> Result<Counters, sqlx::Error> {
    let mut fields = [0; 9];
    for (field, column) in fields.iter_mut().zip(COLUMNS.split(", ")) {
        *field = uint(row.try_get(column)?);
    }
    Ok(fields.into())
}
