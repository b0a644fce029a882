//! What of an app runs on no host: releases below its floor, and disabled packages.
//!
//! Both are stops, and the floor never falls. Enabling a package again goes, so it takes a version and people.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use mpkg_fleet::{Verb, change_hash};
use mpkg_manifest::AppId;
use mpkg_package::Hash;
use serde_json::json;

use super::apps::in_scope;
use super::{Kind, PEOPLE, Route};
use crate::auth::Access;
use crate::call::{Answer, Call, ok_at};
use crate::change::{Begun, Change};
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::signing;
use crate::store::disabled::{self, DisabledRow};
use crate::store::{AppRow, Db, apps, people};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{AppLimits, Because, Disabled, NewDisabled, NewFloor};

pub(super) fn routes() -> Vec<Route> {
    let stop = Access::Roles(&[Role::Operator, Role::Releaser, Role::Admin]);
    let go = Access::Roles(&[Role::Releaser, Role::Admin]);
    vec![
        Route::get("/v1/apps/{app_id}/limits", PEOPLE, get)
            .says("An app's floor and disabled packages.")
            .answer::<AppLimits>(),
        Route::post("/v1/apps/{app_id}/floor", stop, Kind::Stop, raise)
            .says("Raises the floor: no release below it runs any more, for ever.")
            .body::<NewFloor>()
            .answer::<AppLimits>(),
        Route::post("/v1/apps/{app_id}/disable", stop, Kind::Stop, disable)
            .says("Disables a package: it is not launched any more.")
            .body::<NewDisabled>()
            .answer::<AppLimits>(),
        Route::post("/v1/apps/{app_id}/disabled/{sha256}/enable", go, Kind::Go, enable)
            .says("Enables a disabled package again.")
            .body::<Because>()
            .answer::<AppLimits>(),
    ]
}

async fn view(db: &mut Db, app: &AppRow) -> Result<(String, AppLimits), Failure> {
    let rows = disabled::of_app(db, &app.id).await?;
    let newest = rows.last().map_or(0, |row| row.number);
    // Another one whenever something is added or taken away: numbers are never given twice.
    let etag = format!("\"{}-{}-{newest}\"", app.min_seq, rows.len());
    let mut disabled = Vec::new();
    for DisabledRow { number, sha256, reason, disabled_by, at } in rows {
        let at = time(at).ok_or(Refusal::Internal)?;
        disabled.push(Disabled { number, sha256, reason, disabled_by, at });
    }
    Ok((etag, AppLimits { app_id: app.id.clone(), min_seq: app.min_seq, disabled }))
}

async fn get(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let id: AppId = call.param("app_id")?;
    let mut db = registry.store.read.acquire().await?;
    let app = apps::app(&mut db, &id).await?.ok_or(Refusal::NoApp(id))?;
    let (etag, view) = view(&mut db, &app).await?;
    ok_at(&etag, &view)
}

/// The app to change, within the caller's scope.
async fn to_change(change: &mut Change<'_>, call: &Call) -> Result<AppRow, Failure> {
    in_scope(change.db(), &call.caller, &call.param("app_id")?).await
}

/// Signs the app's state if anything of it changed, and answers with it.
async fn finish(mut change: Change<'_>, id: &AppId, changed: bool) -> Answer {
    let app = apps::app(change.db(), id).await?.ok_or(Refusal::Internal)?;
    if changed {
        signing::app(&mut change, &app).await?;
    }
    let (etag, view) = view(change.db(), &app).await?;
    change.done_at(StatusCode::OK, etag, &view).await
}

async fn raise(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (new, body) = call.json::<NewFloor>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let app = to_change(&mut change, &call).await?;
    // A floor never falls: with a number too many no release of the app would ever run again.
    if new.min_seq > app.newest_seq + 1 {
        let reason = format!("the floor is at most {}, one above the newest release", app.newest_seq + 1);
        return Err(Refusal::Body(reason).into());
    }
    apps::raise_floor(change.db(), &app.id, new.min_seq).await?;
    change.audit("app.floor", app.id.as_str(), &new).await?;
    finish(change, &app.id, new.min_seq > app.min_seq).await
}

async fn disable(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (NewDisabled { sha256, reason }, body) = call.json().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let app = to_change(&mut change, &call).await?;
    let off = disabled::of_app(change.db(), &app.id).await?.iter().any(|row| row.sha256 == sha256);
    if !off {
        let (disabled_by, at) = (change.caller.owner.clone(), change.at.unix());
        let row = DisabledRow { number: 0, sha256, reason: reason.to_string(), disabled_by, at };
        disabled::insert(change.db(), &app.id, &row).await?;
    }
    let detail = json!({ "sha256": sha256, "reason": reason });
    change.audit("package.disable", app.id.as_str(), &detail).await?;
    finish(change, &app.id, !off).await
}

/// What approvals of enabling a package are bound to.
pub(crate) fn enable_hash(number: i64) -> Hash {
    change_hash(&format!("disabled.{number}"), 0, &"enable")
}

/// The row of a disabled package.
pub(crate) async fn find(db: &mut Db, app: &AppId, sha256: Hash) -> Result<DisabledRow, Failure> {
    let found = disabled::of_app(db, app).await?.into_iter().find(|row| row.sha256 == sha256);
    Ok(found.ok_or_else(|| Refusal::NotDisabled { app: app.clone(), sha256 })?)
}

async fn enable(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let sha256: String = call.param("sha256")?;
    let form = || Refusal::Parameter {
        name: "sha256".into(),
        reason: "expected 64 lower-case hexadecimal digits".into(),
    };
    let sha256 = Hash::from_hex(&sha256).ok_or_else(form)?;
    let (because, body) = call.json::<Because>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let app = to_change(&mut change, &call).await?;
    let (etag, _) = view(change.db(), &app).await?;
    call.expect(&etag)?;
    let row = find(change.db(), &app.id, sha256).await?;
    let (hash, author) = (enable_hash(row.number), change.caller.owner.clone());
    let approvals = people::approvals(change.db(), hash).await?;
    let agreed = registry.config.approvals.check(Verb::Lift, &author, hash, &approvals);
    agreed.map_err(|error| Failure::conflict(error.code(), &error))?;
    disabled::enable(change.db(), row.number, &author).await?;
    let detail = json!({ "sha256": sha256, "reason": because.reason });
    change.audit("package.enable", app.id.as_str(), &detail).await?;
    finish(change, &app.id, true).await
}
