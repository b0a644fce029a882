//! What the apps had stored when a release with another storage schema took over, so that going back loses nothing.

use redb::{ReadableTable, TableDefinition};

use super::grants::Records;
use super::values::{USAGE, VALUES};
use super::{DataError, Namespace};

/// (publisher/app id, schema, user, key) → JSON text.
pub(super) const SNAPSHOTS: TableDefinition<'_, (&str, u32, &str, &str), &str> =
    TableDefinition::new("snapshots");
/// (publisher/app id, schema) → when it was taken, as a number that grows. There may be a snapshot with nothing in it.
pub(super) const TAKEN: TableDefinition<'_, (&str, u32), u64> = TableDefinition::new("snapshots_taken");

/// The most snapshots of an app; the oldest goes first.
const KEPT: usize = 2;

impl Records<'_> {
    /// A release with the schema `to` takes the place of one with the schema `from`: what all users have stored is kept
    /// under `from`. What was kept under `to`, if anything was, takes its place; else it stays, for the release to make
    /// the best of.
    pub(super) fn change_schema(&self, owner: &str, from: u32, to: u32) -> Result<(), DataError> {
        if from == to {
            return Ok(());
        }
        self.drop_snapshot(owner, from)?;
        let order = self.taken(owner)?.iter().map(|(order, _)| order + 1).max().unwrap_or(1);
        {
            let mut snapshots = self.txn.open_table(SNAPSHOTS)?;
            for row in self.txn.open_table(VALUES)?.iter()? {
                let (key, value) = row?;
                let (user, of, key) = key.value();
                if of == owner {
                    snapshots.insert((owner, from, user, key), value.value())?;
                }
            }
            self.txn.open_table(TAKEN)?.insert((owner, from), order)?;
        }
        if self.taken(owner)?.iter().any(|(_, schema)| *schema == to) {
            self.restore(owner, to)?;
            self.drop_snapshot(owner, to)?;
        }
        let mut taken = self.taken(owner)?;
        taken.sort_unstable();
        for (_, schema) in taken.iter().take(taken.len().saturating_sub(KEPT)) {
            self.drop_snapshot(owner, *schema)?;
        }
        Ok(())
    }

    /// Forgets all snapshots of an app.
    pub(super) fn drop_snapshots(&self, owner: &str) -> Result<(), DataError> {
        for (_, schema) in self.taken(owner)? {
            self.drop_snapshot(owner, schema)?;
        }
        Ok(())
    }

    /// Forgets what all snapshots of an app have of one user.
    pub(super) fn drop_from_snapshots(&self, of: &Namespace) -> Result<(), DataError> {
        let (user, owner) = (of.user.as_str(), of.owner.as_str());
        for (_, schema) in self.taken(owner)? {
            let mut snapshots = self.txn.open_table(SNAPSHOTS)?;
            let mut keys = Vec::new();
            for row in snapshots.range((owner, schema, user, "")..)? {
                let row = row?;
                let (of_owner, of_schema, of_user, key) = row.0.value();
                if (of_owner, of_schema, of_user) != (owner, schema, user) {
                    break;
                }
                keys.push(key.to_owned());
            }
            for key in &keys {
                snapshots.remove((owner, schema, user, key.as_str()))?;
            }
        }
        Ok(())
    }

    /// When which was taken.
    fn taken(&self, owner: &str) -> Result<Vec<(u64, u32)>, DataError> {
        let table = self.txn.open_table(TAKEN)?;
        let mut taken = Vec::new();
        for row in table.range((owner, 0)..=(owner, u32::MAX))? {
            let (key, order) = row?;
            taken.push((order.value(), key.value().1));
        }
        Ok(taken)
    }

    /// Puts a snapshot in the place of what is stored.
    fn restore(&self, owner: &str, schema: u32) -> Result<(), DataError> {
        let mut values = self.txn.open_table(VALUES)?;
        let mut usages = self.txn.open_table(USAGE)?;
        values.retain(|(_, of, _), _| of != owner)?;
        usages.retain(|(_, of), _| of != owner)?;
        let snapshots = self.txn.open_table(SNAPSHOTS)?;
        for row in snapshots.range((owner, schema, "", "")..(owner, schema + 1, "", ""))? {
            let (key, value) = row?;
            let (_, _, user, key) = key.value();
            let value = value.value();
            values.insert((user, owner, key), value)?;
            let (bytes, keys) = usages.get((user, owner))?.map_or((0, 0), |usage| usage.value());
            usages.insert((user, owner), (bytes + (key.len() + value.len()) as u64, keys + 1))?;
        }
        Ok(())
    }

    fn drop_snapshot(&self, owner: &str, schema: u32) -> Result<(), DataError> {
        let rows = (owner, schema, "", "")..(owner, schema + 1, "", "");
        self.txn.open_table(SNAPSHOTS)?.retain_in(rows, |_, _| false)?;
        self.txn.open_table(TAKEN)?.remove((owner, schema))?;
        Ok(())
    }
}
