//! Everything that is kept: SQLite for what changes, a folder by digest for packages.
//!
//! One connection writes, since SQLite has one writer anyway; others read what was committed last.

pub(crate) mod apps;
pub(crate) mod backup;
pub(crate) mod blobs;
pub(crate) mod disabled;
pub(crate) mod documents;
pub(crate) mod evidence;
pub(crate) mod kills;
pub(crate) mod people;
pub(crate) mod releases;
pub(crate) mod retention;
pub(crate) mod rollouts;
pub(crate) mod telemetry;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64;
use mpkg_package::RootChain;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use thiserror::Error;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::intake::Journal;

pub(crate) use apps::{AppRow, PublisherRow};
pub use backup::{BackupError, backup, restore};
pub(crate) use blobs::{Blobs, Made};
pub(crate) use documents::Stored;
pub(crate) use kills::KillRow;
pub(crate) use releases::ReleaseRow;
pub(crate) use rollouts::RolloutRow;

/// Why a folder cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database.
    #[error("the registry's database cannot be opened: {0}")]
    Database(#[from] sqlx::Error),
    /// A newer or damaged schema.
    #[error("the registry's database cannot be brought to this version: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A key or root that is there and cannot be used.
    #[error("{path} cannot be used: {reason}")]
    Keys {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Another process has it.
    #[error("another registry is running in {path}")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// No first state could be written.
    #[error("the first state of the fleet cannot be written: {0}")]
    First(crate::Failure),
}

impl OpenError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Self::Io { path: path.to_owned(), error }
    }
}

/// The name of the database in the folder.
pub(crate) const DATABASE: &str = "registry.db";

/// Requests that read much, at once: fewer than there are connections to read with.
const LONG: usize = 2;

pub(crate) struct Store {
    pub(crate) read: SqlitePool,
    /// For looking up who makes a request, which nobody who wants to stop something waits for.
    pub(crate) callers: SqlitePool,
    long: Semaphore,
    write: SqlitePool,
    pub(crate) blobs: Blobs,
}

/// A writing transaction. What is not committed never was.
pub(crate) type Tx = Transaction<'static, Sqlite>;
/// Either kind of connection.
pub(crate) type Db = SqliteConnection;

/// Numbers of the wire are at most 2^53, so they fit.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(crate) fn damaged(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("the database holds a {what} that cannot be read").into())
}

/// Reads a value that was written as text.
pub(crate) fn text<T: std::str::FromStr>(value: &str, what: &'static str) -> Result<T, sqlx::Error> {
    value.parse().map_err(|_| damaged(what))
}

/// Reads a value that was written as JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(
    value: &str,
    what: &'static str,
) -> Result<T, sqlx::Error> {
    serde_json::from_str(value).map_err(|_| damaged(what))
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn options(folder: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(folder.join(DATABASE))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // What was acknowledged survives a power cut, not only a killed process.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // 16 MiB of pages for each connection, and as many in the log before they are moved: telemetry comes in all
        // over the tables.
        .pragma("cache_size", "-16384")
        .pragma("wal_autocheckpoint", "4096")
        // Telemetry reads as many rows at once; with fewer places the database's thread and ours wake each other up for
        // every few of them.
        .row_buffer_size(1_024)
        .busy_timeout(Duration::from_secs(10))
}

fn migrations() -> Migrator {
    let step = |version, name: &'static str, sql: &'static str| {
        let sql = sqlx::SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(vec![
        step(1, "first", include_str!("schema.sql")),
        step(2, "telemetry", include_str!("telemetry.sql")),
        step(3, "newest documents", include_str!("documents.sql")),
        step(4, "order of lifts", include_str!("kills.sql")),
        step(5, "bounded sums", include_str!("sums.sql")),
        step(6, "age of what is forgotten", include_str!("retention.sql")),
    ])
}

impl Store {
    pub(crate) async fn open(folder: &Path) -> Result<Self, OpenError> {
        let blobs = Blobs::open(folder)?;
        let write = SqlitePoolOptions::new().max_connections(1).connect_with(options(folder)).await?;
        migrations().run(&write).await?;
        let named: Vec<String> = sqlx::query_scalar("SELECT sha256 FROM releases").fetch_all(&write).await?;
        blobs.sweep(&named.into_iter().collect()).map_err(OpenError::io(folder))?;
        let read = SqlitePoolOptions::new().max_connections(4).connect_with(options(folder)).await?;
        let callers = SqlitePoolOptions::new().max_connections(1).connect_with(options(folder)).await?;
        Ok(Self { read, callers, long: Semaphore::new(LONG), write, blobs })
    }

    /// A connection for a request that reads a table from one end to the other, when it is its turn. Others find one
    /// however many such requests there are.
    pub(crate) async fn read_long(
        &self,
    ) -> Result<(SemaphorePermit<'_>, PoolConnection<Sqlite>), sqlx::Error> {
        let turn = self.long.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?;
        Ok((turn, self.read.acquire().await?))
    }

    /// The one writer.
    pub(crate) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        // Without IMMEDIATE a transaction that reads first can fail when it begins to write.
        let begin = || self.write.begin_with("BEGIN IMMEDIATE");
        match begin().await {
            Ok(tx) => Ok(tx),
            Err(error) => {
                // A write that found no room ends its transaction behind the driver's back, and the connection is then
                // of no more use, whatever room there is later.
                tracing::warn!(%error, "the database is opened again");
                self.write.acquire().await?.close().await?;
                begin().await
            }
        }
    }

    /// The telemetry that was acknowledged and is not counted yet.
    pub(crate) async fn journal(&self) -> Result<Journal, sqlx::Error> {
        let (last, rows) = telemetry::journal(&mut *self.read.acquire().await?).await?;
        Ok(Journal { last, rows })
    }

    /// The registry's roots, which a change of them has here first. None before the first start has put them here.
    pub(crate) async fn roots(&self) -> Result<Option<RootChain>, sqlx::Error> {
        let Some(text) = meta(&mut *self.read.acquire().await?, ROOTS).await? else { return Ok(None) };
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| damaged("root chain"))?;
        RootChain::parse(&bytes).map(Some).map_err(|_| damaged("root chain"))
    }

    /// Keeps the roots that a start has found.
    pub(crate) async fn keep_roots(&self, chain: &RootChain) -> Result<(), sqlx::Error> {
        let mut tx = self.begin().await?;
        set_roots(&mut tx, chain).await?;
        tx.commit().await
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.callers.close().await;
        self.write.close().await;
    }
}

const ROOTS: &str = "roots";

/// Keeps the registry's roots.
pub(crate) async fn set_roots(db: &mut Db, chain: &RootChain) -> Result<(), sqlx::Error> {
    set_meta(db, ROOTS, &BASE64.encode(&chain.to_bytes())).await
}

/// A named value.
pub(crate) async fn meta(db: &mut Db, name: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM meta WHERE name = ?").bind(name).fetch_optional(db).await
}

pub(crate) async fn set_meta(db: &mut Db, name: &str, value: &str) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(name).bind(value).execute(db).await.map(|_| ())
}

/// How a database without rows would carry a statement out: a step in each string.
#[cfg(test)]
pub(crate) async fn plan(sql: &str, values: usize) -> Vec<String> {
    use sqlx::Row;

    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let query = (0..values).fold(sqlx::query(sql), |query, _| query.bind(0));
    let steps = query.fetch_all(&store.read).await.unwrap();
    store.close().await;
    steps.iter().map(|step| step.get("detail")).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use mpkg_fleet::{Arm, Counters};
    use sqlx::Row;

    use super::*;

    /// The database as it was after so many migrations.
    async fn earlier(folder: &Path, migrated: usize) -> SqlitePool {
        let pool = SqlitePoolOptions::new().connect_with(options(folder)).await.unwrap();
        let first = migrations().iter().take(migrated).cloned().collect();
        Migrator::with_migrations(first).run(&pool).await.unwrap();
        pool
    }

    #[tokio::test]
    async fn of_earlier_documents_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let pool = earlier(folder.path(), 2).await;
        let sql = "INSERT INTO documents VALUES (?, ?, ?, 'h', 'e')";
        let all = [("", 1, 9), ("a", 1, 12), ("a", 2, 2), ("b", 1, 3)];
        for (app, epoch, newest) in all {
            for seq in 1..=newest {
                sqlx::query(sql).bind(app).bind(epoch).bind(seq).execute(&pool).await.unwrap();
            }
        }
        pool.close().await;
        let store = Store::open(folder.path()).await.unwrap();
        let sql = "SELECT epoch, seq FROM documents WHERE app = ? ORDER BY epoch, seq";
        let heads: Vec<_> = (1..=9).map(|seq| (1, seq)).collect();
        let kept =
            [("", heads), ("a", vec![(1, 11), (1, 12), (2, 1), (2, 2)]), ("b", vec![(1, 1), (1, 2), (1, 3)])];
        for (app, expected) in kept {
            let found: Vec<(i64, i64)> = sqlx::query_as(sql).bind(app).fetch_all(&store.read).await.unwrap();
            assert_eq!(found, expected, "{app}");
        }
        store.close().await;
    }

    #[tokio::test]
    async fn earlier_lifts_are_in_the_order_of_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let pool = earlier(folder.path(), 3).await;
        let sql =
            "INSERT INTO kills (id, place, kill, ordered_by, lift, number) VALUES (?, 'a', '{}', '', ?, ?)";
        let lift = |id: &str, day: u32| {
            let lift = r#"{"kill":"ID","issued":"2026-01-DAYT00:00:00Z","reason":"over"}"#;
            lift.replace("ID", &id.repeat(64)).replace("DAY", &format!("{day:0>2}"))
        };
        for (id, day, number) in [("a", Some(9), 1), ("b", Some(1), 2), ("c", None, 3), ("d", Some(4), 4)] {
            let lift = day.map(|day| lift(id, day));
            sqlx::query(sql).bind(id).bind(lift).bind(number).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let store = Store::open(folder.path()).await.unwrap();
        let mut db = store.read.acquire().await.unwrap();
        let newest = async |db: &mut Db, limit, bytes| {
            let lifts = kills::lifts(db, "a", limit, bytes).await.unwrap();
            lifts.iter().map(|it| it.kill.to_string()[..1].to_owned()).collect::<String>()
        };
        assert_eq!(newest(&mut db, 9, 9_999).await, "bda");
        assert_eq!(newest(&mut db, 2, 9_999).await, "da");
        assert_eq!(newest(&mut db, 9, 300).await, "da", "each has more than a hundred bytes");
        drop(db);
        store.close().await;
    }

    #[tokio::test]
    async fn sums_that_outgrew_their_type_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let pool = earlier(folder.path(), 4).await;
        let sql = "INSERT INTO minutes VALUES ('org.example.app', 1, 60, 9223372036854775807 + 1, 2, 3, \
                   9223372036854775807, 5, 6, 7, 8, 9)";
        sqlx::query(sql).execute(&pool).await.unwrap();
        let row = sqlx::query("SELECT * FROM minutes").fetch_one(&pool).await.unwrap();
        assert!(telemetry::of_minute(&row).is_err(), "it is as it was found");
        pool.close().await;
        let store = Store::open(folder.path()).await.unwrap();
        let row = sqlx::query("SELECT * FROM minutes").fetch_one(&store.read).await.unwrap();
        let most = (1 << 53) - 1;
        let expected: Counters = [most, 2, 3, most, 5, 6, 7, 8, 9].into();
        assert_eq!(telemetry::of_minute(&row).unwrap(), expected);
        store.close().await;
    }

    #[tokio::test]
    async fn who_reads_much_leaves_connections_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        let held = [store.read_long().await.unwrap(), store.read_long().await.unwrap()];
        let mut third = Box::pin(store.read_long());
        assert!((&mut third).now_or_never().is_none());
        let others = [store.read.acquire().await.unwrap(), store.read.acquire().await.unwrap()];
        drop((held, others));
        drop(third.await.unwrap());
        store.close().await;
    }

    #[tokio::test]
    async fn telemetry_of_the_first_schema_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let pool = earlier(folder.path(), 1).await;
        let sql =
            "INSERT INTO counters VALUES ('org.example.app', 7, ?, 'b', 1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1000)";
        for device in ["d1", "d2"] {
            sqlx::query(sql).bind(device).execute(&pool).await.unwrap();
        }
        pool.close().await;

        let store = Store::open(folder.path()).await.unwrap();
        let mut db = store.read.acquire().await.unwrap();
        let rows = sqlx::query("SELECT * FROM counters ORDER BY device").fetch_all(&mut *db).await.unwrap();
        let expected: Counters = [9, 8, 7, 6, 5, 4, 3, 2, 1].into();
        for (row, device) in rows.iter().zip(["d1", "d2"]) {
            assert_eq!(row.get::<&str, _>("device"), device);
            assert_eq!(telemetry::arm(row.get("arm")), Arm::Control);
            assert_eq!(telemetry::counters(row.get("counters")).unwrap(), expected);
            assert_eq!((row.get::<i64, _>("release_seq"), row.get::<i64, _>("at")), (7, 1_000));
        }
        assert_eq!(rows.len(), 2);
        drop(db);
        store.close().await;
    }
}
