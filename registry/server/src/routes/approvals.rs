//! Approvals: agreement to one change as it is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::apps::within;
use super::{Kind, Route, kills::lift_hash, limits};
use crate::auth::Access;
use crate::call::{Answer, Call};
use crate::change::Begun;
use crate::failure::Refusal;
use crate::registry::Registry;
use crate::rollouts as verbs;
use crate::store::{kills, people, rollouts};
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::{Approved, ProposedChange};

pub(super) fn routes() -> Vec<Route> {
    let people = Access::Roles(&[Role::Releaser, Role::Reviewer, Role::Admin]);
    vec![
        Route::post("/v1/approvals", people, Kind::Change, approve)
            .says("Agrees to a change, as it is and at the revision that it is for.")
            .body::<ProposedChange>()
            .answer::<Approved>(),
    ]
}

async fn approve(State(registry): State<Arc<Registry>>, mut call: Call) -> Answer {
    let (proposed, body) = call.json::<ProposedChange>().await?;
    let mut change = match call.begin(&registry, body).await? {
        Begun::New(change) => change,
        Begun::Before(answer) => return Ok(answer),
    };
    let (hash, app) = match &proposed {
        ProposedChange::Rollout { id, revision, command } => {
            let row = rollouts::get(change.db(), *id).await?.ok_or(Refusal::NoRollout(*id))?;
            // Nobody can have seen another revision than this one.
            if row.rollout.revision != *revision {
                return Err(Refusal::Stale { current: verbs::etag(&row.rollout) }.into());
            }
            (verbs::hash(*id, *revision, command), Some(row.rollout.app))
        }
        ProposedChange::Lift { kill } => {
            let row = kills::get(change.db(), *kill).await?.ok_or(Refusal::NoKill)?;
            (lift_hash(*kill), row.kill.scope.app)
        }
        ProposedChange::Enable { app, sha256 } => {
            let row = limits::find(change.db(), app, *sha256).await?;
            (limits::enable_hash(row.number), Some(app.clone()))
        }
    };
    within(change.db(), &call.caller, app.as_ref()).await?;
    let (owner, at) = (change.caller.owner.clone(), change.at.unix());
    people::approve(change.db(), hash, &owner, at).await?;
    change.audit("approve", &hash.to_string(), &proposed).await?;
    let approvals = people::approvals(change.db(), hash).await?;
    let people = approvals.into_iter().map(|approval| approval.by).collect();
    change.done(StatusCode::CREATED, &Approved { change: hash, people }).await
}
