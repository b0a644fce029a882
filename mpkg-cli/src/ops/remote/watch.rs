//! What there is to see of a rollout and of the fleet at one moment.

use std::time::Duration;

use mpkg_fleet::{Evidence, Phase, Position};
use mpkg_package::Time;
use mpkg_registry_client::wire::{KillView, Minute, RolloutView};
use mpkg_registry_client::{Backoff, ClientError, Follower};
use serde::Serialize;

use super::{Remote, failure};
use crate::error::Outcome;

/// Minutes that are shown.
pub(crate) const MINUTES: u32 = 30;
/// Rollouts that are asked about one by one; a registry answers a hundred questions in a second.
const IN_DETAIL: usize = 12;

/// A rollout at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Glimpse {
    /// When.
    pub(crate) at: Time,
    /// The rollout.
    #[serde(flatten)]
    pub(crate) view: RolloutView,
    /// What its gates would decide now; none on no step.
    pub(crate) gate: Option<Evidence>,
    /// What its release did in the last minutes; those in which nothing came in are missing.
    pub(crate) minutes: Vec<Minute>,
}

/// The fleet at one moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Fleet {
    /// When.
    pub(crate) at: Time,
    /// Where.
    pub(crate) address: String,
    /// The id that hosts pin.
    pub(crate) registry: String,
    /// The newest head.
    pub(crate) head: Position,
    /// Hosts that listen.
    pub(crate) listeners: u64,
    /// For how many seconds the stream has been open that this follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connected_s: Option<u64>,
    /// Kills in force.
    pub(crate) kills: Vec<KillView>,
    /// Rollouts that are running or held.
    pub(crate) rollouts: Vec<Glimpse>,
    /// Further ones, without what their gates see.
    pub(crate) more: Vec<RolloutView>,
    /// Rollouts that nobody has started.
    pub(crate) drafts: Vec<RolloutView>,
}

/// How long a stream may say nothing, heartbeats included, before people are told.
const SILENT: Duration = Duration::from_secs(60);
/// Events of one change come together, and are one picture: what comes before a pause, and no later than this.
const PAUSE: Duration = Duration::from_millis(50);
const TOGETHER: Duration = Duration::from_millis(500);

/// The registry's stream, for somebody who looks again whenever something happens.
#[derive(Debug)]
pub(crate) struct Events<'a> {
    remote: &'a Remote,
    follower: Follower,
}

impl<'a> Events<'a> {
    /// Begins with what comes next.
    pub(crate) fn of(remote: &'a Remote) -> Self {
        let backoff = Backoff { most: Duration::from_secs(5), ..Backoff::default() };
        Self { remote, follower: remote.client.follow(None, backoff) }
    }

    /// Waits for something to happen, heartbeats included, and gives how long the connection has been open. None when
    /// nothing was heard for long.
    pub(crate) fn next(&mut self) -> Outcome<Option<Option<Duration>>> {
        let Self { remote, follower } = self;
        let heard = remote.wait(async {
            let Ok(event) = tokio::time::timeout(SILENT, follower.next()).await else { return Ok(None) };
            event?;
            // Not for ever, should they never pause.
            let rest = async {
                while let Ok(event) = tokio::time::timeout(PAUSE, follower.next()).await {
                    event?;
                }
                Ok::<(), ClientError>(())
            };
            tokio::time::timeout(TOGETHER, rest).await.unwrap_or(Ok(()))?;
            Ok::<_, ClientError>(Some(follower.connected()))
        });
        heard.map_err(|error| failure::of(&remote.address, error))
    }
}

/// Looks at a rollout.
pub(crate) fn rollout(remote: &Remote, view: RolloutView) -> Outcome<Glimpse> {
    let at = super::now()?;
    let going = matches!(view.rollout.phase, Phase::Running { .. } | Phase::Held { .. });
    let gate = if going { remote.ask(remote.client.gate(view.id))? } else { None };
    let mut minutes = remote.ask(remote.client.telemetry(&view.rollout.app, MINUTES))?.items;
    minutes.retain(|minute| minute.release_seq == view.rollout.release.release_seq);
    Ok(Glimpse { at, view, gate, minutes })
}

/// Looks at the fleet; `connected` is how long a stream has been followed.
pub(crate) fn fleet(remote: &Remote, connected: Option<Duration>) -> Outcome<Fleet> {
    let status = remote.ask(remote.client.status())?;
    let mut views = status.rollouts;
    let more = views.split_off(views.len().min(IN_DETAIL));
    let rollouts = views.into_iter().map(|view| rollout(remote, view)).collect::<Outcome<_>>()?;
    Ok(Fleet {
        at: super::now()?,
        address: remote.address.clone(),
        registry: status.registry.to_string(),
        head: status.head,
        listeners: status.listeners,
        connected_s: connected.map(|age| age.as_secs()),
        kills: status.kills,
        rollouts,
        more,
        drafts: status.drafts,
    })
}
