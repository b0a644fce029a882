//! The permission broker: the one gate between a guest and everything a host can do for it.
//!
//! Effective = the signed manifest ∩ the host's policy ∩ the user's grant. Every bridge call passes [`authorize`]
//! before it has any effect; what is not explicitly effective is denied.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mpkg_manifest::{PermissionName, PermissionSet, ScopeValue, permission};

use crate::data::{Data, DataError, Namespace, StoredDecision, StoredGrant};
use crate::policy::Policy;
use crate::provider::{Decision, PermissionRequest};
use crate::rpc::{Denial, RpcError};
use crate::session::Session;

/// The most permissions a manifest may declare here: they are kept in one word.
pub(crate) const DECLARED_LIMIT: usize = 64;

/// One permission that a manifest declares.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) name: PermissionName,
    pub(crate) required: bool,
    pub(crate) reason: Option<String>,
    pub(crate) scope: ScopeValue,
}

impl Declared {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The permission and its scope as a set of one: what a grant is recorded as and compared with.
    pub(crate) fn scope_set(&self) -> PermissionSet {
        let mut set = PermissionSet::default();
        // A validated manifest's scopes are of the right kind; an empty set is a subset of nothing granted wrongly.
        let _ = set.insert(self.name.clone(), self.scope.clone());
        set
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

/// The permissions of one instance: an allow is one load and one test.
#[derive(Debug)]
pub(crate) struct Permissions {
    declared: Arc<[Declared]>,
    effective: AtomicU64,
    /// Decisions against a permission, so that it is not asked about twice in a launch.
    refused: Mutex<HashMap<u8, Denial>>,
}

impl Permissions {
    /// Starts from what is recorded and what policy rules out.
    pub(crate) fn load(
        declared: Arc<[Declared]>,
        of: &Namespace,
        data: &Data,
        policy: &Policy,
    ) -> Result<Self, DataError> {
        let permissions =
            Self { declared, effective: AtomicU64::new(0), refused: Mutex::new(HashMap::new()) };
        for (index, wanted) in (0u8..).zip(permissions.declared.iter()) {
            if policy.denied_permissions.iter().any(|denied| denied == wanted.name()) {
                permissions.refuse(index, Denial::Policy);
                continue;
            }
            let Some(grant) = data.grant(of, wanted.name())? else { continue };
            // A grant for a narrower scope is no grant for this one: it is asked about again.
            let covered = wanted.scope_set().is_subset_of(&grant.scope);
            match grant.decision {
                StoredDecision::Allow if covered => permissions.allow(index),
                StoredDecision::Allow => {}
                StoredDecision::Block => permissions.refuse(index, Denial::Blocked),
                StoredDecision::Revoked => permissions.refuse(index, Denial::Revoked),
            }
        }
        Ok(permissions)
    }

    pub(crate) fn is_effective(&self, index: u8) -> bool {
        let mask = 1u64.checked_shl(index.into()).unwrap_or(0);
        self.effective.load(Ordering::Acquire) & mask != 0
    }

    fn allow(&self, index: u8) {
        self.lock_refused().remove(&index);
        self.effective.fetch_or(1u64.checked_shl(index.into()).unwrap_or(0), Ordering::AcqRel);
    }

    fn refuse(&self, index: u8, denial: Denial) {
        self.effective.fetch_and(!1u64.checked_shl(index.into()).unwrap_or(0), Ordering::AcqRel);
        self.lock_refused().insert(index, denial);
    }

    fn refusal(&self, index: u8) -> Option<Denial> {
        self.lock_refused().get(&index).copied()
    }

    fn lock_refused(&self) -> std::sync::MutexGuard<'_, HashMap<u8, Denial>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
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
            .filter(|(index, _)| self.is_effective(*index))
            .map(|(_, declared)| declared.name().to_owned())
            .collect()
    }

    /// Applies a grant or revocation to a running instance; policy's refusals stay.
    pub(crate) fn apply(&self, permission: &str, allowed: bool) {
        let Some(index) = self.index_of(permission) else { return };
        match (allowed, self.refusal(index)) {
            (true, Some(Denial::Policy)) => {}
            (true, _) => self.allow(index),
            (false, _) => self.refuse(index, Denial::Revoked),
        }
    }
}

/// Decides whether `session` may pass `gate` now. The first word is the manifest's, then policy's, then the user's.
#[inline]
pub(crate) async fn authorize(session: &Session, gate: Gate, method: &str) -> Result<(), RpcError> {
    match gate {
        Gate::Free => Ok(()),
        Gate::Declared(index) if session.permissions.is_effective(index) => Ok(()),
        Gate::Declared(index) => ask_or_deny(session, index).await,
        Gate::Undeclared => Err(undeclared(method)),
    }
}

#[cold]
fn undeclared(method: &str) -> RpcError {
    let name = permission::method(method).map(|spec| spec.name.to_owned());
    let name = name.or_else(|| permission::host_permission_for_method(method));
    RpcError::permission_denied(name.as_deref().unwrap_or(method), Denial::NotDeclared)
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
pub(crate) async fn decide(session: &Session, index: u8, declared: &Declared) -> Result<(), Denial> {
    let permissions = &session.permissions;
    if permissions.is_effective(index) {
        return Ok(());
    }
    if let Some(denial) = permissions.refusal(index) {
        return Err(denial);
    }
    let request = PermissionRequest {
        user: session.identity.user.clone(),
        app_id: session.identity.app_id.clone(),
        app_name: session.identity.app_name.clone(),
        permission: declared.name().to_owned(),
        sentence: permission::describe(declared.name()).map(|d| d.sentence.into_owned()).unwrap_or_default(),
        reason: declared.reason.clone(),
        scope: declared.scope.clone(),
        required: declared.required,
    };
    let decision = session.provider.decide(&request).await;
    // Somebody may have revoked it while the question was open: that was the user's last word in the settings.
    if let Some(denial) = permissions.refusal(index) {
        return Err(denial);
    }
    let record = match decision {
        Decision::AllowOnce | Decision::Deny => None,
        Decision::AllowAlways => Some(StoredDecision::Allow),
        Decision::Block => Some(StoredDecision::Block),
    };
    if let Some(decision) = record {
        let grant = StoredGrant { decision, scope: declared.scope_set() };
        if let Err(error) = session.data.set_grant(&session.namespace(), declared.name(), &grant) {
            tracing::error!(%error, permission = declared.name(), "a permission decision could not be recorded");
        }
    }
    match decision {
        Decision::AllowOnce | Decision::AllowAlways => {
            permissions.allow(index);
            Ok(())
        }
        Decision::Deny => {
            permissions.refuse(index, Denial::Denied);
            Err(Denial::Denied)
        }
        Decision::Block => {
            permissions.refuse(index, Denial::Blocked);
            Err(Denial::Blocked)
        }
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
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> ScopeValue {
        ScopeValue::Hosts(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn declare(name: &str, scope: ScopeValue) -> Declared {
        Declared { name: name.parse().unwrap(), required: false, reason: None, scope }
    }

    fn loaded(policy: &Policy) -> (tempfile::TempDir, Permissions) {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let of = Namespace { user: "ann".into(), owner: "mp1x/com.example.app".into() };
        for (decision, granted) in [
            (StoredDecision::Allow, declare("storage", ScopeValue::QuotaBytes(100))),
            (StoredDecision::Allow, declare("network", hosts(&["a.example"]))),
            (StoredDecision::Block, declare("events", ScopeValue::None)),
            (StoredDecision::Revoked, declare("clipboard", ScopeValue::None)),
        ] {
            let grant = StoredGrant { decision, scope: granted.scope_set() };
            data.set_grant(&of, granted.name(), &grant).unwrap();
        }
        let declared = [
            declare("storage", ScopeValue::QuotaBytes(100)),
            declare("network", hosts(&["a.example", "b.example"])),
            declare("events", ScopeValue::None),
            declare("clipboard", ScopeValue::None),
            declare("cart.read", ScopeValue::None),
        ];
        let permissions = Permissions::load(declared.into(), &of, &data, policy).unwrap();
        (folder, permissions)
    }

    #[test]
    fn nothing_is_effective_that_was_not_granted_for_this_scope() {
        let (_folder, permissions) = loaded(&Policy::default());
        assert_eq!(permissions.effective_names(), ["storage"]);
        assert_eq!(permissions.refusal(1), None, "the wider network scope is to be asked about");
        assert_eq!(permissions.refusal(2), Some(Denial::Blocked));
        assert_eq!(permissions.refusal(3), Some(Denial::Revoked));
        assert_eq!(permissions.refusal(4), None);
        assert!(!permissions.is_effective(64), "an index past the word is never effective");
    }

    #[test]
    fn policy_outranks_the_user() {
        let policy = Policy { denied_permissions: vec!["storage".into()], ..Policy::default() };
        let (_folder, permissions) = loaded(&policy);
        permissions.apply("storage", true);
        assert_eq!(permissions.effective_names(), [""; 0]);
        assert_eq!(permissions.refusal(0), Some(Denial::Policy));
    }

    #[test]
    fn grants_and_revocations_reach_a_running_instance() {
        let (_folder, permissions) = loaded(&Policy::default());
        permissions.apply("cart.read", true);
        assert!(permissions.is_effective(4));
        permissions.apply("cart.read", false);
        assert!(!permissions.is_effective(4));
        assert_eq!(permissions.refusal(4), Some(Denial::Revoked));
        permissions.apply("payments.request", true);
        assert_eq!(permissions.effective_names(), ["storage"], "an undeclared permission cannot be granted");
    }
}
