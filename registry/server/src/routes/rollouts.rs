//! Rollouts: drafted, commanded, watched.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use data_encoding::BASE32_NOPAD;
use mpkg_fleet::{
    Command, Evidence, GateInputs, Plan, Rates, Rollout, Targeting, Token, Traffic, Verb, allow_hash,
    evaluate, forecast, limits, replay,
};
use mpkg_manifest::AppId;
use serde_json::Value;

use super::apps::in_scope;
use super::{Kind, PEOPLE, Part, Route};
use crate::auth::Access;
use crate::call::{Answer, Call, ok, ok_at};
use crate::change::{Begun, Change};
use crate::clock::time;
use crate::failure::{Failure, Refusal};
use crate::registry::Registry;
use crate::store::{RolloutRow, apps, evidence, rollouts};
use crate::{gates, rollouts as verbs};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{
    Because, Commanded, EvidenceView, HowToAdvance, NewRollback, NewRollout, Nothing, Page, Paging,
    RolloutView, TrafficQuery,
};

pub(super) fn routes() -> Vec<Route> {
    let go = Access::Roles(&[Role::Releaser, Role::Admin]);
    // Whoever may let something go may stop it too.
    let stop = Access::Roles(&[Role::Operator, Role::Releaser, Role::Admin]);
    vec![
        Route::post("/v1/apps/{app_id}/rollouts", go, Kind::Change, draft)
            .says("Drafts a rollout.")
            .body::<NewRollout>()
            .answer::<RolloutView>(),
        Route::get("/v1/apps/{app_id}/rollouts", PEOPLE, list)
            .says("Lists an app's rollouts, the newest first.")
            .query::<Paging>()
            .answer::<Page<RolloutView>>(),
        Route::get("/v1/rollouts/{id}", PEOPLE, get).says("A rollout.").answer::<RolloutView>(),
        Route::get("/v1/rollouts/{id}/plan", PEOPLE, plan)
            .says("What its plan can detect at this traffic, and how long it takes.")
            .query::<TrafficQuery>()
            .answer::<Value>(),
        Route::get("/v1/rollouts/{id}/gate", PEOPLE, gate)
            .says("What gates would decide now.")
            .answer::<Value>(),
        Route::get("/v1/rollouts/{id}/evidence", PEOPLE, list_evidence)
            .says("What gates decided and by what, the newest first; each is decided again.")
            .query::<Paging>()
            .answer::<Page<EvidenceView>>(),
        Route::get("/v1/rollouts/{id}/evidence/{number}", PEOPLE, replay_evidence)
            .says("One record of that, decided again.")
            .answer::<EvidenceView>(),
        Route::post("/v1/rollouts/{id}/start", go, Kind::Go, start)
            .says("Goes to the first step, and supersedes the rollout in charge of the app.")
            .body::<Nothing>()
            .answer::<Commanded>(),
        Route::post("/v1/rollouts/{id}/advance", go, Kind::Go, advance)
            .says("Goes to the next step.")
            .body::<HowToAdvance>()
            .answer::<Commanded>(),
        Route::post("/v1/rollouts/{id}/resume", go, Kind::Go, resume)
            .says("Goes on after a hold or a halt.")
            .body::<Nothing>()
            .answer::<Commanded>(),
        Route::post("/v1/rollouts/{id}/complete", go, Kind::Go, complete)
            .says("Makes the release everybody's.")
            .body::<Nothing>()
            .answer::<Commanded>(),
        Route::post("/v1/rollouts/{id}/hold", stop, Kind::Stop, hold)
            .says("Stays on the step.")
            .body::<Because>()
            .answer::<Commanded>(),
        Route::post("/v1/rollouts/{id}/halt", stop, Kind::Stop, halt)
            .says("Nobody new.")
            .body::<Because>()
            .answer::<Commanded>(),
        Route::post("/v1/rollouts/{id}/rollback", stop, Kind::Stop, rollback)
            .says("Everybody back, to an earlier release that was everybody's. One that never started is halted.")
            .body::<NewRollback>()
            .answer::<Commanded>(),
    ]
}

pub(crate) fn view(row: &RolloutRow) -> RolloutView {
    RolloutView {
        id: row.id,
        rollout: row.rollout.clone(),
        targeting: row.targeting.clone(),
        automatic: row.automatic,
        started: row.started.and_then(time),
        author: row.author.clone(),
    }
}

/// A new salt for each rollout, so that the unlucky are not always the same.
fn salt() -> Result<Token, Failure> {
    let mut bytes = [0_u8; 10];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal(&error))?;
    let text = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
    text.parse().map_err(|error| Failure::internal(&error))
}

fn targeting(new: &NewRollout, salt: &Token) -> Result<Targeting, Failure> {
    let mut targeting = new.targeting.clone();
    targeting.allow.extend(new.allow.iter().map(|unit| allow_hash(salt.as_str(), unit)));
    let lists = [&targeting.platforms, &targeting.regions, &targeting.segments];
    if targeting.allow.len() > limits::ALLOWED || lists.iter().any(|list| list.len() > limits::NAMES) {
        let most = (limits::ALLOWED, limits::NAMES);
        let reason = format!("targeting has at most {} allowed units and {} names in a list", most.0, most.1);
        return Err(Refusal::Body(reason).into());
    }
    targeting.check_draft()?;
    Ok(targeting)
}

async fn draft(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let id: AppId = call.param("app_id")?;
    let (new, body) = call.json::<NewRollout>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let app = in_scope(change.db(), &call.caller, &id).await?;
    let release = verbs::releasable(change.db(), &id, new.release_seq).await?;
    let baseline = verbs::baseline(change.db(), &app).await?;
    let salt = salt()?;
    let targeting = targeting(&new, &salt)?;
    let rollout = Rollout::draft(id, release, baseline, salt, new.plan.clone(), change.at);
    let author = change.caller.owner.clone();
    let mut row = RolloutRow { id: 0, rollout, targeting, automatic: new.automatic, started: None, author };
    row.id = rollouts::insert(change.db(), &row).await?;
    change.audit("rollout.draft", &format!("rollout.{}", row.id), &new).await?;
    let (etag, view) = (verbs::etag(&row.rollout), view(&row));
    change.done_at(StatusCode::CREATED, etag, &view).await
}

async fn list(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (app, paging): (AppId, Paging) = (call.param("app_id")?, call.query()?);
    let mut db = registry.store.read.acquire().await?;
    apps::app(&mut db, &app).await?.ok_or_else(|| Refusal::NoApp(app.clone()))?;
    let below = paging.number()?.unwrap_or(i64::MAX);
    let rows = rollouts::of_app(&mut db, &app, below, paging.limit()).await?;
    let next = paging.next(&rows, |row| row.id.to_string());
    ok(&Page { items: rows.iter().map(view).collect(), next })
}

async fn find(registry: &Registry, call: &Call) -> Result<RolloutRow, Failure> {
    let id: i64 = call.param("id")?;
    let mut db = registry.store.read.acquire().await?;
    Ok(rollouts::get(&mut db, id).await?.ok_or(Refusal::NoRollout(id))?)
}

async fn get(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let row = find(&registry, &call).await?;
    ok_at(&verbs::etag(&row.rollout), &view(&row))
}

async fn plan(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (row, query): (_, TrafficQuery) = (find(&registry, &call).await?, call.query()?);
    let traffic = Traffic { devices_per_day: query.devices_per_day, devices: query.devices };
    let plan: &Plan = &row.rollout.plan;
    ok(&forecast(plan, traffic, &Rates::default()))
}

async fn gate(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let row = find(&registry, &call).await?;
    registry.intake.settle().await?;
    let (_turn, mut db) = registry.store.read_long().await?;
    let now = registry.time()?;
    let inputs: Option<GateInputs> = gates::inputs(&mut db, &row, now).await?;
    ok(&inputs.map(evaluate))
}

async fn list_evidence(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (row, paging): (_, Paging) = (find(&registry, &call).await?, call.query()?);
    let mut db = registry.store.read.acquire().await?;
    let below = paging.number()?.unwrap_or(i64::MAX);
    let rows = evidence::list(&mut db, row.id, below, paging.limit()).await?;
    let next = paging.next(&rows, |row| row.id.to_string());
    let items = rows.into_iter().map(decided_again).collect::<Result<_, _>>()?;
    ok(&Page::<EvidenceView> { items, next })
}

async fn replay_evidence(State(registry): State<Arc<Registry>>, call: Call) -> Answer {
    let (row, number): (_, i64) = (find(&registry, &call).await?, call.param("number")?);
    let mut db = registry.store.read.acquire().await?;
    let found = evidence::get(&mut db, row.id, number).await?.ok_or(Refusal::NoEvidence)?;
    ok(&decided_again(found)?)
}

fn decided_again(row: evidence::EvidenceRow) -> Result<EvidenceView, Failure> {
    let evidence = Evidence::parse(&row.body).map_err(|error| Failure::internal(&error))?;
    Ok(EvidenceView {
        id: row.id,
        at: time(row.at).ok_or(Refusal::Internal)?,
        decision: row.decision,
        action: row.action,
        replays: replay(&evidence).is_ok(),
        evidence,
    })
}

async fn finish(mut change: Change<'_>, row: RolloutRow, command: &Command) -> Answer {
    let done = verbs::command(&mut change, row, command).await?;
    let etag = verbs::etag(&done.row.rollout);
    let body = Commanded { rollout: view(&done.row), events: done.events, head: done.head };
    change.done_at(StatusCode::OK, etag, &body).await
}

/// The rollout to change, within the caller's scope.
async fn to_change(change: &mut Change<'_>, call: &Call) -> Result<RolloutRow, Failure> {
    let id: i64 = call.param("id")?;
    let row = rollouts::get(change.db(), id).await?.ok_or(Refusal::NoRollout(id))?;
    in_scope(change.db(), &call.caller, &row.rollout.app).await?;
    Ok(row)
}

async fn go(registry: &Registry, call: &Call, body: mpkg_package::Hash, command: Command) -> Answer {
    let mut change = match call.begin(registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let row = to_change(&mut change, call).await?;
    call.expect(&verbs::etag(&row.rollout))?;
    debug_assert!(Verb::of(&command) != Verb::Stop);
    let author = change.caller.owner.clone();
    verbs::approved(&mut change, &row, &command, &author).await?;
    finish(change, row, &command).await
}

async fn start(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (Nothing {}, body) = call.json().await?;
    go(&registry, &call, body, Command::Start).await
}

async fn advance(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (HowToAdvance { skip_bake }, body) = call.json().await?;
    go(&registry, &call, body, Command::Advance { skip_bake }).await
}

async fn resume(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (Nothing {}, body) = call.json().await?;
    go(&registry, &call, body, Command::Resume).await
}

async fn complete(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (Nothing {}, body) = call.json().await?;
    go(&registry, &call, body, Command::Complete).await
}

async fn hold(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (Because { reason }, body) = call.json().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let row = to_change(&mut change, &call).await?;
    finish(change, row, &Command::Hold { reason }).await
}

async fn halt(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (Because { reason }, body) = call.json().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let row = to_change(&mut change, &call).await?;
    finish(change, row, &Command::Halt { reason }).await
}

async fn rollback(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (NewRollback { to, reason }, body) = call.json().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let row = to_change(&mut change, &call).await?;
    // Nobody has anything of it, so nobody is moved, wherever to: not by one person.
    if row.rollout.never_began() {
        return finish(change, row, &Command::Halt { reason }).await;
    }
    let app = row.rollout.app.clone();
    let to = match to {
        // Also a yanked one: whether it is bad is for the one to say who goes back to it.
        Some(seq) => verbs::way_back(change.db(), &row.rollout, seq).await?,
        None => row.rollout.baseline.clone().ok_or_else(|| Refusal::NoRelease {
            app: app.clone(),
            release: "before the one rolled out".into(),
        })?,
    };
    verbs::runnable(change.db(), &app, &to).await?;
    finish(change, row, &Command::RollBack { to, reason }).await
}
