//! Rollouts: found as people name them, drafted, and told to go or to stop.

use mpkg_fleet::{Command, Event, KillScope, Level, Traffic};
use mpkg_manifest::{AppId, Text};
use mpkg_registry_client::wire::{
    Because, Commanded, EvidenceView, HowToAdvance, NewKill, NewRollback, NewRollout, Paging, RolloutView,
};
use mpkg_registry_client::{Client, ClientError, Versioned};

use super::releases::not_there;
use super::{Remote, releases};
use crate::cli::GoVerb;
use crate::cli::values::{AppRelease, RolloutName, Which};
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::rules;

/// A rollout with what it takes to command it.
pub(crate) type Seen = Versioned<RolloutView>;

/// The rollout with this number, or the one in charge of an app; for an app that has none yet, its newest.
pub(crate) fn find(remote: &Remote, name: &RolloutName) -> Outcome<Seen> {
    let id = find_id(remote, name)?;
    remote.ask(remote.client.rollout(id))
}

fn find_id(remote: &Remote, name: &RolloutName) -> Outcome<i64> {
    match name {
        RolloutName::Number(id) => Ok(*id),
        RolloutName::App(app) => match remote.ask(remote.client.app(app))?.in_charge {
            Some(id) => Ok(id),
            None => newest_id(remote, app),
        },
    }
}

/// The rollout with this number, or the newest of an app, which a draft is.
pub(crate) fn newest(remote: &Remote, name: &RolloutName) -> Outcome<Seen> {
    let id = match name {
        RolloutName::Number(id) => *id,
        RolloutName::App(app) => newest_id(remote, app)?,
    };
    remote.ask(remote.client.rollout(id))
}

fn newest_id(remote: &Remote, app: &AppId) -> Outcome<i64> {
    let paging = Paging { limit: Some(1), ..Paging::default() };
    let found = remote.ask(remote.client.rollouts(app, &paging))?.items.into_iter().next();
    let hint = "Publish a release, then: mpkg rollout start APP --confirm APP";
    found.map(|it| it.id).ok_or_else(|| not_there(format!("{app} has never been rolled out"), hint))
}

/// Drafts a rollout of a release.
pub(crate) fn draft(
    remote: &Remote,
    what: &AppRelease,
    new: impl FnOnce(u64) -> NewRollout,
) -> Outcome<Seen> {
    let release = releases::find(remote, what)?;
    remote.change(remote.client.draft(&what.app, &new(release.release.release_seq)))
}

/// The command that a verb is.
pub(crate) fn command(verb: GoVerb, skip_bake: bool) -> Command {
    match verb {
        GoVerb::Start => Command::Start,
        GoVerb::Advance => Command::Advance { skip_bake },
        GoVerb::Resume => Command::Resume,
        GoVerb::Complete => Command::Complete,
    }
}

/// A verb as people say it.
pub(crate) fn word(verb: GoVerb) -> &'static str {
    match verb {
        GoVerb::Start => "start",
        GoVerb::Advance => "advance",
        GoVerb::Resume => "resume",
        GoVerb::Complete => "complete",
    }
}

async fn send_go(
    client: &Client,
    seen: &Seen,
    verb: GoVerb,
    skip_bake: bool,
) -> Result<Versioned<Commanded>, ClientError> {
    let (id, etag) = (seen.value.id, seen.etag.as_str());
    match verb {
        GoVerb::Start => client.start(id, etag).await,
        GoVerb::Advance => client.advance(id, etag, &HowToAdvance { skip_bake }).await,
        GoVerb::Resume => client.resume(id, etag).await,
        GoVerb::Complete => client.complete(id, etag).await,
    }
}

/// Lets a rollout go on from exactly what was seen of it.
pub(crate) fn go(remote: &Remote, seen: &Seen, verb: GoVerb, skip_bake: bool) -> Outcome<Commanded> {
    let (id, app) = (seen.value.id, &seen.value.rollout.app);
    let outcome = remote.change(send_go(&remote.client, seen, verb, skip_bake));
    outcome.map(|done| done.value).map_err(|failure| match failure.code() {
        "MPKG-F56" => {
            let (word, skip) = (word(verb), if skip_bake { " --skip-bake" } else { "" });
            failure
                .hint(format!(
                    "Somebody else agrees with: mpkg approve rollout {id} {word}{skip} --confirm {app}\n\
                     Then repeat: mpkg rollout {word} {id}{skip} --confirm {app}"
                ))
                .data("rollout", id)
        }
        "MPKG-P23" => failure.hint(format!(
            "Somebody changed it meanwhile. Look again, then decide again: mpkg rollout status {id}"
        )),
        _ => failure.data("rollout", id),
    })
}

/// What a stop is.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    Hold,
    Halt,
    RollBack { to: Option<Which> },
}

/// Stops a rollout. A number is all that it takes; of an app, the one in charge is looked up. There is no second
/// question and no version to match.
pub(crate) fn stop(
    remote: &Remote,
    name: &RolloutName,
    stop: Stop,
    reason: &Text<200>,
) -> Outcome<Commanded> {
    let (client, id) = (&remote.client, find_id(remote, name)?);
    let because = Because { reason: reason.clone() };
    let done = match stop {
        Stop::Hold => remote.change(client.hold(id, &because)),
        Stop::Halt => remote.change(client.halt(id, &because)),
        Stop::RollBack { to } => {
            let to = match to {
                Some(Which::Seq(seq)) => Some(seq),
                Some(version) => {
                    let app = remote.ask(client.rollout(id))?.value.rollout.app;
                    let named = AppRelease { app, release: Some(version) };
                    Some(releases::find(remote, &named)?.release.release_seq)
                }
                None => None,
            };
            let back = NewRollback { to, reason: reason.clone() };
            remote.change(client.roll_back(id, &back)).map_err(|failure| match failure.code() {
                "MPKG-P35" if to.is_none() => failure.hint(format!(
                    "There is nothing to go back to. Stop it instead: mpkg rollout halt {id} --reason '...', or \
                     mpkg kill APP --reason '...'"
                )),
                _ => failure,
            })
        }
    }?;
    // Whoever is told that all is stopped goes back to bed.
    let elsewhere = done.value.events.iter().find_map(|event| match event {
        Event::NotInCharge { by } => Some(*by),
        _ => None,
    });
    match elsewhere {
        None => Ok(done.value),
        Some(by) => {
            let app = &done.value.rollout.rollout.app;
            let message = format!(
                "nothing was stopped: instead of rollout {id}, that of release {by} is in charge of {app}"
            );
            Err(Failure::new(&rules::NOT_IN_CHARGE, Exit::Conflict, message)
                .hint(format!("Name the app to stop that one: mpkg rollout halt {app} --reason '...'"))
                .data("in_charge", by))
        }
    }
}

/// Everything that gates decided about a rollout, the newest first.
pub(crate) fn evidence(remote: &Remote, id: i64) -> Outcome<Vec<EvidenceView>> {
    let mut paging = Paging { limit: Some(200), ..Paging::default() };
    let mut all = Vec::new();
    loop {
        let page = remote.ask(remote.client.evidence(id, &paging))?;
        all.extend(page.items);
        match page.next {
            Some(next) => paging.after = Some(next),
            None => return Ok(all),
        }
    }
}

/// Devices that reported the app within a day, as a drill counts them.
pub(crate) fn devices_of_a_day(remote: &Remote, app: &AppId) -> Outcome<u64> {
    let reason = "counting devices".parse().map_err(|error| Failure::internal(format!("{error}")))?;
    let scope = KillScope { app: Some(app.clone()), ..Default::default() };
    let question = NewKill { level: Level::Warn, scope, reason };
    match remote.ask(remote.client.drill(&question))?.devices {
        0 => Err(not_there(
            format!("no device reported {app} within a day, so there is no traffic to plan with"),
            "Say what you expect: --devices-per-day 5000",
        )),
        devices => Ok(devices),
    }
}

/// The traffic to plan with: what was said, else what is known.
pub(crate) fn traffic(
    per_day: Option<u64>,
    devices: Option<u64>,
    known: impl FnOnce() -> Outcome<u64>,
) -> Outcome<Traffic> {
    let devices_per_day = match per_day {
        Some(given) => given,
        None => known()?,
    };
    Ok(Traffic { devices_per_day, devices: devices.unwrap_or(devices_per_day).max(devices_per_day) })
}
