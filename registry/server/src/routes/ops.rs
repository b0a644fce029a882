//! What operators of the machine ask for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{PEOPLE, Route};
use crate::auth::{Access, Caller};
use crate::call::{Answer, Call, ok};
use crate::failure::{Failure, Refusal};
use crate::openapi;
use crate::registry::Registry;
use crate::routes::{kills, rollouts};
use crate::store::{self, Db, RolloutRow, apps};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Nothing, RolloutView, Status};

/// Drafts that are shown.
const DRAFTS: i64 = 100;

pub(super) fn routes() -> Vec<Route> {
    let scrapers = Access::Roles(&[Role::Operator, Role::Admin]);
    vec![
        Route::get("/healthz", Access::Anyone, healthz).says("Whether the process runs.").answer::<Nothing>(),
        Route::get("/readyz", Access::Anyone, readyz).says("Whether it can answer.").answer::<Nothing>(),
        Route::get("/metrics", scrapers, metrics).says("OpenMetrics.").media("application/openmetrics-text"),
        Route::get("/v1/openapi.json", Access::Anyone, document).says("This document."),
        Route::get("/v1/status", PEOPLE, status).says("The fleet at a glance.").answer::<Status>(),
    ]
}

async fn healthz() -> Answer {
    ok(&Nothing {})
}

async fn readyz(State(registry): State<Arc<Registry>>) -> Answer {
    if registry.stopping.is_cancelled() {
        return Err(Refusal::Stopping.into());
    }
    let mut db = registry.store.read.acquire().await?;
    store::meta(&mut db, "epoch").await?;
    ok(&Nothing {})
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Answer {
    let head = registry.hub.at();
    let gauges = [
        ("mpkg_registry_listeners", "Open streams.", registry.hub.listeners() as u64),
        ("mpkg_registry_head_epoch", "Epoch of the newest fleet head.", head.epoch),
        ("mpkg_registry_head_seq", "Sequence of the newest fleet head.", head.seq),
    ];
    let text = registry.metrics.render(&gauges);
    Ok(([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response())
}

async fn document() -> Answer {
    Ok(([(header::CONTENT_TYPE, "application/json")], openapi::document()).into_response())
}

/// Those of apps within the caller's scope.
async fn mine(db: &mut Db, caller: &Caller, rows: Vec<RolloutRow>) -> Result<Vec<RolloutView>, Failure> {
    let mut mine = Vec::new();
    for row in rows {
        let app = apps::app(db, &row.rollout.app).await?;
        if app.is_some_and(|app| caller.app(&app.id, app.publisher).is_ok()) {
            mine.push(rollouts::view(&row));
        }
    }
    Ok(mine)
}

async fn status(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let mut db = registry.store.read.acquire().await?;
    let going = store::rollouts::going(&mut db).await?;
    let drafts = store::rollouts::drafts(&mut db, DRAFTS).await?;
    let kills = store::kills::list(&mut db, i64::MAX, 1_000, false).await?;
    let rollouts = mine(&mut db, &call.caller, going).await?;
    let drafts = mine(&mut db, &call.caller, drafts).await?;
    ok(&Status {
        registry: registry.id(),
        head: registry.hub.at(),
        listeners: registry.hub.listeners() as u64,
        rollouts,
        drafts,
        kills: kills.iter().map(kills::view).collect(),
    })
}
