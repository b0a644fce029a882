//! Forgetting one user of an app.

use mpkg_manifest::ScopeValue;
use redb::ReadableTable;

use super::grants::{GRANTS, Records, StoredGrant};
use super::values::clear;
use super::{DataError, Installed, Namespace};

impl Records<'_> {
    /// Forgets what was decided for a user of an app, what it has stored for them, and what is kept of that in earlier
    /// forms. The audit tells of every decision that goes.
    pub(crate) fn wipe(&self, user: &str, app: &Installed) -> Result<(), DataError> {
        let of = app.namespace(user);
        for (permission, grant) in self.grants_of(&of)? {
            self.remove_grant(&of, &permission)?;
            let scope = grant.scope.get(&permission).cloned().unwrap_or(ScopeValue::None);
            self.audit(app.audit(user, &permission, scope))?;
        }
        clear(self.txn, &of)?;
        self.drop_from_snapshots(&of)
    }

    fn grants_of(&self, of: &Namespace) -> Result<Vec<(String, StoredGrant)>, DataError> {
        let (user, owner) = (of.user.as_str(), of.owner.as_str());
        let table = self.txn.open_table(GRANTS)?;
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
}
