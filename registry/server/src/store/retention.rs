//! Telemetry is kept for a month. Gates then have a bounded number of rows to read, whatever an app has lived through.
//! Answers are kept for a week, for requests that come again.

use std::sync::Arc;

use sqlx::{QueryBuilder, Row, Sqlite};

use super::telemetry::Key;
use crate::failure::Failure;
use crate::registry::Registry;

/// Seconds that a row is kept after its host last reported it, and a minute after it was.
const KEPT_S: i64 = 30 * 86_400;
/// Seconds that an answer is kept.
const ANSWERS_S: i64 = 7 * 86_400;
/// Rows that one transaction forgets.
const PART: i64 = 500;

/// By key, once through the table in all parts together. An index by age would be written with every report.
const OLD: &str = "SELECT app, device, release_seq, boot FROM counters \
                   WHERE (app, device, release_seq, boot) > (?, ?, ?, ?) AND at < ? \
                   ORDER BY app, device, release_seq, boot LIMIT ?";
const FORGET_MINUTES: &str = "DELETE FROM minutes WHERE (app, release_seq, minute) IN \
                              (SELECT app, release_seq, minute FROM minutes WHERE minute < ? LIMIT ?)";
const FORGET_ANSWERS: &str = "DELETE FROM answers WHERE (token, idempotency_key) IN \
                              (SELECT token, idempotency_key FROM answers WHERE at < ? LIMIT ?)";

/// Forgets what is old enough. It is looked for by reading, and forgotten in small parts: nobody who wants to change
/// something waits for long.
pub(crate) async fn forget(registry: Arc<Registry>) -> Result<(), Failure> {
    let now = registry.unix();
    for (sql, before) in [(FORGET_ANSWERS, now - ANSWERS_S), (FORGET_MINUTES, now - KEPT_S)] {
        loop {
            let mut tx = registry.store.begin().await?;
            let gone = sqlx::query(sql).bind(before).bind(PART).execute(&mut *tx).await?;
            tx.commit().await?;
            if gone.rows_affected() == 0 {
                break;
            }
        }
    }
    registry.intake.settle().await?;
    let mut after = Key { app: String::new(), device: String::new(), release_seq: 0, boot: String::new() };
    loop {
        let old = old(&registry, &after, now - KEPT_S).await?;
        let Some(last) = old.last() else { return Ok(()) };
        after = last.clone();
        let mut query = forgetting(&old, now - KEPT_S);
        let mut tx = registry.store.begin().await?;
        query.build().execute(&mut *tx).await?;
        tx.commit().await?;
    }
}

/// The next rows that are old, after one of them.
async fn old(registry: &Registry, after: &Key, before: i64) -> Result<Vec<Key>, sqlx::Error> {
    let mut db = registry.store.read.acquire().await?;
    let query =
        sqlx::query(OLD).bind(&after.app).bind(&after.device).bind(after.release_seq).bind(&after.boot);
    let rows = query.bind(before).bind(PART).fetch_all(&mut *db).await?;
    let key = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Key {
            app: row.try_get("app")?,
            device: row.try_get("device")?,
            release_seq: row.try_get("release_seq")?,
            boot: row.try_get("boot")?,
        })
    };
    rows.iter().map(key).collect()
}

/// Deletes rows unless their host has reported them again by now. They are named by the table itself: a list of values
/// to compare with has the database look at every row that there is.
fn forgetting(rows: &[Key], before: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("WITH old (app, device, release_seq, boot) AS (");
    query.push_values(rows, |mut row, Key { app, device, release_seq, boot }| {
        row.push_bind(app.clone()).push_bind(device.clone()).push_bind(*release_seq).push_bind(boot.clone());
    });
    query.push(") DELETE FROM counters WHERE (app, device, release_seq, boot) IN ");
    query.push("(SELECT it.app, it.device, it.release_seq, it.boot FROM old CROSS JOIN counters it ");
    query.push("USING (app, device, release_seq, boot) WHERE it.at < ");
    query.push_bind(before).push(")");
    query
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::plan;

    /// What grows with the fleet is never gone through while others wait to write.
    #[tokio::test]
    async fn what_is_old_is_found_by_key() {
        let key = Key { app: "a".into(), device: "d".into(), release_seq: 1, boot: "b".into() };
        let counters = forgetting(&[key.clone(), key], 7).into_string();
        for (sql, values, table) in [
            (OLD, 6, "counters"),
            (FORGET_MINUTES, 2, "minutes"),
            (FORGET_ANSWERS, 2, "answers"),
            (&*counters, 9, "counters"),
        ] {
            let plan = plan(sql, values).await;
            let uses: Vec<_> = plan.iter().filter(|step| step.contains(table)).collect();
            assert!(
                !uses.is_empty() && uses.iter().all(|step| step.starts_with("SEARCH")),
                "{sql}: {plan:?}"
            );
        }
        // By the whole key, or all rows of a device would be gone through for each of them.
        let plan = plan(&counters, 9).await;
        assert!(plan[0].contains("boot=?"), "{plan:?}");
    }
}
