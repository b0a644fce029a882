//! Packages that are not launched. Rows stay for ever; one that was enabled again can be disabled again, in another
//! row.

use mpkg_manifest::AppId;
use mpkg_package::Hash;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, damaged};

pub(crate) struct DisabledRow {
    pub(crate) number: i64,
    pub(crate) sha256: Hash,
    pub(crate) reason: String,
    pub(crate) disabled_by: String,
    pub(crate) at: i64,
}

fn read(row: &SqliteRow) -> Result<DisabledRow, sqlx::Error> {
    Ok(DisabledRow {
        number: row.try_get("number")?,
        sha256: Hash::from_hex(row.try_get("sha256")?).ok_or_else(|| damaged("hash"))?,
        reason: row.try_get("reason")?,
        disabled_by: row.try_get("disabled_by")?,
        at: row.try_get("at")?,
    })
}

/// The disabled packages of an app, the oldest first.
pub(crate) async fn of_app(db: &mut Db, app: &AppId) -> Result<Vec<DisabledRow>, sqlx::Error> {
    let sql = "SELECT * FROM disabled WHERE app = ? AND enabled_by IS NULL ORDER BY number";
    sqlx::query(sql).bind(app.as_str()).fetch_all(db).await?.iter().map(read).collect()
}

pub(crate) async fn insert(db: &mut Db, app: &AppId, it: &DisabledRow) -> Result<(), sqlx::Error> {
    let next: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) + 1 FROM disabled").fetch_one(&mut *db).await?;
    let sql = "INSERT INTO disabled (number, app, sha256, reason, disabled_by, at) VALUES (?, ?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(next).bind(app.as_str()).bind(it.sha256.to_string());
    query.bind(&it.reason).bind(&it.disabled_by).bind(it.at).execute(db).await.map(|_| ())
}

pub(crate) async fn enable(db: &mut Db, number: i64, by: &str) -> Result<(), sqlx::Error> {
    let sql = "UPDATE disabled SET enabled_by = ? WHERE number = ?";
    sqlx::query(sql).bind(by).bind(number).execute(db).await.map(|_| ())
}
