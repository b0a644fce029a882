//! Telemetry is kept for a month. Gates then have a bounded number of rows to read, whatever an app has lived through.

use std::sync::Arc;

use sqlx::{QueryBuilder, Row, Sqlite};

use crate::failure::Failure;
use crate::registry::Registry;

/// Seconds that a row is kept after its host last reported it, and a minute after it was.
const KEPT_S: i64 = 30 * 86_400;
/// Rows that are looked for at once, and that one transaction forgets.
const FOUND: i64 = 10_000;
const PART: usize = 500;

/// Forgets what is old enough. It is looked for by reading, and forgotten in small parts: nobody who wants to change
/// something waits for long.
pub(crate) async fn forget(registry: Arc<Registry>) -> Result<(), Failure> {
    let before = registry.unix() - KEPT_S;
    registry.intake.settle().await?;
    loop {
        let mut db = registry.store.read.acquire().await?;
        let sql = "SELECT app, device, release_seq, boot FROM counters WHERE at < ? LIMIT ?";
        let old = sqlx::query(sql).bind(before).bind(FOUND).fetch_all(&mut *db).await?;
        drop(db);
        for part in old.chunks(PART) {
            let mut query = QueryBuilder::<Sqlite>::new("DELETE FROM counters WHERE at < ");
            query.push_bind(before).push(" AND (app, device, release_seq, boot) IN (VALUES ");
            let mut keys = query.separated(", ");
            for row in part {
                keys.push("(").push_bind_unseparated(row.try_get::<&str, _>("app")?).push_unseparated(", ");
                keys.push_bind_unseparated(row.try_get::<&str, _>("device")?).push_unseparated(", ");
                keys.push_bind_unseparated(row.try_get::<i64, _>("release_seq")?).push_unseparated(", ");
                keys.push_bind_unseparated(row.try_get::<&str, _>("boot")?).push_unseparated(")");
            }
            query.push(")");
            let mut tx = registry.store.begin().await?;
            query.build().execute(&mut *tx).await?;
            tx.commit().await?;
        }
        if old.is_empty() {
            break;
        }
    }
    let mut tx = registry.store.begin().await?;
    sqlx::query("DELETE FROM minutes WHERE minute < ?").bind(before).execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}
