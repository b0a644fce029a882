//! Signed documents. The fleet head is kept under an app id that no app can have.

use mpkg_fleet::Position;
use mpkg_manifest::AppId;
use mpkg_package::Hash;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, damaged, int, text, uint};

/// Where the fleet head is kept.
pub(crate) const HEAD: &str = "";

/// A document.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) app: String,
    pub(crate) at: Position,
    pub(crate) sha256: Hash,
    pub(crate) envelope: Vec<u8>,
}

fn read(row: &SqliteRow) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        app: row.try_get("app")?,
        at: Position { epoch: uint(row.try_get("epoch")?), seq: uint(row.try_get("seq")?) },
        sha256: Hash::from_hex(row.try_get("sha256")?).ok_or_else(|| damaged("hash"))?,
        envelope: row.try_get("envelope")?,
    })
}

pub(crate) async fn newest(db: &mut Db, app: &str) -> Result<Option<Stored>, sqlx::Error> {
    let sql = "SELECT * FROM documents WHERE app = ? ORDER BY epoch DESC, seq DESC LIMIT 1";
    sqlx::query(sql).bind(app).fetch_optional(db).await?.as_ref().map(read).transpose()
}

/// Where an app's newest state stands, without the state.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    pub(crate) app: AppId,
    pub(crate) at: Position,
    pub(crate) sha256: Hash,
}

fn read_newest(row: &SqliteRow) -> Result<Newest, sqlx::Error> {
    Ok(Newest {
        app: text(row.try_get("app")?, "app id")?,
        at: Position { epoch: uint(row.try_get("epoch")?), seq: uint(row.try_get("seq")?) },
        sha256: Hash::from_hex(row.try_get("sha256")?).ok_or_else(|| damaged("hash"))?,
    })
}

/// From the apps to one row of each: however many states an app has had, it costs the same. Joined the other way round
/// it would go through all of them.
const ALL_NEWEST: &str = "SELECT d.app, d.epoch, d.seq, d.sha256 FROM apps a CROSS JOIN documents d \
                          WHERE d.app = a.id AND (d.epoch, d.seq) = (SELECT n.epoch, n.seq FROM documents n \
                          WHERE n.app = a.id ORDER BY n.epoch DESC, n.seq DESC LIMIT 1)";

/// The newest state of every app that has one. Each stop asks for them, while it keeps others from changing anything.
pub(crate) async fn all_newest(db: &mut Db) -> Result<Vec<Newest>, sqlx::Error> {
    sqlx::query(ALL_NEWEST).fetch_all(db).await?.iter().map(read_newest).collect()
}

pub(crate) async fn insert(db: &mut Db, it: &Stored) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO documents (app, epoch, seq, sha256, envelope) VALUES (?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(&it.app).bind(int(it.at.epoch)).bind(int(it.at.seq));
    query.bind(it.sha256.to_string()).bind(&it.envelope).execute(db).await.map(|_| ())
}

const FORGET: &str = "DELETE FROM documents WHERE app = ? AND (epoch, seq) < (?, ?)";

/// Forgets documents that nothing refers to any more, but for so many before the newest: one every few minutes would
/// fill the disk.
pub(crate) async fn prune(db: &mut Db, app: &str, newest: Position, keep: u64) -> Result<(), sqlx::Error> {
    let below = int(newest.seq.saturating_sub(keep));
    sqlx::query(FORGET).bind(app).bind(int(newest.epoch)).bind(below).execute(db).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::plan;

    /// What makes up a plan, and not how long it takes: a stop that went through all states would be as slow as there
    /// were changes before it.
    #[tokio::test]
    async fn no_stop_goes_through_what_was_before() {
        let all = plan(ALL_NEWEST, 0).await;
        assert!(all[0].starts_with("SCAN a"), "{all:?}");
        assert!(all[1..].iter().all(|step| !step.contains("SCAN")), "{all:?}");
        let forget = plan(FORGET, 3).await;
        assert!(forget.iter().all(|step| step.contains("(epoch,seq)<(?,?)")), "{forget:?}");
    }
}
