//! What there is to see of a rollout and of the fleet at one moment.

use mpkg_fleet::{Evidence, Phase, Position};
use mpkg_package::Time;
use mpkg_registry_client::wire::{KillView, Minute, RolloutView};
use serde::Serialize;

use super::Remote;
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
    /// Kills in force.
    pub(crate) kills: Vec<KillView>,
    /// Rollouts that are running or held.
    pub(crate) rollouts: Vec<Glimpse>,
    /// Further ones, without what their gates see.
    pub(crate) more: Vec<RolloutView>,
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

/// Looks at the fleet.
pub(crate) fn fleet(remote: &Remote) -> Outcome<Fleet> {
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
        kills: status.kills,
        rollouts,
        more,
    })
}
