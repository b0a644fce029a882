//! What operators of the machine ask for.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::{PEOPLE, Route};
use crate::auth::Access;
use crate::call::{Answer, Call, ok};
use crate::failure::Refusal;
use crate::openapi;
use crate::registry::Registry;
use crate::routes::{kills, rollouts};
use crate::store::{self, RolloutRow};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Nothing, Status};

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

async fn status(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let mut db = registry.store.read.acquire().await?;
    let going = store::rollouts::going(&mut db).await?;
    let drafts = store::rollouts::drafts(&mut db, DRAFTS).await?;
    let kills = store::kills::list(&mut db, i64::MAX, 1_000, false).await?;
    let mine = |rows: Vec<RolloutRow>| {
        let mine = rows.iter().filter(|row| call.caller.app(&row.rollout.app).is_ok());
        mine.map(rollouts::view).collect()
    };
    ok(&Status {
        registry: registry.id(),
        head: registry.hub.at(),
        listeners: registry.hub.listeners() as u64,
        rollouts: mine(going),
        drafts: mine(drafts),
        kills: kills.iter().map(kills::view).collect(),
    })
}
