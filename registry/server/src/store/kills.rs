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

const NEXT_NUMBER: &str = "SELECT COALESCE(MAX(number), 0) + 1 FROM kills";

/// The number of the next kill, which makes its id another one than that of any before.
pub(crate) async fn next_number(db: &mut Db) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar(NEXT_NUMBER).fetch_one(db).await
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

const IN_FORCE: &str = "SELECT * FROM kills WHERE place = ? AND lift IS NULL ORDER BY number";

/// Kills in force that stand in one document, the oldest first.
pub(crate) async fn in_force(db: &mut Db, place: &str) -> Result<Vec<KillRow>, sqlx::Error> {
    sqlx::query(IN_FORCE).bind(place).fetch_all(db).await?.iter().map(read).collect()
}

const LIFTS: &str = "SELECT lift FROM kills WHERE lift IS NOT NULL ORDER BY lifted DESC LIMIT ?";
const LIFTS_OF: &str =
    "SELECT lift FROM kills WHERE place = ? AND lift IS NOT NULL ORDER BY lifted DESC LIMIT ?";

/// The newest lifts of kills that stood in one document, or with the empty place all of them; the oldest first. As many
/// as fit both limits.
pub(crate) async fn lifts(
    db: &mut Db,
    place: &str,
    limit: i64,
    bytes: usize,
) -> Result<Vec<Lift>, sqlx::Error> {
    let query = if place.is_empty() {
        sqlx::query_scalar(LIFTS).bind(limit)
    } else {
        sqlx::query_scalar(LIFTS_OF).bind(place).bind(limit)
    };
    let newest: Vec<String> = query.fetch_all(db).await?;
    let mut length = 0;
    let fit = newest.iter().take_while(|text| {
        length += text.len() + 1;
        length <= bytes
    });
    let mut lifts = fit.map(|text| json(text, "lift")).collect::<Result<Vec<_>, _>>()?;
    lifts.reverse();
    Ok(lifts)
}

const NEXT_LIFT: &str = "SELECT COALESCE(MAX(lifted), 0) + 1 FROM kills WHERE lift IS NOT NULL";

pub(crate) async fn lift(db: &mut Db, lift: &Lift, by: &str) -> Result<(), sqlx::Error> {
    let next: i64 = sqlx::query_scalar(NEXT_LIFT).fetch_one(&mut *db).await?;
    let sql = "UPDATE kills SET lift = ?, lifted_by = ?, lifted = ? WHERE id = ? AND lift IS NULL";
    let query = sqlx::query(sql).bind(to_json(lift)?).bind(by).bind(next);
    query.bind(lift.kill.to_string()).execute(db).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::plan;

    /// Rows stay for ever, and no stop may take longer for it.
    #[tokio::test]
    async fn no_stop_goes_through_all_kills_that_ever_were() {
        for (sql, values) in [(NEXT_NUMBER, 0), (IN_FORCE, 1), (LIFTS, 1), (LIFTS_OF, 2), (NEXT_LIFT, 0)] {
            let plan = plan(sql, values).await;
            assert!(plan.iter().all(|step| step.contains("INDEX kills_")), "{sql}: {plan:?}");
        }
    }
}
