//! Kills and their lifts. Rows stay for ever.

use mpkg_fleet::{Kill, KillId, Lift};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Db, json, to_json};

pub(crate) struct KillRow {
    /// The app in whose state it stands; empty for the fleet head.
    pub(crate) place: String,
    pub(crate) kill: Kill,
    pub(crate) ordered_by: String,
    pub(crate) lift: Option<Lift>,
    pub(crate) lifted_by: Option<String>,
    pub(crate) number: i64,
}

fn read(row: &SqliteRow) -> Result<KillRow, sqlx::Error> {
    let lift: Option<&str> = row.try_get("lift")?;
    Ok(KillRow {
        place: row.try_get("place")?,
        kill: json(row.try_get("kill")?, "kill")?,
        ordered_by: row.try_get("ordered_by")?,
        lift: lift.map(|text| json(text, "lift")).transpose()?,
        lifted_by: row.try_get("lifted_by")?,
        number: row.try_get("number")?,
    })
}

/// The number of the next kill, which makes its id another one than that of any before.
pub(crate) async fn next_number(db: &mut Db) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT COALESCE(MAX(number), 0) + 1 FROM kills").fetch_one(db).await
}

pub(crate) async fn insert(db: &mut Db, it: &KillRow) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO kills (id, place, kill, ordered_by, number) VALUES (?, ?, ?, ?, ?)";
    let query = sqlx::query(sql).bind(it.kill.id().to_string()).bind(&it.place).bind(to_json(&it.kill)?);
    query.bind(&it.ordered_by).bind(it.number).execute(db).await.map(|_| ())
}

pub(crate) async fn get(db: &mut Db, id: KillId) -> Result<Option<KillRow>, sqlx::Error> {
    let row = sqlx::query("SELECT * FROM kills WHERE id = ?").bind(id.to_string()).fetch_optional(db).await?;
    row.as_ref().map(read).transpose()
}

/// Kills below a number, the newest first.
pub(crate) async fn list(
    db: &mut Db,
    below: i64,
    limit: i64,
    lifted: bool,
) -> Result<Vec<KillRow>, sqlx::Error> {
    let sql = "SELECT * FROM kills WHERE number < ? AND (? OR lift IS NULL) ORDER BY number DESC LIMIT ?";
    let rows = sqlx::query(sql).bind(below).bind(lifted).bind(limit).fetch_all(db).await?;
    rows.iter().map(read).collect()
}

/// Kills in force that stand in one document, the oldest first.
pub(crate) async fn in_force(db: &mut Db, place: &str) -> Result<Vec<Kill>, sqlx::Error> {
    let sql = "SELECT * FROM kills WHERE place = ? AND lift IS NULL ORDER BY number";
    let rows = sqlx::query(sql).bind(place).fetch_all(db).await?;
    rows.iter().map(|row| Ok(read(row)?.kill)).collect()
}

/// The newest lifts of kills that stood in one document, or with the empty place all of them; the oldest first.
pub(crate) async fn lifts(db: &mut Db, place: &str, limit: i64) -> Result<Vec<Lift>, sqlx::Error> {
    let sql = "SELECT * FROM kills WHERE (? = '' OR place = ?) AND lift IS NOT NULL \
               ORDER BY number DESC LIMIT ?";
    let rows = sqlx::query(sql).bind(place).bind(place).bind(limit).fetch_all(db).await?;
    let mut lifts: Vec<Lift> = rows
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .filter_map(|row| row.lift)
        .collect();
    lifts.reverse();
    Ok(lifts)
}

pub(crate) async fn lift(db: &mut Db, lift: &Lift, by: &str) -> Result<(), sqlx::Error> {
    let sql = "UPDATE kills SET lift = ?, lifted_by = ? WHERE id = ? AND lift IS NULL";
    let query = sqlx::query(sql).bind(to_json(lift)?).bind(by).bind(lift.kill.to_string());
    query.execute(db).await.map(|_| ())
}
