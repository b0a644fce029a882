//! The permission broker: the one gate between a guest and everything a host can do for it.
//!
//! Effective = the signed manifest ∩ the host's policy ∩ the user's grant ∩ the fleet's orders. Every bridge call passes [`authorize`]
//! before it has any effect; what is not explicitly effective is denied.

mod clock;
mod desk;
mod embedder;
mod fleet;
mod live;
mod standing;
mod written;

use mpkg_manifest::{PermissionName, PermissionSet, Reasons, ScopeValue, permission};

use crate::data::Decider;
use crate::rpc::{Denial, RpcError};
use crate::session::Session;

pub(crate) use desk::{Broker, Settings};
pub(crate) use fleet::Subject;
pub(crate) use standing::{Claim, Permissions};

use desk::Asked;
use fleet::Ordered;
use standing::{Standing, Verdict};

/// The most permissions a manifest may declare here: they are kept in one word.
pub(crate) const DECLARED_LIMIT: usize = 64;

/// One permission that a manifest declares.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) name: PermissionName,
    pub(crate) required: bool,
    pub(crate) reasons: Reasons,
    pub(crate) scope: ScopeValue,
}

impl Declared {
    pub(crate) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The permission and its scope as a set of one: what a grant is recorded as and compared with.
    pub(crate) fn scope_set(&self) -> PermissionSet {
        let mut set = PermissionSet::default();
        // A validated manifest's scopes are of the right kind; an empty set covers nothing.
        let _ = set.insert(self.name.clone(), self.scope.clone());
        set
    }

    fn is_covered_by(&self, granted: &PermissionSet) -> bool {
        granted.get(self.name()).is_some_and(|limit| self.scope.is_within(limit))
    }
}

/// What a method needs, resolved once when an app version is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Needs no permission (`log`, `clock`, `random`).
    Free,
    /// Needs the declared permission of this index.
    Declared(u8),
    /// Needs a permission that the app does not declare.
    Undeclared,
}

/// Whether `session` may pass `gate` without waiting for anybody. Allocates nothing.
#[inline]
pub(crate) fn is_open(session: &Session, gate: Gate) -> bool {
    match gate {
        Gate::Free => true,
        Gate::Declared(index) => session.permissions.is_effective(index),
        Gate::Undeclared => false,
    }
}

/// Decides whether `session` may pass `gate` now. The first word is the manifest's, then policy's, then the user's where
/// it is no, then the fleet's.
///
/// What was authorized is carried out to its end: a permission that is revoked while the call waits is missing from
/// the next call on.
#[inline]
pub(crate) async fn authorize(session: &Session, gate: Gate, method: &str) -> Result<(), RpcError> {
    if is_open(session, gate) {
        return Ok(());
    }
    match gate {
        Gate::Free => Ok(()),
        Gate::Declared(index) => ask_or_deny(session, index, method).await,
        Gate::Undeclared => Err(undeclared(session, method).await),
    }
}

#[cold]
async fn undeclared(session: &Session, method: &str) -> RpcError {
    let name = permission::method(method).map(|spec| spec.name.to_owned());
    let name = name.or_else(|| permission::host_permission_for_method(method));
    let name = name.as_deref().unwrap_or(method);
    if session.permissions.note_undeclared(name) {
        let (scope, denial) = (ScopeValue::None, Denial::NotDeclared);
        session.broker.note(&session.identity, name, scope, denial, Decider::Manifest).await;
    }
    RpcError::permission_denied(name, Denial::NotDeclared)
}

#[cold]
async fn ask_or_deny(session: &Session, index: u8, method: &str) -> Result<(), RpcError> {
    let declared = session.permissions.declared().get(usize::from(index));
    let Some(declared) = declared else { return Err(RpcError::internal()) };
    let denied = |denial| RpcError::permission_denied(declared.name(), denial);
    let refused = matches!(session.permissions.verdict(index), Verdict::Refused { .. });
    if !refused {
        // Nobody is asked for what would be refused all the same.
        follow_orders(session, index, declared, method).await.map_err(denied)?;
    }
    decide(session, index, declared).await.map_err(denied)?;
    // A kill may have come while the question was open.
    match session.permissions.ordered(index, Some(method)) {
        Ordered::Refused(denial) => Err(denied(refuse(session, index, declared, denial).await)),
        Ordered::Open | Ordered::Refresh => Ok(()),
    }
}

/// Refuses what the fleet's orders take. Where what is known is too old, asks for news once; and where there is none, has
/// the user decide anew.
async fn follow_orders(
    session: &Session,
    index: u8,
    declared: &Declared,
    method: &str,
) -> Result<(), Denial> {
    let permissions = &session.permissions;
    let mut ordered = permissions.ordered(index, Some(method));
    if ordered == Ordered::Refresh
        && let Some(orders) = permissions.orders()
    {
        tokio::select! {
            biased;
            () = session.life.switch.gone.cancelled() => return Err(Denial::Stale),
            () = orders.refresh() => {}
        }
        ordered = permissions.ordered(index, Some(method));
    }
    match ordered {
        Ordered::Open => Ok(()),
        Ordered::Refused(denial) => Err(refuse(session, index, declared, denial).await),
        Ordered::Refresh => {
            let turn = permissions.turn(index);
            ask(session, index, declared, false, turn).await?;
            if permissions.verdict(index) == Verdict::Allowed {
                permissions.renew(index);
            }
            Ok(())
        }
    }
}

/// Puts a refusal by the orders into the audit, once for each instance and permission.
async fn refuse(session: &Session, index: u8, declared: &Declared, denial: Denial) -> Denial {
    if session.permissions.note_ordered(index) {
        let scope = declared.scope.clone();
        session.broker.note(&session.identity, declared.name(), scope, denial, Decider::Fleet).await;
    }
    denial
}

/// Puts a question, and takes the answer if nothing was decided in between.
async fn ask(
    session: &Session,
    index: u8,
    declared: &Declared,
    expired: bool,
    turn: u32,
) -> Result<(), Denial> {
    let permissions = &session.permissions;
    let asked = Asked { identity: session.identity.clone(), declared: declared.clone(), expired };
    let answer = tokio::select! {
        biased;
        // Who asked is gone: the answer is no longer theirs.
        () = session.life.switch.gone.cancelled() => return Err(Denial::NotGranted),
        answer = session.broker.answer(asked) => answer,
    };
    if let Some(standing) = answer {
        permissions.answer(index, turn, standing);
        if matches!(standing, Standing::Refused { .. }) {
            // The answer itself is in the audit.
            permissions.note(index);
        }
    }
    Ok(())
}

/// Asks for one declared permission unless it is already decided, and records the answer.
async fn decide(session: &Session, index: u8, declared: &Declared) -> Result<(), Denial> {
    let permissions = &session.permissions;
    if let Verdict::Ask { expired, turn } = permissions.verdict(index) {
        ask(session, index, declared, expired, turn).await?;
    }
    match permissions.verdict(index) {
        Verdict::Allowed => Ok(()),
        Verdict::Refused { denial, by } => {
            if permissions.note(index) {
                let scope = declared.scope.clone();
                session.broker.note(&session.identity, declared.name(), scope, denial, by).await;
            }
            Err(denial)
        }
        // Taken back to "ask" while the question was open: the next use asks again.
        Verdict::Ask { .. } => Err(Denial::NotGranted),
    }
}

/// Asks the provider for every required permission, before the app runs. One that the fleet's orders take is left for
/// when it is used: a kill of a permission does not keep an app from being launched, and nobody is asked in vain.
pub(crate) async fn ask_required(session: &Session) -> Result<(), (String, Denial)> {
    for (index, declared) in (0u8..).zip(session.permissions.declared().iter()) {
        if declared.required && !matches!(session.permissions.ordered(index, None), Ordered::Refused(_)) {
            decide(session, index, declared).await.map_err(|denial| (declared.name().to_owned(), denial))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
