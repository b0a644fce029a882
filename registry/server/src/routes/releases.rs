//! Releases: published, reviewed, yanked, listed.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use mpkg_manifest::AppId;
use serde_json::json;

use super::apps::in_scope;
use super::{ALL, Kind, Part, Route};
use crate::auth::{Access, Caller};
use crate::call::{Answer, Call, ok};
use crate::change::Begun;
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::publish;
use crate::registry::Registry;
use crate::store::{ReleaseRow, apps, json, releases, uint};
use mpkg_registry_client::wire::Review;
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Because, NewReview, Page, Paging, ReleaseView};

pub(super) fn routes() -> Vec<Route> {
    let publisher = Access::Roles(&[Role::Publisher, Role::Admin]);
    let reviewer = Access::Roles(&[Role::Reviewer, Role::Admin]);
    vec![
        Route::post("/v1/apps/{app_id}/releases", publisher, Kind::Change, publish)
            .says("Publishes a release: the signed package.")
            .upload()
            .answer::<ReleaseView>(),
        Route::get("/v1/apps/{app_id}/releases", ALL, list)
            .says("Lists an app's releases, the newest first.")
            .query::<Paging>()
            .answer::<Page<ReleaseView>>(),
        Route::get("/v1/apps/{app_id}/releases/{release_seq}", ALL, get)
            .says("A release.")
            .answer::<ReleaseView>(),
        Route::post("/v1/apps/{app_id}/releases/{release_seq}/yank", publisher, Kind::Change, yank)
            .says("Hides a release from lists and new rollouts, and keeps it.")
            .body::<Because>()
            .answer::<ReleaseView>(),
        Route::post("/v1/apps/{app_id}/releases/{release_seq}/review", reviewer, Kind::Change, review)
            .says("Approves or rejects a release.")
            .body::<NewReview>()
            .answer::<ReleaseView>(),
    ]
}

pub(crate) fn view(row: &ReleaseRow) -> Result<ReleaseView, Failure> {
    Ok(ReleaseView {
        app_id: row.app.clone(),
        release: row.release.clone(),
        name: row.name.clone(),
        description: row.description.clone(),
        permissions: json(&row.permissions, "set of permissions")?,
        review: row.review,
        review_reason: row.review_reason.clone(),
        yanked: row.yanked.clone(),
        published: time(row.published).ok_or(Refusal::Internal)?,
        published_by: row.published_by.clone(),
    })
}

/// Whether somebody may see what is not reviewed.
pub(crate) fn may_see(caller: &Caller, row: &ReleaseRow) -> bool {
    let insider = [Role::Publisher, Role::Reviewer, Role::Admin].into_iter().any(|role| caller.has(role));
    row.review == Review::Approved || (insider && caller.app(&row.app, row.publisher).is_ok())
}

fn missing(app: &AppId, release_seq: u64) -> Refusal {
    Refusal::NoRelease { app: app.clone(), release: release_seq.to_string() }
}

async fn publish(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    publish::publish(&registry, call).await
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (app, paging): (AppId, Paging) = (call.param("app_id")?, call.query()?);
    let mut db = registry.store.read.acquire().await?;
    apps::app(&mut db, &app).await?.ok_or_else(|| Refusal::NoApp(app.clone()))?;
    let below = paging.number()?.map_or(u64::MAX, uint);
    let rows =
        releases::releases(&mut db, &app, below, paging.limit(), paging.all.unwrap_or_default()).await?;
    let next = paging.next(&rows, |row| row.release.release_seq.to_string());
    let seen = rows.iter().filter(|row| may_see(&call.caller, row));
    let items = seen.map(view).collect::<Result<_, _>>()?;
    ok(&Page { items, next })
}

async fn get(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (app, release_seq): (AppId, u64) = (call.param("app_id")?, call.param("release_seq")?);
    let mut db = registry.store.read.acquire().await?;
    let row = releases::release(&mut db, &app, release_seq).await?;
    let row = row.filter(|row| may_see(&call.caller, row)).ok_or_else(|| missing(&app, release_seq))?;
    ok(&view(&row)?)
}

async fn yank(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (app, release_seq): (AppId, u64) = (call.param("app_id")?, call.param("release_seq")?);
    let (because, body) = call.json::<Because>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    in_scope(change.db(), &call.caller, &app).await?;
    let row = releases::release(change.db(), &app, release_seq).await?;
    let row = row.ok_or_else(|| missing(&app, release_seq))?;
    if row.yanked.is_some() {
        return ok(&view(&row)?);
    }
    releases::yank(change.db(), &app, release_seq, &because.reason).await?;
    change.audit("release.yank", &format!("{app}@{release_seq}"), &because).await?;
    let row = releases::release(change.db(), &app, release_seq).await?.ok_or(Refusal::Internal)?;
    let view = view(&row)?;
    change.done(StatusCode::OK, &view).await
}

async fn review(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (app, release_seq): (AppId, u64) = (call.param("app_id")?, call.param("release_seq")?);
    let (new, body) = call.json::<NewReview>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    in_scope(change.db(), &call.caller, &app).await?;
    let row = releases::release(change.db(), &app, release_seq).await?;
    let row = row.ok_or_else(|| missing(&app, release_seq))?;
    if row.review != Review::Pending {
        return Err(Refusal::Reviewed { state: row.review.name().into() }.into());
    }
    let decision = if new.approve { Review::Approved } else { Review::Rejected };
    releases::set_review(change.db(), &app, release_seq, decision, &new.reason).await?;
    let detail = json!({ "decision": decision, "reason": new.reason });
    change.audit("release.review", &format!("{app}@{release_seq}"), &detail).await?;
    let row = releases::release(change.db(), &app, release_seq).await?.ok_or(Refusal::Internal)?;
    let view = view(&row)?;
    change.done(StatusCode::OK, &view).await
}
