//! What an embedder's settings screen needs: what was decided, and how to change it.

use mpkg_manifest::ScopeValue;
use serde::Serialize;

use crate::data::{AuditPage, DataError, StoredDecision};
use crate::host::Host;

/// A decision that is recorded for a user and an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Grant {
    /// The permission.
    pub permission: String,
    /// What was decided.
    pub decision: GrantDecision,
    /// What the permission is limited to.
    pub scope: ScopeValue,
    /// When it was decided, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// What was decided, for longer than a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum GrantDecision {
    /// Allowed until it is taken back.
    Always,
    /// Allowed whenever the app is in use.
    WhileInUse,
    /// Allowed up to a time.
    Until {
        /// The time, in milliseconds since 1970. Grants that have run out stay listed until the app asks again.
        unix_ms: u64,
    },
    /// Denied, and not to be asked about.
    Blocked,
    /// Taken back with [`Host::revoke`].
    Revoked,
}

/// All of these wait for the disk.
impl Host {
    /// Gives an app a permission that its manifest declares, for one user, until it is revoked; running instances
    /// have it at once. False if the installed version does not declare it.
    ///
    /// # Errors
    /// If the decision cannot be recorded; it does not take effect then.
    pub fn grant(&self, user: &str, app_id: &str, permission: &str) -> Result<bool, DataError> {
        self.inner.broker.grant(user, app_id, permission)
    }

    /// Takes a permission back, at once, from running instances too. It stays so until it is granted. An open question
    /// about it is closed; a call that was authorized before is carried out to its end.
    ///
    /// # Errors
    /// If the decision cannot be recorded. Running instances have lost the permission even then.
    pub fn revoke(&self, user: &str, app_id: &str, permission: &str) -> Result<(), DataError> {
        let Some(app) = self.inner.data.installed(app_id)? else { return Ok(()) };
        let revoked = self.inner.broker.revoke(user, &app, permission);
        // Afterwards, and whether or not it is recorded: an app could subscribe anew in between.
        self.inner.local.revoked(&app.namespace(user), permission);
        revoked
    }

    /// Forgets what was decided on a permission: the next use asks, in running instances too, and what the app was to be
    /// told under it is forgotten with it. False if nothing was recorded.
    ///
    /// # Errors
    /// If that cannot be recorded; it does not take effect then.
    pub fn forget(&self, user: &str, app_id: &str, permission: &str) -> Result<bool, DataError> {
        let Some(app) = self.inner.data.installed(app_id)? else { return Ok(false) };
        let existed = self.inner.broker.forget(user, &app, permission)?;
        self.inner.local.revoked(&app.namespace(user), permission);
        Ok(existed)
    }

    /// What is recorded for a user and an app, by permission.
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn grants(&self, user: &str, app_id: &str) -> Result<Vec<Grant>, DataError> {
        let Some(app) = self.inner.data.installed(app_id)? else { return Ok(Vec::new()) };
        let stored = self.inner.data.grants(&app.namespace(user))?;
        Ok(stored
            .iter()
            .map(|(permission, grant)| Grant {
                decision: match grant.decision {
                    StoredDecision::Allow => GrantDecision::Always,
                    StoredDecision::AllowInUse => GrantDecision::WhileInUse,
                    StoredDecision::AllowUntil { unix_ms } => GrantDecision::Until { unix_ms },
                    StoredDecision::Block => GrantDecision::Blocked,
                    StoredDecision::Revoked => GrantDecision::Revoked,
                },
                scope: grant.scope.get(permission).cloned().unwrap_or(ScopeValue::None),
                unix_ms: grant.unix_ms,
                permission: permission.clone(),
            })
            .collect())
    }

    /// At most `limit` records of the audit after the sequence number `after_seq`, 0 for the oldest there are. The
    /// audit keeps the newest 10 000, and tells how many it has no more.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let folder = tempfile::tempdir().unwrap();
    /// let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// let page = host.audit(0, 100).unwrap();
    /// assert!(page.records.is_empty() && page.missed == 0);
    /// # });
    /// ```
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn audit(&self, after_seq: u64, limit: usize) -> Result<AuditPage, DataError> {
        self.inner.data.audit(after_seq, limit)
    }
}
