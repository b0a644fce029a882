//! Apps: claimed, and found.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use mpkg_manifest::AppId;
use serde_json::json;

use super::{ALL, Kind, PEOPLE, Part, Route, releases};
use crate::auth::{Access, Caller};
use crate::call::{Answer, Call, ok};
use crate::change::Begun;
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::{self, AppRow, Db, apps};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{AppView, NewApp, Page, Paging, ReleaseView};

pub(super) fn routes() -> Vec<Route> {
    let publisher = Access::Roles(&[Role::Publisher, Role::Admin]);
    vec![
        Route::post("/v1/apps", publisher, Kind::Change, claim)
            .says("Claims an app id for a publisher. The first claim wins.")
            .body::<NewApp>()
            .answer::<AppView>(),
        Route::get("/v1/apps", PEOPLE, list).says("Lists apps.").query::<Paging>().answer::<Page<AppView>>(),
        Route::get("/v1/apps/{app_id}", ALL, get).says("An app.").answer::<AppView>(),
        Route::get("/v1/search", ALL, search)
            .says("The newest release of each app whose id, name or description holds `q`.")
            .query::<Paging>()
            .answer::<Page<ReleaseView>>(),
    ]
}

fn view(row: &AppRow) -> Result<AppView, Failure> {
    Ok(AppView {
        app_id: row.id.clone(),
        publisher: row.publisher,
        claimed: time(row.claimed).ok_or(Refusal::Internal)?,
        newest_seq: row.newest_seq,
        in_charge: row.in_charge,
    })
}

/// An app, if it is within the caller's scope.
pub(crate) async fn in_scope(db: &mut Db, caller: &Caller, id: &AppId) -> Result<AppRow, Failure> {
    let app = apps::app(db, id).await?.ok_or_else(|| Refusal::NoApp(id.clone()))?;
    caller.app(id, app.publisher)?;
    Ok(app)
}

/// Refuses what reaches further than the caller's scope: an app outside of it, and, where it has bounds, everything that
/// is about the whole fleet or about an app that nobody claimed.
pub(crate) async fn within(db: &mut Db, caller: &Caller, app: Option<&AppId>) -> Result<(), Failure> {
    let claimed = match app {
        Some(id) => apps::app(db, id).await?,
        None => None,
    };
    match claimed {
        Some(app) => Ok(caller.app(&app.id, app.publisher)?),
        None => Ok(caller.fleet()?),
    }
}

async fn claim(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (new, body) = call.json::<NewApp>().await?;
    call.caller.app(&new.app_id, new.publisher)?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    apps::publisher(change.db(), new.publisher).await?.ok_or(Refusal::NoPublisher(new.publisher))?;
    let known = apps::app(change.db(), &new.app_id).await?;
    if known.as_ref().is_some_and(|known| known.publisher != new.publisher) {
        return Err(Refusal::Claimed(new.app_id).into());
    }
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    if known.is_none() {
        let at = change.at.unix();
        apps::claim(change.db(), &new.app_id, new.publisher, at).await?;
        change.audit("app.claim", new.app_id.as_str(), &json!({ "publisher": new.publisher })).await?;
    }
    let row = apps::app(change.db(), &new.app_id).await?.ok_or(Refusal::Internal)?;
    let view = view(&row)?;
    change.done(status, &view).await
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let paging: Paging = call.query()?;
    let mut db = registry.store.read.acquire().await?;
    let rows = apps::apps(&mut db, paging.name(), paging.limit()).await?;
    let next = paging.next(&rows, |row| row.id.to_string());
    let items = rows.iter().map(view).collect::<Result<_, _>>()?;
    ok(&Page { items, next })
}

async fn get(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let id: AppId = call.param("app_id")?;
    let mut db = registry.store.read.acquire().await?;
    let row = apps::app(&mut db, &id).await?.ok_or(Refusal::NoApp(id))?;
    ok(&view(&row)?)
}

async fn search(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let paging: Paging = call.query()?;
    let wanted = paging.q.as_deref().unwrap_or_default();
    if wanted.len() > 200 {
        let reason = "it has more than 200 bytes".into();
        return Err(Refusal::Parameter { name: "q".into(), reason }.into());
    }
    let mut db = registry.store.read.acquire().await?;
    let rows = store::releases::search(&mut db, wanted, paging.name(), paging.limit()).await?;
    let next = paging.next(&rows, |row| row.app.to_string());
    let items = rows.iter().map(releases::view).collect::<Result<_, _>>()?;
    ok(&Page { items, next })
}
