//! What the orders of a fleet do to the permissions of one instance.

use std::sync::Arc;

use mpkg_fleet::{Position, Revoked, Standing as Age};
use mpkg_manifest::permission::{self, Risk};

use super::standing::{Permissions, bit};
use crate::data::AppRelease;
use crate::rpc::Denial;
use crate::updates::{InForce, Orders};

/// What the fleet's orders say to a use of a permission. They come after what is declared, decided by policy and granted,
/// and change nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ordered {
    /// Nothing.
    Open,
    Refused(Denial),
    /// What is known is old: the registry is to be asked, and the user where it does not answer.
    Refresh,
}

/// Whose orders hold for which release.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) orders: Arc<InForce>,
    pub(crate) release: Arc<AppRelease>,
}

/// What the newest orders do to the permissions of one instance.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// Permissions of which a kill takes all or a part.
    taken: u64,
    /// Those that are withdrawn for want of news.
    withdrawn: u64,
    /// Those that need news before they are used.
    refresh: u64,
    /// Those of them that the user has allowed anew since the last news.
    renewed: u64,
    revoked: Vec<Revoked>,
    position: Option<Position>,
    /// Permissions whose refusal for this reason is in the audit.
    noted: u64,
}

impl Fleet {
    /// Permissions that are not to be used without a look at the rest.
    pub(super) fn closed(&self) -> u64 {
        self.taken | self.withdrawn | (self.refresh & !self.renewed)
    }

    /// Whether a kill takes this method, or without one the whole permission.
    fn takes(&self, permission: &str, method: Option<&str>) -> bool {
        let mut kills = self.revoked.iter().filter(|it| it.permission.as_str() == permission);
        kills.any(|it| it.method.as_ref().is_none_or(|taken| Some(taken.as_str()) == method))
    }
}

impl Permissions {
    /// Takes over the newest orders; returns which permissions a kill takes that were not taken before, as a whole.
    ///
    /// They are read under the lock: of several who do this, the last one to write has read the newest.
    pub(super) fn obey(&self) -> Vec<String> {
        let mut state = self.lock();
        let Some(orders) = self.subject.orders.get() else { return Vec::new() };
        let AppRelease { app, release } = &*self.subject.release;
        let revoked = orders.effects(app, release).revoke;
        let ages = [Risk::Low, Risk::Sensitive, Risk::High].map(|risk| orders.standing(risk));
        let mut fleet = Fleet { revoked, position: orders.position(), ..Fleet::default() };
        let mut newly = Vec::new();
        for (index, declared) in (0u8..).zip(self.declared().iter()) {
            let name = declared.name();
            let mut kills = fleet.revoked.iter().filter(|it| it.permission.as_str() == name).peekable();
            if kills.peek().is_some() {
                fleet.taken |= bit(index);
            }
            let whole = |fleet: &Fleet| fleet.takes(name, None);
            if kills.any(|it| it.method.is_none()) && !whole(&state.fleet) {
                newly.push(name.to_owned());
            }
            let [low, sensitive, high] = ages;
            let age = match permission::describe(name).map_or(Risk::High, |it| it.risk) {
                Risk::Low => low,
                Risk::Sensitive => sensitive,
                Risk::High => high,
            };
            match age {
                Age::Fresh => {}
                Age::Refresh => fleet.refresh |= bit(index),
                Age::Withdrawn => fleet.withdrawn |= bit(index),
            }
        }
        fleet.noted = state.fleet.noted & (fleet.taken | fleet.withdrawn);
        // Without news the user need not be asked again.
        if fleet.position == state.fleet.position {
            fleet.renewed = state.fleet.renewed & fleet.refresh;
        }
        state.fleet = fleet;
        self.publish(&state);
        newly
    }

    /// What the orders say to this use; without a method, to a use that is none of a single method.
    pub(super) fn ordered(&self, index: u8, method: Option<&str>) -> Ordered {
        let state = self.lock();
        let (fleet, bit) = (&state.fleet, bit(index));
        if fleet.closed() & bit == 0 {
            return Ordered::Open;
        }
        let name = self.declared().get(usize::from(index)).map_or("", |declared| declared.name());
        if fleet.takes(name, method) {
            Ordered::Refused(Denial::Killed)
        } else if fleet.withdrawn & bit != 0 {
            Ordered::Refused(Denial::Stale)
        } else if fleet.refresh & !fleet.renewed & bit != 0 {
            Ordered::Refresh
        } else {
            Ordered::Open
        }
    }

    pub(super) fn orders(&self) -> Option<Arc<Orders>> {
        self.subject.orders.get()
    }

    /// The user has allowed it anew, as long as there is no news.
    pub(super) fn renew(&self, index: u8) {
        let mut state = self.lock();
        state.fleet.renewed |= bit(index);
        self.publish(&state);
    }

    /// True the first time that a refusal of this permission by the orders is noted.
    pub(super) fn note_ordered(&self, index: u8) -> bool {
        let mut state = self.lock();
        let first = state.fleet.noted & bit(index) == 0;
        state.fleet.noted |= bit(index);
        first
    }
}
