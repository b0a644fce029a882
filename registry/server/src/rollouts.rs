//! Commands to rollouts, by people and by gates.

use mpkg_fleet::{Command, Event, Phase, Position, ReleaseRef, Rollout, Verb, change_hash};
use mpkg_manifest::AppId;
use mpkg_package::Hash;
use mpkg_registry_client::wire::Review;

use crate::change::Change;
use crate::failure::{Failure, Refusal};
use crate::signing;
use crate::store::{AppRow, Db, RolloutRow, apps, damaged, disabled, people, releases, rollouts};

/// What approvals of a command are bound to.
pub(crate) fn hash(id: i64, revision: u64, command: &Command) -> Hash {
    change_hash(&format!("rollout.{id}"), revision, command)
}

pub(crate) fn etag(rollout: &Rollout) -> String {
    format!("\"{}\"", rollout.revision)
}

/// The release that everybody runs who is in no percentage.
pub(crate) async fn baseline(db: &mut Db, app: &AppRow) -> Result<Option<ReleaseRef>, Failure> {
    let Some(id) = app.in_charge else { return Ok(None) };
    let row = rollouts::get(db, id).await?.ok_or_else(|| damaged("rollout"))?;
    Ok(row.rollout.shape().and_then(|shape| shape.baseline))
}

/// A release that can be rolled out.
pub(crate) async fn releasable(db: &mut Db, app: &AppId, release_seq: u64) -> Result<ReleaseRef, Failure> {
    let missing = || Refusal::NoRelease { app: app.clone(), release: release_seq.to_string() };
    let row = releases::release(db, app, release_seq).await?.ok_or_else(missing)?;
    if !row.is_open() {
        return Err(Refusal::NotReleasable { release_seq, state: row.state().into() }.into());
    }
    runnable(db, app, &row.release).await?;
    Ok(row.release)
}

/// Refuses a release that no host would run, whatever its state said.
pub(crate) async fn runnable(db: &mut Db, app: &AppId, release: &ReleaseRef) -> Result<(), Failure> {
    let row = apps::app(db, app).await?.ok_or_else(|| Refusal::NoApp(app.clone()))?;
    let off = disabled::of_app(db, app).await?.iter().any(|it| it.sha256 == release.package.sha256);
    let state = match (release.release_seq < row.min_seq, off) {
        (true, _) => "below the floor",
        (false, true) => "disabled",
        (false, false) => return Ok(()),
    };
    Err(Refusal::NotReleasable { release_seq: release.release_seq, state: state.into() }.into())
}

/// Releases that a refusal names.
const NAMED: usize = 16;

/// The release that a rollback to `release_seq` leads to: one that was everybody's when another rollout started. A stop
/// takes one person, and whatever nobody ran or approved takes a rollout with all that it asks for.
pub(crate) async fn way_back(
    db: &mut Db,
    rollout: &Rollout,
    release_seq: u64,
) -> Result<ReleaseRef, Failure> {
    let app = &rollout.app;
    let missing = || Refusal::NoRelease { app: app.clone(), release: release_seq.to_string() };
    let found = releases::release(db, app, release_seq).await?.ok_or_else(missing)?;
    // The rollout itself says that this is none.
    if release_seq >= rollout.release.release_seq {
        return Ok(found.release);
    }
    let mut ran = rollouts::baselines(db, app).await?;
    if found.review == Review::Approved && ran.contains(&found.release) {
        return Ok(found.release);
    }
    ran.retain(|release| release.release_seq < rollout.release.release_seq);
    let mut instead = Vec::new();
    for release in ran.iter().take(NAMED) {
        let row = releases::release(db, app, release.release_seq).await?;
        let approved = row.is_some_and(|row| row.review == Review::Approved);
        if approved && runnable(db, app, release).await.is_ok() {
            instead.push(release.release_seq);
        }
    }
    Err(Refusal::NoWayBack { release_seq, instead }.into())
}

/// Who has to agree to a command, checked.
pub(crate) async fn approved(
    change: &mut Change<'_>,
    row: &RolloutRow,
    command: &Command,
    author: &str,
) -> Result<(), Failure> {
    let (verb, hash) = (Verb::of(command), hash(row.id, row.rollout.revision, command));
    let approvals = people::approvals(change.db(), hash).await?;
    let policy = change.registry.config.approvals;
    policy
        .check(verb, author, hash, &approvals)
        .map(|_| ())
        .map_err(|error| Failure::conflict(error.code(), &error))
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) row: RolloutRow,
    pub(crate) events: Vec<Event>,
    pub(crate) head: Position,
}

/// Carries a command out, with all that it means for the app's state. Whether it may be is decided before.
pub(crate) async fn command(
    change: &mut Change<'_>,
    mut row: RolloutRow,
    command: &Command,
) -> Result<Done, Failure> {
    let id = row.rollout.app.clone();
    let mut app = apps::app(change.db(), &id).await?.ok_or_else(|| damaged("rollout of nobody's app"))?;
    if matches!(command, Command::Start) {
        // What was drafted may be yanked by now, and what it compares with another one.
        releasable(change.db(), &id, row.rollout.release.release_seq).await?;
        row.rollout.baseline = baseline(change.db(), &app).await?;
    }
    let (rollout, events) = row.rollout.apply(command, change.at)?;
    let moved = events.iter().any(|event| matches!(event, Event::Moved { .. }));
    let subject = format!("rollout.{}", row.id);
    change.audit(&format!("rollout.{}", command.name()), &subject, &(command, &events)).await?;
    if !moved {
        return Ok(Done { row, events, head: change.registry.hub.at() });
    }
    row.rollout = rollout;
    if matches!(row.rollout.phase, Phase::Running { .. }) && row.started.is_none() {
        row.started = Some(change.at.unix());
    }
    rollouts::update(change.db(), &row).await?;
    let takes_over = matches!(row.rollout.phase, Phase::Running { .. });
    if app.in_charge != Some(row.id) && takes_over {
        if let Some(other) = app.in_charge {
            supersede(change, other, row.rollout.release.release_seq).await?;
        }
        apps::set_in_charge(change.db(), &id, row.id).await?;
        app.in_charge = Some(row.id);
    }
    let head = if app.in_charge == Some(row.id) {
        signing::app(change, &app).await?
    } else {
        change.registry.hub.at()
    };
    Ok(Done { row, events, head })
}

async fn supersede(change: &mut Change<'_>, id: i64, by: u64) -> Result<(), Failure> {
    let mut other = rollouts::get(change.db(), id).await?.ok_or_else(|| damaged("rollout"))?;
    let command = Command::Supersede { by };
    let (rollout, events) = other.rollout.apply(&command, change.at)?;
    other.rollout = rollout;
    rollouts::update(change.db(), &other).await?;
    change.audit("rollout.supersede", &format!("rollout.{id}"), &(&command, &events)).await
}
