//! Kill switches.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use mpkg_fleet::{Kill, KillId, Lift, StreamEvent, Subject, Verb, change_hash, limits};
use mpkg_package::Hash;
use semver::Version;

use super::apps::within;
use super::{Kind, PEOPLE, Part, Route};
use crate::auth::Access;
use crate::call::{Answer, Call, ok, ok_at};
use crate::change::Begun;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::documents::HEAD;
use crate::store::{AppRow, Db, KillRow, apps, kills, people, releases, uint};
use crate::{gates, signing};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Because, Drill, DrillHit, KillView, NewKill, Page, Paging};

/// Kills of single apps in the head. The other half is for kills of the whole fleet, which nobody who may switch off one
/// app can use up.
const OF_APPS: usize = limits::KILLS / 2;
const DAY_S: i64 = 86_400;

pub(super) fn routes() -> Vec<Route> {
    let stop = Access::Roles(&[Role::Operator, Role::Admin]);
    vec![
        Route::post("/v1/kills", stop, Kind::Stop, kill)
            .says("Switches something off, now. What is off in this way already is given back with 200.")
            .body::<NewKill>()
            .answer::<KillView>(),
        Route::post("/v1/kills/drill", PEOPLE, Kind::Report, drill)
            .says("Whom a kill would hit. Nothing happens.")
            .body::<NewKill>()
            .answer::<Drill>(),
        Route::get("/v1/kills", PEOPLE, list)
            .says("Lists kills in force, the newest first.")
            .query::<Paging>()
            .answer::<Page<KillView>>(),
        Route::get("/v1/kills/{id}", PEOPLE, get).says("A kill.").answer::<KillView>(),
        Route::post("/v1/kills/{id}/lift", Access::Roles(&[Role::Releaser, Role::Admin]), Kind::Go, lift)
            .says("Ends a kill for ever.")
            .body::<Because>()
            .answer::<KillView>(),
    ]
}

pub(crate) fn view(row: &KillRow) -> KillView {
    KillView {
        id: row.kill.id(),
        kill: row.kill.clone(),
        ordered_by: row.ordered_by.clone(),
        lift: row.lift.clone(),
        lifted_by: row.lifted_by.clone(),
    }
}

fn etag(row: &KillRow) -> &'static str {
    if row.lift.is_some() { "\"1\"" } else { "\"0\"" }
}

/// What approvals of a lift are bound to.
pub(crate) fn lift_hash(id: KillId) -> Hash {
    change_hash(&format!("kill.{id}"), 0, &"lift")
}

async fn kill(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (new, body) = call.json::<NewKill>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let number = kills::next_number(change.db()).await?;
    let kill = Kill {
        level: new.level,
        scope: new.scope,
        reason: new.reason,
        issued: change.at,
        nonce: uint(number),
    };
    kill.check().map_err(|error| Failure::rule(error.code(), &error))?;
    within(change.db(), &call.caller, kill.scope.app.as_ref()).await?;

    let mut app = match &kill.scope.app {
        Some(id) => apps::app(change.db(), id).await?,
        None => None,
    };
    let head = kills::in_force(change.db(), HEAD).await?;
    let mut known = match &app {
        Some(app) => kills::in_force(change.db(), app.id.as_str()).await?,
        None => Vec::new(),
    };
    let of_apps = head.iter().filter(|row| row.kill.scope.app.is_some()).count();
    let in_head = head.len();
    known.extend(head);
    let same = |row: &&KillRow| row.kill.level == kill.level && row.kill.scope == kill.scope;
    if let Some(row) = known.iter().find(same) {
        // Twice would stop nothing more, and take the place of another one.
        change.audit("kill", &row.kill.id().to_string(), &row.kill).await?;
        let view = view(row);
        return change.done_at(StatusCode::OK, etag(row).into(), &view).await;
    }
    if let Some(found) = &app
        && !signing::fits(&mut change, found, &kill).await?
    {
        app = None;
    }
    if app.is_none() && in_head >= limits::KILLS {
        return Err(Refusal::KillsFull { limit: limits::KILLS, what: "kills" }.into());
    }
    if app.is_none() && kill.scope.app.is_some() && of_apps >= OF_APPS {
        return Err(Refusal::KillsFull { limit: OF_APPS, what: "further kills of apps" }.into());
    }
    let place = app.as_ref().map_or(HEAD.to_owned(), |app| app.id.to_string());
    let ordered_by = change.caller.owner.clone();
    let row = KillRow { place, kill, ordered_by, lift: None, lifted_by: None, number };
    kills::insert(change.db(), &row).await?;
    change.audit("kill", &row.kill.id().to_string(), &row.kill).await?;
    // First the notice, which hosts can judge without knowing anything else, then the documents that keep it.
    let notice = signing::stop_notice(&registry, change.at, vec![row.kill.clone()])?;
    change.announce(StreamEvent::Stop { notice });
    match &app {
        Some(app) => signing::app(&mut change, app).await?,
        None => signing::head(&mut change, Vec::new()).await?,
    };
    let view = view(&row);
    change.done_at(StatusCode::CREATED, etag(&row).into(), &view).await
}

/// The releases that a kill is about, on some host.
async fn hits(db: &mut Db, kill: &Kill) -> Result<Drill, Failure> {
    let (mut found, mut all) = (Vec::new(), BTreeSet::new());
    if let Some(id) = &kill.scope.app {
        if let Some(app) = apps::app(db, id).await? {
            found = hits_of(db, kill, &app, &mut all).await?;
        }
        return Ok(Drill { hits: found, devices: all.len() as u64 });
    }
    let mut after = String::new();
    loop {
        let page = apps::apps(db, &after, 200).await?;
        let Some(last) = page.last() else { break };
        after = last.id.to_string();
        for app in &page {
            found.extend(hits_of(db, kill, app, &mut all).await?);
        }
    }
    Ok(Drill { hits: found, devices: all.len() as u64 })
}

/// The releases of an app that it is about, the newest first. The devices come to the others.
async fn hits_of(
    db: &mut Db,
    kill: &Kill,
    app: &AppRow,
    all: &mut BTreeSet<String>,
) -> Result<Vec<DrillHit>, Failure> {
    let mut hits = Vec::new();
    for row in releases::releases(db, &app.id, u64::MAX, 1_000, true).await? {
        let release_seq = row.release.release_seq;
        if about(kill, &row.release.version, release_seq, app) {
            let version = row.release.version.to_string();
            hits.push(DrillHit { app_id: app.id.clone(), release_seq, version, devices: 0 });
        }
    }
    if !hits.is_empty() {
        // By release, the newest first, as the hits are.
        let count = |release_seq: u64, device: String| {
            let hit = hits.binary_search_by(|hit| release_seq.cmp(&hit.release_seq));
            if let Some(hit) = hit.ok().and_then(|index| hits.get_mut(index)) {
                hit.devices += 1;
                all.insert(device);
            }
        };
        gates::devices(db, app.id.as_str(), kill.issued.unix() - DAY_S, count).await?;
    }
    Ok(hits)
}

fn about(kill: &Kill, version: &Version, release_seq: u64, app: &AppRow) -> bool {
    let mut anywhere = kill.clone();
    anywhere.scope.platforms.clear();
    anywhere.scope.host_versions = None;
    let host_version = &Version::new(0, 0, 0);
    anywhere.matches(&Subject { app: &app.id, release_seq, version, platform: "", host_version })
}

async fn drill(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (new, _) = call.json::<NewKill>().await?;
    let issued = registry.time()?;
    let kill = Kill { level: new.level, scope: new.scope, reason: new.reason, issued, nonce: 0 };
    kill.check().map_err(|error| Failure::rule(error.code(), &error))?;
    registry.intake.settle().await?;
    let (_turn, mut db) = registry.store.read_long().await?;
    ok(&hits(&mut db, &kill).await?)
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let paging: Paging = call.query()?;
    let mut db = registry.store.read.acquire().await?;
    let below = paging.number()?.unwrap_or(i64::MAX);
    let rows = kills::list(&mut db, below, paging.limit(), paging.all.unwrap_or_default()).await?;
    let next = paging.next(&rows, |row| row.number.to_string());
    ok(&Page { items: rows.iter().map(view).collect(), next })
}

fn id(call: &Call) -> Result<KillId, Failure> {
    let text: String = call.param("id")?;
    Ok(Hash::from_hex(&text).map(KillId).ok_or(Refusal::NoKill)?)
}

async fn get(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let mut db = registry.store.read.acquire().await?;
    let row = kills::get(&mut db, id(&call)?).await?.ok_or(Refusal::NoKill)?;
    ok_at(etag(&row), &view(&row))
}

async fn lift(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let id = id(&call)?;
    let (Because { reason }, body) = call.json().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let row = kills::get(change.db(), id).await?.ok_or(Refusal::NoKill)?;
    within(change.db(), &call.caller, row.kill.scope.app.as_ref()).await?;
    call.expect(etag(&row))?;
    if row.lift.is_some() {
        return Err(Refusal::Stale { current: etag(&row).into() }.into());
    }
    let (hash, author) = (lift_hash(id), change.caller.owner.clone());
    let approvals = people::approvals(change.db(), hash).await?;
    let agreed = registry.config.approvals.check(Verb::Lift, &author, hash, &approvals);
    agreed.map_err(|error| Failure::conflict(error.code(), &error))?;

    let lift = Lift { kill: id, issued: change.at, reason };
    kills::lift(change.db(), &lift, &author).await?;
    change.audit("lift", &id.to_string(), &lift).await?;
    let app = match row.place.parse() {
        Ok(place) => apps::app(change.db(), &place).await?,
        Err(_) => None,
    };
    match &app {
        Some(app) => signing::app(&mut change, app).await?,
        None => signing::head(&mut change, Vec::new()).await?,
    };
    let row = kills::get(change.db(), id).await?.ok_or(Refusal::Internal)?;
    let view = view(&row);
    change.done_at(StatusCode::OK, etag(&row).into(), &view).await
}
