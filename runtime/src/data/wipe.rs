//! Forgetting one user of an app.

use mpkg_manifest::ScopeValue;

use super::grants::{GRANTS, Records, grants_in};
use super::values::clear;
use super::{DataError, Installed};

impl Records<'_> {
    /// Forgets what was decided for a user of an app, what it has stored for them, and what is kept of that in earlier
    /// forms. The audit tells of every decision that goes.
    pub(crate) fn wipe(&self, user: &str, app: &Installed) -> Result<(), DataError> {
        let of = app.namespace(user);
        let grants = grants_in(&self.txn.open_table(GRANTS)?, &of)?;
        for (permission, grant) in grants {
            self.remove_grant(&of, &permission)?;
            let scope = grant.scope.get(&permission).cloned().unwrap_or(ScopeValue::None);
            self.audit(app.audit(user, &permission, scope))?;
        }
        clear(self.txn, &of)?;
        self.drop_from_snapshots(&of)
    }
}
