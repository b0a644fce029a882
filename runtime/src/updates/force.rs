//! The standing orders that a host has, and what they say to one release.

use std::sync::{Arc, PoisonError, RwLock};

use mpkg_fleet::{Cause, KillId, Position};

use super::orders::Orders;
use crate::data::AppRelease;
use crate::error::LaunchError;
use crate::stop::StopReason;

/// The newest orders, if anybody gives this host any.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    orders: RwLock<Option<Arc<Orders>>>,
    /// Nothing is launched before there are some.
    supervised: bool,
}

impl InForce {
    pub(crate) fn new(supervised: bool) -> Self {
        Self { supervised, ..Self::default() }
    }

    pub(crate) fn get(&self) -> Option<Arc<Orders>> {
        self.orders.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, orders: Arc<Orders>) {
        *self.orders.write().unwrap_or_else(PoisonError::into_inner) = Some(orders);
    }

    /// Whether somebody watches over this host.
    pub(crate) fn any(&self) -> bool {
        self.orders.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Refuses to launch anything of an app while what is switched off cannot be known.
    pub(crate) fn await_first(&self, app_id: &str) -> Result<(), LaunchError> {
        if self.supervised && !self.any() {
            return Err(LaunchError::Unsupervised { app_id: app_id.to_owned() });
        }
        Ok(())
    }

    /// Whether a release may be launched.
    pub(crate) fn allow(&self, it: &AppRelease) -> bool {
        self.get().is_none_or(|orders| orders.causes(&it.app, &it.release).is_empty())
    }

    /// Refuses a release that must not be launched.
    pub(crate) fn check(&self, it: &AppRelease) -> Result<(), LaunchError> {
        let Some(orders) = self.get() else { return Ok(()) };
        let Some(cause) = orders.causes(&it.app, &it.release).into_iter().next() else { return Ok(()) };
        let (app_id, version) = (it.app.to_string(), it.release.version.to_string());
        Err(match cause {
            Cause::Killed(kill) => LaunchError::Killed { app_id, version, kill, reason: orders.why(kill) },
            cause => LaunchError::NotAllowed { app_id, version, cause },
        })
    }
}

impl Orders {
    /// Why an instance of this release must not go on.
    pub(super) fn stops(&self, it: &AppRelease) -> Option<StopReason> {
        let kill = self.effects(&it.app, &it.release).stop.into_iter().next()?;
        Some(StopReason::SwitchedOff { kill, why: self.why(kill) })
    }

    /// The reason that a kill gives.
    fn why(&self, kill: KillId) -> String {
        self.fleet().kills().get(kill).map(|kill| kill.reason.to_string()).unwrap_or_default()
    }

    /// What news are newer than.
    pub(crate) fn position(&self) -> Option<Position> {
        self.fleet().position()
    }
}
