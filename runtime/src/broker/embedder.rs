//! What the embedder decides, without a question.

use mpkg_manifest::{Manifest, PermissionSet, ScopeValue};

use super::desk::{Broker, lock};
use super::standing::{Standing, Term};
use crate::data::{AuditOutcome, AuditRecord, DataError, Decider, Installed, StoredDecision, StoredGrant};
use crate::rpc::Denial;

impl Broker {
    /// See [`Host::grant`](crate::Host::grant).
    pub(crate) fn grant(&self, user: &str, app_id: &str, permission: &str) -> Result<bool, DataError> {
        let _changing = lock(&self.changing);
        let unix_ms = self.clock.now_ms();
        let granted = self.settings.data.change(|records| {
            let Some(app) = records.installed(app_id)? else { return Ok(None) };
            let manifest: Manifest = serde_json::from_str(&app.manifest)?;
            let declared = crate::app::declared(&manifest);
            let Some(wanted) = declared.iter().find(|d| d.name() == permission) else { return Ok(None) };
            let (of, scope) = (app.namespace(user), wanted.scope_set());
            let grant = StoredGrant { decision: StoredDecision::Allow, scope: scope.clone(), unix_ms };
            records.set_grant(&of, permission, &grant)?;
            let audit = app.audit(user, permission, wanted.scope.clone());
            records.audit(AuditRecord {
                outcome: AuditOutcome::AllowedAlways,
                by: Decider::Host,
                ..audit
            })?;
            Ok(Some((of, scope)))
        })?;
        let Some((of, scope)) = granted else { return Ok(false) };
        self.live.apply(&of, permission, Standing::Allowed(Term::Always), &scope);
        self.overrule(|key| key.is_about(&of, permission));
        Ok(true)
    }

    /// See [`Host::revoke`](crate::Host::revoke).
    pub(crate) fn revoke(&self, user: &str, app: &Installed, permission: &str) -> Result<(), DataError> {
        let (of, nothing) = (app.namespace(user), PermissionSet::default());
        let revoked = Standing::Refused { denial: Denial::Revoked, by: Decider::Host };
        // At once, and not when the disk is done with somebody else's decision; and once more in its turn, after it.
        self.live.apply(&of, permission, revoked, &nothing);
        let _changing = lock(&self.changing);
        self.live.apply(&of, permission, revoked, &nothing);
        self.overrule(|key| key.is_about(&of, permission));
        self.unfix(|key| key.is_about(&of, permission));
        let (decision, unix_ms) = (StoredDecision::Revoked, self.clock.now_ms());
        let grant = StoredGrant { decision, scope: nothing.clone(), unix_ms };
        let recorded = self.settings.data.change(|records| {
            // Uninstalled meanwhile: nothing of it may stay.
            if records.installed(&app.app_id)?.is_none_or(|now| now.publisher != app.publisher) {
                return Ok(());
            }
            records.set_grant(&of, permission, &grant)?;
            let outcome = AuditOutcome::Denied { reason: Denial::Revoked };
            let audit = app.audit(user, permission, ScopeValue::None);
            records.audit(AuditRecord { outcome, by: Decider::Host, ..audit })
        });
        // Whoever was launched meanwhile may have read what was recorded before, and would keep it to its end. Also where
        // nothing could be recorded: what runs loses the permission all the same.
        self.live.apply(&of, permission, revoked, &nothing);
        recorded
    }

    /// See [`Host::forget`](crate::Host::forget).
    pub(crate) fn forget(&self, user: &str, app: &Installed, permission: &str) -> Result<bool, DataError> {
        let _changing = lock(&self.changing);
        let of = app.namespace(user);
        let existed = self.settings.data.change(|records| {
            let existed = records.remove_grant(&of, permission)?;
            if existed {
                records.audit(app.audit(user, permission, ScopeValue::None))?;
            }
            Ok(existed)
        })?;
        // First: whoever asks from here on is answered with a record of it.
        self.unfix(|key| key.is_about(&of, permission));
        self.live.apply(&of, permission, Standing::Open { expired: false }, &PermissionSet::default());
        self.overrule(|key| key.is_about(&of, permission));
        Ok(existed)
    }

    /// Forgets one user of an app, with everything that is recorded of them. Their instances have been stopped.
    pub(crate) fn wipe(&self, user: &str, app: &Installed) -> Result<(), DataError> {
        let _changing = lock(&self.changing);
        let of = app.namespace(user);
        // First, and under the lock that answers are recorded under: one to a question of before would be there afterwards.
        self.overrule(|key| key.is_of(&of));
        self.settings.data.change(|records| records.wipe(user, app))?;
        self.unfix(|key| key.is_of(&of));
        Ok(())
    }
}
