//! What one instance may do now: the broker's state machine.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mpkg_manifest::PermissionSet;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::Declared;
use super::clock::Clock;
use super::fleet::{Fleet, Ordered, Subject};
use super::live::Listed;
use crate::data::{Decider, StoredDecision, StoredGrant};
use crate::policy::Policy;
use crate::rpc::Denial;

/// How long something is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Term {
    /// Until the instance ends.
    Launch,
    /// Whenever the app is in use.
    InUse,
    Always,
    /// Until that many milliseconds after 1970.
    Until(u64),
}

/// How a permission stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has decided: the next use asks.
    Open {
        /// It was allowed up to a time that has passed.
        expired: bool,
    },
    Allowed(Term),
    Refused {
        denial: Denial,
        by: Decider,
    },
}

/// What the state says to a use of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Refused {
        denial: Denial,
        by: Decider,
    },
    /// To be asked about. The answer counts if nothing was decided in between: if it is still that turn.
    Ask {
        expired: bool,
        turn: u32,
    },
}

/// How it stands with what an instance has asked to be told under a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It has the permission, in use or hidden.
    Held,
    /// Nobody has decided for this instance, or the host has no news of its fleet: what was asked for waits.
    Open,
    /// It had the permission, and has it no more.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    standing: Standing,
    /// Counts decisions.
    turn: u32,
}

#[derive(Debug)]
pub(super) struct State {
    slots: Box<[Slot]>,
    pub(super) fleet: Fleet,
    in_use: bool,
    /// Permissions whose refusal to this instance is in the audit.
    noted: u64,
    noted_undeclared: BTreeSet<String>,
}

/// The permissions of one instance. An allow that does not run out is one load and one test; whatever else there is to
/// know is behind a lock.
#[derive(Debug)]
pub(crate) struct Permissions {
    declared: Arc<[Declared]>,
    pub(super) subject: Subject,
    clock: Arc<Clock>,
    /// Allowed, with nothing to look up. Derived from `state` under its lock.
    effective: AtomicU64,
    /// Allowed up to a time: the clock is looked at before each use.
    expiring: AtomicU64,
    state: Mutex<State>,
    /// Wakes those who wait for a permission to be lost.
    changed: Notify,
    pub(super) listed: OnceLock<Listed>,
}

/// None for an index past the word, which is never effective.
pub(super) fn bit(index: u8) -> u64 {
    1u64.checked_shl(index.into()).unwrap_or(0)
}

impl Permissions {
    /// Everything is to be asked about, but for what policy rules out.
    pub(super) fn new(
        declared: Arc<[Declared]>,
        subject: Subject,
        policy: &Policy,
        clock: Arc<Clock>,
    ) -> Self {
        let standing = |wanted: &Declared| {
            if policy.denied_permissions.iter().any(|denied| denied == wanted.name()) {
                Standing::Refused { denial: Denial::Policy, by: Decider::Policy }
            } else {
                Standing::Open { expired: false }
            }
        };
        let slots = declared.iter().map(|wanted| Slot { standing: standing(wanted), turn: 0 }).collect();
        let fleet = Fleet::default();
        let state = State { slots, fleet, in_use: true, noted: 0, noted_undeclared: BTreeSet::new() };
        Self {
            declared,
            subject,
            clock,
            effective: AtomicU64::new(0),
            expiring: AtomicU64::new(0),
            state: Mutex::new(state),
            changed: Notify::new(),
            listed: OnceLock::new(),
        }
    }

    /// Takes over what is recorded, except where somebody has decided since this instance is there.
    pub(super) fn load(&self, grants: &[(String, StoredGrant)]) {
        let now = self.clock.now_ms();
        let mut state = self.lock();
        for (permission, grant) in grants {
            let Some(index) = self.index_of(permission) else { continue };
            let untouched = state.slots.get(usize::from(index)).is_some_and(|slot| slot.turn == 0);
            if untouched {
                self.decide(&mut state, index, recorded(grant, now), Some(&grant.scope));
            }
        }
        self.publish(&state);
    }

    /// The hot path.
    #[inline]
    pub(crate) fn is_effective(&self, index: u8) -> bool {
        self.effective.load(Ordering::Acquire) & bit(index) != 0
            || (self.expiring.load(Ordering::Acquire) & bit(index) != 0
                && self.verdict(index) == Verdict::Allowed)
    }

    pub(crate) fn verdict(&self, index: u8) -> Verdict {
        let mut state = self.lock();
        let in_use = state.in_use;
        let Some(slot) = state.slots.get_mut(usize::from(index)) else {
            return Verdict::Refused { denial: Denial::NotDeclared, by: Decider::Manifest };
        };
        match slot.standing {
            Standing::Allowed(Term::Launch | Term::Always) => Verdict::Allowed,
            Standing::Allowed(Term::InUse) if in_use => Verdict::Allowed,
            Standing::Allowed(Term::InUse) => {
                Verdict::Refused { denial: Denial::NotInUse, by: Decider::Recorded }
            }
            Standing::Allowed(Term::Until(end)) if self.clock.now_ms() < end => Verdict::Allowed,
            Standing::Allowed(Term::Until(_)) => {
                slot.standing = Standing::Open { expired: true };
                let turn = slot.turn;
                self.publish(&state);
                Verdict::Ask { expired: true, turn }
            }
            Standing::Refused { denial, by } => Verdict::Refused { denial, by },
            Standing::Open { expired } => Verdict::Ask { expired, turn: slot.turn },
        }
    }

    /// Takes an answer to a question asked in `turn`. Somebody may have revoked the permission while the question was
    /// open: that was the user's last word.
    pub(super) fn answer(&self, index: u8, turn: u32, standing: Standing) {
        let mut state = self.lock();
        if state.slots.get(usize::from(index)).is_some_and(|slot| slot.turn == turn) {
            self.decide(&mut state, index, standing, None);
            self.publish(&state);
        }
    }

    /// Takes a decision made elsewhere, for that scope. Policy's refusals stay.
    pub(super) fn apply(&self, permission: &str, standing: Standing, scope: &PermissionSet) {
        let Some(index) = self.index_of(permission) else { return };
        let mut state = self.lock();
        self.decide(&mut state, index, standing, Some(scope));
        self.publish(&state);
    }

    fn decide(&self, state: &mut State, index: u8, standing: Standing, scope: Option<&PermissionSet>) {
        let index = usize::from(index);
        let (Some(slot), Some(wanted)) = (state.slots.get_mut(index), self.declared.get(index)) else {
            return;
        };
        if matches!(slot.standing, Standing::Refused { by: Decider::Policy, .. }) {
            return;
        }
        slot.turn = slot.turn.wrapping_add(1);
        slot.standing = match standing {
            // A grant for a narrower scope is no grant for this one: it is asked about again.
            Standing::Allowed(_) if scope.is_some_and(|scope| !wanted.is_covered_by(scope)) => {
                Standing::Open { expired: false }
            }
            Standing::Allowed(_) | Standing::Refused { .. } | Standing::Open { .. } => standing,
        };
    }

    /// How often it was decided upon, to tell whether a question is still open.
    pub(super) fn turn(&self, index: u8) -> u32 {
        self.lock().slots.get(usize::from(index)).map_or(0, |slot| slot.turn)
    }

    /// Whether what was begun may go on, or something that is not a call of the app may be done for it: as before a call,
    /// but nobody is asked anything.
    pub(crate) fn holds(&self, index: u8, method: Option<&str>) -> Result<(), Denial> {
        if self.is_effective(index) {
            return Ok(());
        }
        match (self.verdict(index), self.ordered(index, method)) {
            (Verdict::Refused { denial, .. }, _) | (_, Ordered::Refused(denial)) => Err(denial),
            (Verdict::Ask { .. }, _) => Err(Denial::NotGranted),
            (Verdict::Allowed, Ordered::Open | Ordered::Refresh) => Ok(()),
        }
    }

    /// What becomes of what the instance asked to be told under a permission.
    pub(crate) fn claim(&self, permission: &str) -> Claim {
        let Some(index) = self.index_of(permission) else { return Claim::Lost };
        match (self.verdict(index), self.ordered(index, None)) {
            (_, Ordered::Refused(Denial::Killed)) => Claim::Lost,
            (_, Ordered::Refused(_)) => Claim::Open,
            (Verdict::Allowed | Verdict::Refused { denial: Denial::NotInUse, .. }, _) => Claim::Held,
            (Verdict::Ask { expired: false, turn: 0 }, _) => Claim::Open,
            // Nobody answered: that is no word of anybody's.
            (Verdict::Refused { denial: Denial::NotGranted, .. }, _) => Claim::Open,
            (Verdict::Refused { .. } | Verdict::Ask { .. }, _) => Claim::Lost,
        }
    }

    /// Waits until what was begun under a permission may not go on, for one of the reasons that `ends` it: whoever decides,
    /// also where a grant runs out.
    pub(crate) async fn lost(&self, index: u8, ends: impl Fn(Denial) -> bool) -> Denial {
        loop {
            // Listens before it looks, or what is decided in between would be slept through.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Err(denial) = self.holds(index, None)
                && ends(denial)
            {
                return denial;
            }
            match self.left(index) {
                // What it comes to is looked at again.
                Some(left) => {
                    let _ = tokio::time::timeout(left, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Done when something about these has changed, from when it is enabled on.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// How long it is allowed, if it runs out by itself.
    fn left(&self, index: u8) -> Option<Duration> {
        let state = self.lock();
        match state.slots.get(usize::from(index))?.standing {
            Standing::Allowed(Term::Until(end)) => {
                Some(Duration::from_millis(end.saturating_sub(self.clock.now_ms()).max(1)))
            }
            Standing::Allowed(_) | Standing::Refused { .. } | Standing::Open { .. } => None,
        }
    }

    /// Brings the words that the hot path reads up to date, and tells those who wait for a loss to look.
    pub(super) fn publish(&self, state: &State) {
        let (mut effective, mut expiring) = (0, 0);
        for (index, slot) in (0u8..).zip(&state.slots) {
            match slot.standing {
                Standing::Allowed(Term::Launch | Term::Always) => effective |= bit(index),
                Standing::Allowed(Term::InUse) if state.in_use => effective |= bit(index),
                Standing::Allowed(Term::Until(_)) => expiring |= bit(index),
                Standing::Allowed(Term::InUse) | Standing::Open { .. } | Standing::Refused { .. } => {}
            }
        }
        let open = !state.fleet.closed();
        self.effective.store(effective & open, Ordering::Release);
        self.expiring.store(expiring & open, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Tells whether the app is in use: launched or shown, and not hidden. It is when it starts.
    pub(crate) fn set_in_use(&self, in_use: bool) {
        let mut state = self.lock();
        state.in_use = in_use;
        self.publish(&state);
    }

    /// True the first time that a refusal of this permission is noted.
    pub(super) fn note(&self, index: u8) -> bool {
        let mut state = self.lock();
        let first = state.noted & bit(index) == 0;
        state.noted |= bit(index);
        first
    }

    /// The same for a permission that is not declared. There are no more of them than the host has bridges.
    pub(super) fn note_undeclared(&self, permission: &str) -> bool {
        let mut state = self.lock();
        !state.noted_undeclared.contains(permission) && state.noted_undeclared.insert(permission.to_owned())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index_of(&self, permission: &str) -> Option<u8> {
        (0u8..).zip(self.declared.iter()).find(|(_, d)| d.name() == permission).map(|(index, _)| index)
    }

    pub(crate) fn declared(&self) -> &Arc<[Declared]> {
        &self.declared
    }

    /// The names that are effective now.
    pub(crate) fn effective_names(&self) -> Vec<String> {
        (0u8..)
            .zip(self.declared.iter())
            .filter(|(index, _)| self.holds(*index, None).is_ok())
            .map(|(_, declared)| declared.name().to_owned())
            .collect()
    }
}

/// What a recorded decision means now.
pub(super) fn recorded(grant: &StoredGrant, now: u64) -> Standing {
    match grant.decision {
        StoredDecision::Allow => Standing::Allowed(Term::Always),
        StoredDecision::AllowInUse => Standing::Allowed(Term::InUse),
        // A grant from the future means that the clock was set back, and that nobody knows how long it has been.
        StoredDecision::AllowUntil { unix_ms } if grant.unix_ms <= now && now < unix_ms => {
            Standing::Allowed(Term::Until(unix_ms))
        }
        StoredDecision::AllowUntil { .. } => Standing::Open { expired: true },
        StoredDecision::Block => Standing::Refused { denial: Denial::Blocked, by: Decider::Recorded },
        StoredDecision::Revoked => Standing::Refused { denial: Denial::Revoked, by: Decider::Recorded },
    }
}
