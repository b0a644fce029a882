//! What gates decided, and by what.

use sqlx::Row;

use super::Db;

pub(crate) struct EvidenceRow {
    pub(crate) id: i64,
    pub(crate) at: i64,
    pub(crate) decision: String,
    pub(crate) action: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) async fn insert(
    db: &mut Db,
    rollout: i64,
    at: i64,
    decision: &str,
    action: &str,
    body: &[u8],
) -> Result<(), sqlx::Error> {
    let next: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) + 1 FROM evidence").fetch_one(&mut *db).await?;
    let sql = "INSERT INTO evidence (id, rollout, at, decision, action, body) VALUES (?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(next).bind(rollout).bind(at).bind(decision).bind(action).bind(body);
    query.execute(db).await.map(|_| ())
}

fn read(row: &sqlx::sqlite::SqliteRow) -> Result<EvidenceRow, sqlx::Error> {
    Ok(EvidenceRow {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        decision: row.try_get("decision")?,
        action: row.try_get("action")?,
        body: row.try_get("body")?,
    })
}

pub(crate) async fn get(db: &mut Db, rollout: i64, id: i64) -> Result<Option<EvidenceRow>, sqlx::Error> {
    let sql = "SELECT * FROM evidence WHERE rollout = ? AND id = ?";
    let row = sqlx::query(sql).bind(rollout).bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// A rollout's evidence below an id, the newest first.
pub(crate) async fn list(
    db: &mut Db,
    rollout: i64,
    below: i64,
    limit: i64,
) -> Result<Vec<EvidenceRow>, sqlx::Error> {
    let sql = "SELECT * FROM evidence WHERE rollout = ? AND id < ? ORDER BY id DESC LIMIT ?";
    let rows = sqlx::query(sql).bind(rollout).bind(below).bind(limit).fetch_all(db).await?;
    rows.iter().map(read).collect()
}
