//! The permission broker: the one gate between a guest and everything a host can do for it.
//!
//! Effective = the signed manifest ∩ the host's policy ∩ the user's grant. Every bridge call passes [`authorize`]
//! before it has any effect; what is not explicitly effective is denied.

mod clock;
mod desk;
mod live;
mod standing;

use mpkg_manifest::{PermissionName, PermissionSet, Reasons, ScopeValue, permission};

use crate::data::Decider;
use crate::rpc::{Denial, RpcError};
use crate::session::Session;

pub(crate) use desk::{Broker, Settings};
pub(crate) use standing::Permissions;

use desk::Asked;
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

/// Decides whether `session` may pass `gate` now. The first word is the manifest's, then policy's, then the user's.
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
        Gate::Declared(index) => ask_or_deny(session, index).await,
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
async fn ask_or_deny(session: &Session, index: u8) -> Result<(), RpcError> {
    let declared = session.permissions.declared().get(usize::from(index));
    let Some(declared) = declared else { return Err(RpcError::internal()) };
    decide(session, index, declared)
        .await
        .map_err(|denial| RpcError::permission_denied(declared.name(), denial))
}

/// Asks for one declared permission unless it is already decided, and records the answer.
async fn decide(session: &Session, index: u8, declared: &Declared) -> Result<(), Denial> {
    let permissions = &session.permissions;
    if let Verdict::Ask { expired, turn } = permissions.verdict(index) {
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

/// Asks the provider for every required permission, before the app runs.
pub(crate) async fn ask_required(session: &Session) -> Result<(), (String, Denial)> {
    for (index, declared) in (0u8..).zip(session.permissions.declared().iter()) {
        if declared.required {
            decide(session, index, declared).await.map_err(|denial| (declared.name().to_owned(), denial))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
