//! Rollouts.

use mpkg_fleet::{ReleaseRef, Rollout, Targeting};
use mpkg_manifest::AppId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, int, json, to_json};

#[derive(Clone)]
pub(crate) struct RolloutRow {
    pub(crate) id: i64,
    pub(crate) rollout: Rollout,
    pub(crate) targeting: Targeting,
    /// Whether gates advance it.
    pub(crate) automatic: bool,
    pub(crate) started: Option<i64>,
    /// Who drafted it, and who let gates advance it.
    pub(crate) author: String,
}

fn read(row: &SqliteRow) -> Result<RolloutRow, sqlx::Error> {
    Ok(RolloutRow {
        id: row.try_get("id")?,
        rollout: json(row.try_get("rollout")?, "rollout")?,
        targeting: json(row.try_get("targeting")?, "targeting")?,
        automatic: row.try_get("automatic")?,
        started: row.try_get("started")?,
        author: row.try_get("author")?,
    })
}

/// Inserts a rollout and gives its id.
pub(crate) async fn insert(db: &mut Db, it: &RolloutRow) -> Result<i64, sqlx::Error> {
    let next: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) + 1 FROM rollouts").fetch_one(&mut *db).await?;
    let sql = "INSERT INTO rollouts (id, app, release_seq, phase, rollout, targeting, automatic, author) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(next)
        .bind(it.rollout.app.as_str())
        .bind(int(it.rollout.release.release_seq))
        .bind(it.rollout.phase.name())
        .bind(to_json(&it.rollout)?)
        .bind(to_json(&it.targeting)?)
        .bind(it.automatic)
        .bind(&it.author)
        .execute(db)
        .await?;
    Ok(next)
}

pub(crate) async fn update(db: &mut Db, it: &RolloutRow) -> Result<(), sqlx::Error> {
    let sql = "UPDATE rollouts SET phase = ?, rollout = ?, started = ? WHERE id = ?";
    let query = sqlx::query(sql).bind(it.rollout.phase.name()).bind(to_json(&it.rollout)?);
    query.bind(it.started).bind(it.id).execute(db).await.map(|_| ())
}

pub(crate) async fn get(db: &mut Db, id: i64) -> Result<Option<RolloutRow>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM rollouts WHERE id = ?").bind(id).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// An app's rollouts below an id, the newest first.
pub(crate) async fn of_app(
    db: &mut Db,
    app: &AppId,
    below: i64,
    limit: i64,
) -> Result<Vec<RolloutRow>, sqlx::Error> {
    let sql = "SELECT * FROM rollouts WHERE app = ? AND id < ? ORDER BY id DESC LIMIT ?";
    let rows = sqlx::query(sql).bind(app.as_str()).bind(below).bind(limit).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// What was everybody's when a rollout of the app started, the newest first.
pub(crate) async fn baselines(db: &mut Db, app: &AppId) -> Result<Vec<ReleaseRef>, sqlx::Error> {
    let sql = "SELECT * FROM rollouts WHERE app = ? AND started IS NOT NULL";
    let mut found = Vec::new();
    for row in sqlx::query(sql).bind(app.as_str()).fetch_all(db).await? {
        found.extend(read(&row)?.rollout.baseline);
    }
    found.sort_by_key(|release| std::cmp::Reverse(release.release_seq));
    found.dedup();
    Ok(found)
}

/// Those that nobody has started, the newest first.
pub(crate) async fn drafts(db: &mut Db, limit: i64) -> Result<Vec<RolloutRow>, sqlx::Error> {
    let sql = "SELECT * FROM rollouts WHERE phase = 'draft' ORDER BY id DESC LIMIT ?";
    sqlx::query(sql).bind(limit).fetch_all(db).await?.iter().map(read).collect()
}

/// Those that gates look at.
pub(crate) async fn going(db: &mut Db) -> Result<Vec<RolloutRow>, sqlx::Error> {
    let sql = "SELECT * FROM rollouts WHERE phase IN ('running', 'held') ORDER BY id";
    sqlx::query(sql).fetch_all(db).await?.iter().map(read).collect()
}
