//! Telemetry: from hosts, and for people.

use std::sync::Arc;

use axum::extract::State;
use mpkg_fleet::{Batch, limits};
use mpkg_manifest::AppId;
use serde_json::Value;
use sqlx::Row;

use super::{Kind, PEOPLE, Route};
use crate::auth::Access;
use crate::call::{Answer, Call, ok};
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::{telemetry, uint};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Minute, MinutesQuery, Page, Received};

pub(super) fn routes() -> Vec<Route> {
    vec![
        // Hosts only: what anybody else reports is nobody's experience.
        Route::post("/v1/telemetry", Access::Roles(&[Role::Host]), Kind::Report, report)
            .says("Takes a batch of counters, and answers when it is committed.")
            .body::<Value>()
            .answer::<Received>(),
        Route::get("/v1/apps/{app_id}/telemetry", PEOPLE, minutes)
            .says("What came in, by release and minute, the oldest first.")
            .query::<MinutesQuery>()
            .answer::<Page<Minute>>(),
    ]
}

async fn report(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let bytes = call.bytes(limits::BATCH).await?;
    let batch = Batch::parse(&bytes).map_err(|error| Failure::rule(error.code(), &error))?;
    ok(&registry.intake.take(call.caller, batch).await?)
}

async fn minutes(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (app, query): (AppId, MinutesQuery) = (call.param("app_id")?, call.query()?);
    let back = i64::from(query.minutes.unwrap_or(60).clamp(1, 1_440));
    registry.intake.settle().await?;
    let mut db = registry.store.read.acquire().await?;
    let sql = "SELECT * FROM minutes WHERE app = ? AND minute > ? ORDER BY minute, release_seq";
    let rows =
        sqlx::query(sql).bind(app.as_str()).bind(registry.unix() - back * 60).fetch_all(&mut *db).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        let at = time(row.try_get("minute")?).ok_or(Refusal::Internal)?;
        items.push(Minute {
            release_seq: uint(row.try_get("release_seq")?),
            at,
            counters: telemetry::of_minute(&row)?,
        });
    }
    ok(&Page { items, next: None })
}
