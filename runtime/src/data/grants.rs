//! Recorded decisions on permissions. Whatever changes them is one transaction, with the audit of it inside.

use std::cell::RefCell;

use mpkg_manifest::{Manifest, PermissionSet, ScopeValue};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::audit::{AuditOutcome, AuditRecord, Decider};
use super::memo::Grants;
use super::{Data, DataError, INSTALLED, Installed, Namespace};

/// (user, publisher/app id, permission) → [`StoredGrant`] as JSON.
pub(super) const GRANTS: TableDefinition<'_, (&str, &str, &str), &str> = TableDefinition::new("grants");

/// A decision that outlives an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredGrant {
    pub(crate) decision: StoredDecision,
    /// The permission with the scope that was shown to the user.
    pub(crate) scope: PermissionSet,
    /// When it was decided, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StoredDecision {
    Allow,
    AllowInUse,
    AllowUntil { unix_ms: u64 },
    Block,
    Revoked,
}

impl StoredDecision {
    fn is_allow(self) -> bool {
        match self {
            Self::Allow | Self::AllowInUse | Self::AllowUntil { .. } => true,
            Self::Block | Self::Revoked => false,
        }
    }
}

/// The tables of one write transaction.
pub(crate) struct Records<'t> {
    pub(super) txn: &'t WriteTransaction,
    pub(super) audit_kept: u64,
    /// Allows that an update has taken, to be told once that is committed.
    asked_again: RefCell<Vec<(Namespace, String)>>,
}

impl<'t> Records<'t> {
    pub(super) fn new(txn: &'t WriteTransaction, audit_kept: u64) -> Self {
        Self { txn, audit_kept, asked_again: RefCell::default() }
    }
}

impl Records<'_> {
    pub(crate) fn installed(&self, app_id: &str) -> Result<Option<Installed>, DataError> {
        let table = self.txn.open_table(INSTALLED)?;
        let record = table.get(app_id)?;
        record.map(|json| Ok(serde_json::from_str(json.value())?)).transpose()
    }

    pub(super) fn all_installed(&self) -> Result<Vec<Installed>, DataError> {
        let table = self.txn.open_table(INSTALLED)?;
        table.iter()?.map(|row| Ok(serde_json::from_str(row?.1.value())?)).collect()
    }

    pub(crate) fn grant(&self, of: &Namespace, permission: &str) -> Result<Option<StoredGrant>, DataError> {
        let table = self.txn.open_table(GRANTS)?;
        let record = table.get((of.user.as_str(), of.owner.as_str(), permission))?;
        record.map(|json| Ok(serde_json::from_str(json.value())?)).transpose()
    }

    pub(crate) fn set_grant(
        &self,
        of: &Namespace,
        permission: &str,
        grant: &StoredGrant,
    ) -> Result<(), DataError> {
        let json = serde_json::to_string(grant)?;
        let mut table = self.txn.open_table(GRANTS)?;
        table.insert((of.user.as_str(), of.owner.as_str(), permission), json.as_str())?;
        Ok(())
    }

    /// True if there was one.
    pub(crate) fn remove_grant(&self, of: &Namespace, permission: &str) -> Result<bool, DataError> {
        let mut table = self.txn.open_table(GRANTS)?;
        Ok(table.remove((of.user.as_str(), of.owner.as_str(), permission))?.is_some())
    }

    /// Forgets what all users allowed to an app, if `after` asks for more than `before` did. Their blocks and
    /// revocations stay.
    pub(super) fn ask_again_if_grown(&self, before: &Installed, after: &Installed) -> Result<(), DataError> {
        // A manifest that cannot be read any more is no proof that nothing was added.
        let asked = |app: &Installed| {
            serde_json::from_str::<Manifest>(&app.manifest).map(|manifest| manifest.permissions()).ok()
        };
        if let (Some(before), Some(after)) = (asked(before), asked(after))
            && after.is_subset_of(&before)
        {
            return Ok(());
        }
        let owner = after.namespace("").owner;
        let mut allowed = Vec::new();
        for row in self.txn.open_table(GRANTS)?.iter()? {
            let (key, json) = row?;
            let (user, of, permission) = key.value();
            if of == owner {
                let grant: StoredGrant = serde_json::from_str(json.value())?;
                if grant.decision.is_allow() {
                    allowed.push((user.to_owned(), permission.to_owned(), grant.scope));
                }
            }
        }
        for (user, permission, scope) in allowed {
            let of = after.namespace(&user);
            self.remove_grant(&of, &permission)?;
            let scope = scope.get(&permission).cloned().unwrap_or(ScopeValue::None);
            self.audit(AuditRecord {
                outcome: AuditOutcome::AskAgain,
                by: Decider::Update,
                ..after.audit(&user, &permission, scope)
            })?;
            self.asked_again.borrow_mut().push((of, permission));
        }
        Ok(())
    }
}

impl Installed {
    /// A record about this version, to be completed with an outcome.
    pub(crate) fn audit(&self, user: &str, permission: &str, scope: ScopeValue) -> AuditRecord {
        AuditRecord::about([user, &self.publisher, &self.app_id, &self.version], permission, scope)
    }
}

impl Data {
    /// Changes records all together or, when `work` fails, not at all. Waits for the disk.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&Records<'_>) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let txn = self.db.begin_write()?;
        let records = Records::new(&txn, self.audit_kept);
        let done = work(&records)?;
        let asked_again = records.asked_again.into_inner();
        self.commit(txn)?;
        self.tell(&asked_again);
        Ok(done)
    }

    /// The same, but where `work` finds nothing to do nothing is written.
    pub(crate) fn change_if<T>(
        &self,
        work: impl FnOnce(&Records<'_>) -> Result<Option<T>, DataError>,
    ) -> Result<Option<T>, DataError> {
        let txn = self.db.begin_write()?;
        let records = Records::new(&txn, self.audit_kept);
        let done = work(&records)?;
        let asked_again = records.asked_again.into_inner();
        match done {
            Some(_) => {
                self.commit(txn)?;
                self.tell(&asked_again);
            }
            None => txn.abort()?,
        }
        Ok(done)
    }

    fn tell(&self, asked_again: &[(Namespace, String)]) {
        if let Some(told) = self.asked_again.get() {
            asked_again.iter().for_each(|(of, permission)| told(of, permission));
        }
    }

    /// Who is told, right after it, of every allow that an update takes. Set once, by the host.
    pub(crate) fn on_asked_again(&self, told: impl Fn(&Namespace, &str) + Send + Sync + 'static) {
        let _ = self.asked_again.set(Box::new(told));
    }

    /// What is recorded for a user and an app, by permission.
    pub(crate) fn grants(&self, of: &Namespace) -> Result<Grants, DataError> {
        self.memo.grants(of, || {
            let table = self.db.begin_read()?.open_table(GRANTS)?;
            Ok(grants_in(&table, of)?.into())
        })
    }
}

/// The decisions about one user and app in a table, whether it is only read or being written.
pub(super) fn grants_in(
    table: &impl ReadableTable<(&'static str, &'static str, &'static str), &'static str>,
    of: &Namespace,
) -> Result<Vec<(String, StoredGrant)>, DataError> {
    let (user, owner) = (of.user.as_str(), of.owner.as_str());
    let mut grants = Vec::new();
    for row in table.range((user, owner, "")..)? {
        let (key, json) = row?;
        let (of_user, of_owner, permission) = key.value();
        if (of_user, of_owner) != (user, owner) {
            break;
        }
        grants.push((permission.to_owned(), serde_json::from_str(json.value())?));
    }
    Ok(grants)
}
