//! Which release a launch runs: what is current, or what takes its place at this very launch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::RwLock;

use super::starts::Chosen;
use crate::data::{Current, DataError, Installed, OnHand};
use crate::error::LaunchError;
use crate::host::Inner;
use crate::life::{Life, unload};
use crate::stop::StopReason;

/// The most gates kept, before those that nobody stands at are dropped.
const GATES: usize = 4096;

/// One for each app: launches pass it together, what changes the app's release passes it alone. So no launch runs a
/// release whose place is being taken, on data that is being put away.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Arc<RwLock<()>>>>);

impl Gates {
    pub(crate) fn of(&self, app_id: &str) -> Arc<RwLock<()>> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(app_id) {
            return gate.clone();
        }
        if gates.len() >= GATES {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        gates.entry(app_id.to_owned()).or_default().clone()
    }
}

/// Chooses the release that a launch runs.
pub(crate) async fn choose(inner: &Arc<Inner>, life: &Arc<Life>) -> Result<Arc<Installed>, LaunchError> {
    let gate = inner.gates.of(&life.app_id);
    if !inner.living.starts.is_dirty() {
        let _turn = gate.read().await;
        let here = on_hand(inner, life)?;
        if let Some(current) = here.current.as_ref().filter(|current| is_steady(&here, current)) {
            return Ok(take(inner, life, &here, current));
        }
    }
    let (inner, life) = (inner.clone(), life.clone());
    // On a task of its own: a launch that is killed must not open the gate in the middle of it.
    let chosen = inner.runtime.clone().spawn(async move {
        let _turn = gate.write().await;
        change(&inner, &life).await
    });
    chosen.await.unwrap_or(Err(LaunchError::Interrupted))
}

fn on_hand(inner: &Inner, life: &Life) -> Result<Arc<OnHand>, LaunchError> {
    let here = inner.data.on_hand(&life.app_id)?;
    here.ok_or_else(|| LaunchError::NotInstalled { app_id: life.app_id.clone() })
}

fn is_steady(here: &OnHand, current: &Current) -> bool {
    here.next.is_none() && !here.boots.is_due(&current.installed.digest)
}

fn take(inner: &Inner, life: &Life, here: &OnHand, current: &Current) -> Arc<Installed> {
    let digest = &current.installed.digest;
    // Without anybody who could offer another release, and with nothing to go back to, there is nothing to be decided.
    let attended = inner.orders.any() || here.boots.has_other(digest);
    let watched = attended && here.boots.is_watched(digest);
    life.trial.choose(Chosen {
        release: current.release.clone(),
        attended,
        watched,
        ahead: watched && !here.boots.is_good(digest),
    });
    current.installed.clone()
}

/// Decides what is due, lets the next release take its place if it can, and takes what is current then.
async fn change(inner: &Arc<Inner>, life: &Arc<Life>) -> Result<Arc<Installed>, LaunchError> {
    let app_id = life.app_id.clone();
    let settle = move |inner: &Inner| {
        inner.living.starts.record(inner);
        inner.living.starts.settle(inner, &app_id)
    };
    blocking(inner, settle).await??;
    let here = on_hand(inner, life)?;
    if let Some(next) = here.next.clone() {
        let rejected = here.current.as_ref().is_some_and(|it| here.boots.is_rejected(&it.installed.digest));
        if !inner.tiers.can_run(&next) {
            // Its code is gone since it was wanted. Nobody is ended for it, and what was rejected stays so.
            return match here.current.as_ref().filter(|_| !rejected) {
                Some(current) => Ok(take(inner, life, &here, current)),
                None => Err(LaunchError::NoCode { app_id: life.app_id.clone() }),
            };
        }
        let mut others = inner.others(life);
        if rejected {
            // What is not to run any more does not keep its successor waiting.
            unload(std::mem::take(&mut others), StopReason::Unloaded).await;
        }
        if others.is_empty() {
            turn(inner, &life.app_id, next).await??;
        }
    }
    let here = on_hand(inner, life)?;
    let current = here.current.as_ref();
    let current = current.ok_or_else(|| LaunchError::NotInstalled { app_id: life.app_id.clone() })?;
    if inner.orders.any()
        && here.boots.is_rejected(&current.installed.digest)
        && let Some(reason) = here.boots.quarantine()
    {
        let (app_id, reason) = (life.app_id.clone(), reason.to_owned());
        return Err(LaunchError::Quarantined { app_id, reason });
    }
    Ok(take(inner, life, &here, current))
}

/// Puts the next release in the current one's place, unless the orders do not let it run.
async fn turn(inner: &Arc<Inner>, app_id: &str, next: String) -> Result<Result<(), DataError>, LaunchError> {
    let app_id = app_id.to_owned();
    blocking(inner, move |inner| inner.data.turn(&app_id, &next, |it| inner.orders.allow(it))).await
}

async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> T + Send + 'static,
) -> Result<T, LaunchError> {
    let inner = inner.clone();
    let runtime = inner.runtime.clone();
    runtime.spawn_blocking(move || work(&inner)).await.map_err(|_| LaunchError::Interrupted)
}

impl Inner {
    /// What else lives of an app and has chosen its release. What has not will pass the gate later.
    fn others(&self, life: &Life) -> Vec<Arc<Life>> {
        let mut lives = self.chosen_of(&life.app_id);
        lives.retain(|other| other.id != life.id);
        lives
    }

    fn chosen_of(&self, app_id: &str) -> Vec<Arc<Life>> {
        let mut lives = self.lives_of(app_id);
        lives.retain(|life| life.trial.chosen().is_some());
        lives
    }

    /// Has launches run this release, at once or when nothing of the app lives. False if it is not here, was
    /// rejected, or is to be given code first.
    pub(super) async fn switch(
        self: &Arc<Self>,
        app_id: String,
        digest: String,
        at_once: bool,
    ) -> Result<bool, LaunchError> {
        let gate = self.gates.of(&app_id);
        let inner = self.clone();
        // On a task of its own, for the same reason as a launch's.
        let switched = self.runtime.spawn(async move {
            let _turn = gate.write().await;
            let (app, wanted) = (app_id.clone(), digest.clone());
            let set = blocking(&inner, move |inner| {
                inner.living.starts.record(inner);
                inner.data.want(&app, &wanted, inner.tiers.can_run(&wanted))
            });
            if !set.await?? {
                return Ok(false);
            }
            let pending = inner.data.on_hand(&app_id)?.is_some_and(|here| here.next.is_some());
            if at_once && pending {
                unload(inner.chosen_of(&app_id), StopReason::Unloaded).await;
                turn(&inner, &app_id, digest).await??;
            }
            Ok(true)
        });
        switched.await.unwrap_or(Err(LaunchError::Interrupted))
    }
}
