//! Signed documents. The fleet head is kept under an app id that no app can have.

use mpkg_fleet::Position;
use mpkg_package::Hash;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, damaged, int, uint};

/// Where the fleet head is kept.
pub(crate) const HEAD: &str = "";

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

/// The newest state of every app.
pub(crate) async fn all_newest(db: &mut Db) -> Result<Vec<Stored>, sqlx::Error> {
    let sql = "SELECT d.* FROM documents d WHERE d.app <> '' AND NOT EXISTS (SELECT 1 FROM documents n \
               WHERE n.app = d.app AND (n.epoch > d.epoch OR (n.epoch = d.epoch AND n.seq > d.seq)))";
    sqlx::query(sql).fetch_all(db).await?.iter().map(read).collect()
}

pub(crate) async fn insert(db: &mut Db, it: &Stored) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO documents (app, epoch, seq, sha256, envelope) VALUES (?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(&it.app).bind(int(it.at.epoch)).bind(int(it.at.seq));
    query.bind(it.sha256.to_string()).bind(&it.envelope).execute(db).await.map(|_| ())
}

/// Forgets heads that nothing refers to any more: one every few minutes would fill the disk.
pub(crate) async fn prune_heads(db: &mut Db, newest: Position, keep: u64) -> Result<(), sqlx::Error> {
    let sql = "DELETE FROM documents WHERE app = '' AND (epoch < ? OR seq < ?)";
    let below = int(newest.seq.saturating_sub(keep));
    sqlx::query(sql).bind(int(newest.epoch)).bind(below).execute(db).await.map(|_| ())
}
