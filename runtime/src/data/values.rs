//! The apps' key-value pairs: one namespace for each user of each app, within a quota, changed in transactions.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::conditions::{COMPARED, Condition, Seen, judge};
use super::{Data, DataError, Namespace};

/// (user, publisher/app id, key) → JSON text.
pub(super) const VALUES: TableDefinition<'_, (&str, &str, &str), &str> = TableDefinition::new("values");
/// (user, publisher/app id) → (bytes, keys).
pub(super) const USAGE: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("usage");

/// The most keys of one app and user. Each takes room for the names of both besides its own text, which the quota does
/// not count: a bomb of the smallest keys would take many times what the app was given.
pub(crate) const KEYS: u64 = 65_536;

/// How often a transaction is judged anew because somebody changed what its conditions are about.
const TRIES: usize = 4;

/// Why a transaction was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreRefusal {
    #[error("storing this would take {wanted} bytes of {quota}")]
    Quota { used: u64, wanted: u64, quota: u64 },
    #[error("that would be {wanted} keys of {KEYS}")]
    Keys { used: u64, wanted: u64, quota: u64 },
    #[error("{key:?} is not as the transaction supposes")]
    Conflict { key: String },
    #[error("the conditions compare {bytes} bytes; the most is {COMPARED}")]
    Compared { bytes: usize },
    #[error("the app is being stopped")]
    Gone,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreWriteError {
    #[error(transparent)]
    Refused(#[from] StoreRefusal),
    #[error(transparent)]
    Data(#[from] DataError),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) keys: u64,
}

/// One step of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Op {
    Set { key: String, value: String },
    Delete { key: String },
}

impl Op {
    /// What it has to write.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Set { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}

fn size(key: &str, value: &str) -> u64 {
    (key.len() + value.len()) as u64
}

impl Data {
    pub(crate) fn kv_get(&self, of: &Namespace, key: &str) -> Result<Option<String>, DataError> {
        let table = self.db.begin_read()?.open_table(VALUES)?;
        Ok(table.get((of.user.as_str(), of.owner.as_str(), key))?.map(|value| value.value().to_owned()))
    }

    pub(crate) fn kv_usage(&self, of: &Namespace) -> Result<Usage, DataError> {
        let table = self.db.begin_read()?.open_table(USAGE)?;
        let (bytes, keys) =
            table.get((of.user.as_str(), of.owner.as_str()))?.map_or((0, 0), |usage| usage.value());
        Ok(Usage { bytes, keys })
    }

    /// Carries out all of `ops`, in their order, if every condition holds and what is stored afterwards is within the
    /// quota; else nothing. Returns the keys that were set or deleted.
    ///
    /// `wanted` is asked once no other transaction can come between: work of an instance that was stopped for its
    /// app's removal must not write the app's data anew.
    pub(crate) fn kv_apply(
        &self,
        of: &Namespace,
        conditions: &[Condition],
        ops: &[Op],
        quota: u64,
        wanted: impl Fn() -> bool,
    ) -> Result<Vec<String>, StoreWriteError> {
        let mut contended = String::new();
        for _ in 0..TRIES {
            let seen = self.judge(of, conditions)??;
            let txn = self.db.begin_write()?;
            if !wanted() {
                return Err(StoreRefusal::Gone.into());
            }
            // An uncommitted transaction is undone when it is dropped, whatever it has written.
            match apply(&txn, of, &seen, ops, quota)?? {
                Applied::Changed(keys) => {
                    if !keys.is_empty() {
                        txn.commit().map_err(DataError::from)?;
                    }
                    return Ok(keys);
                }
                Applied::Overtaken(key) => key.clone_into(&mut contended),
            }
        }
        // Whoever compares has lost to somebody again and again.
        Err(StoreRefusal::Conflict { key: contended }.into())
    }

    /// Judges conditions by what is stored now, without keeping anybody from writing.
    pub(super) fn judge<'c>(
        &self,
        of: &Namespace,
        conditions: &'c [Condition],
    ) -> Result<Result<Seen<'c>, StoreRefusal>, DataError> {
        if conditions.is_empty() {
            return Ok(Ok(Seen::default()));
        }
        judge(&self.db.begin_read()?.open_table(VALUES)?, of, conditions)
    }

    /// Deletes every key; returns how many, or nothing if that is no longer `wanted`, as for
    /// [`kv_apply`](Self::kv_apply): what is stored may be a successor's by then.
    pub(crate) fn kv_clear(
        &self,
        of: &Namespace,
        wanted: impl Fn() -> bool,
    ) -> Result<Option<u64>, DataError> {
        let txn = self.db.begin_write()?;
        if !wanted() {
            return Ok(None);
        }
        let keys = clear(&txn, of)?;
        txn.commit()?;
        Ok(Some(keys))
    }

    /// Keys that begin with `prefix` and come after `after`, and whether there are more than `limit`.
    pub(crate) fn kv_list(
        &self,
        of: &Namespace,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), DataError> {
        let (user, owner) = (of.user.as_str(), of.owner.as_str());
        let table = self.db.begin_read()?.open_table(VALUES)?;
        let start = after.filter(|&after| after > prefix).unwrap_or(prefix);
        let mut keys = Vec::new();
        for row in table.range((user, owner, start)..)? {
            let row = row?;
            let (of_user, of_owner, key) = row.0.value();
            if (of_user, of_owner) != (user, owner) || !key.starts_with(prefix) {
                break;
            }
            if after == Some(key) {
                continue;
            }
            if keys.len() == limit {
                return Ok((keys, true));
            }
            keys.push(key.to_owned());
        }
        Ok((keys, false))
    }
}

/// Deletes every key of one app and user; returns how many.
pub(super) fn clear(txn: &WriteTransaction, of: &Namespace) -> Result<u64, DataError> {
    let (user, owner) = (of.user.as_str(), of.owner.as_str());
    let mut values = txn.open_table(VALUES)?;
    let mut keys = Vec::new();
    for row in values.range((user, owner, "")..)? {
        let row = row?;
        let (of_user, of_owner, key) = row.0.value();
        if (of_user, of_owner) != (user, owner) {
            break;
        }
        keys.push(key.to_owned());
    }
    for key in &keys {
        values.remove((user, owner, key.as_str()))?;
    }
    txn.open_table(USAGE)?.remove((user, owner))?;
    Ok(keys.len() as u64)
}

/// What became of the steps of a transaction.
pub(super) enum Applied<'c> {
    /// They have changed these keys.
    Changed(Vec<String>),
    /// Nothing: somebody has changed this key since the conditions were judged.
    Overtaken(&'c str),
}

pub(super) fn apply<'c>(
    txn: &WriteTransaction,
    of: &Namespace,
    seen: &Seen<'c>,
    ops: &[Op],
    quota: u64,
) -> Result<Result<Applied<'c>, StoreRefusal>, DataError> {
    let (user, owner) = (of.user.as_str(), of.owner.as_str());
    let mut values = txn.open_table(VALUES)?;
    if let Some(key) = seen.changed(&values, of)? {
        return Ok(Ok(Applied::Overtaken(key)));
    }
    let mut usages = txn.open_table(USAGE)?;
    let (used, keys) = usages.get((user, owner))?.map_or((0, 0), |usage| usage.value());
    let (mut bytes_after, mut keys_after) = (used, keys);
    let mut changed = Vec::new();
    for op in ops {
        match op {
            Op::Set { key, value } => {
                let old = values.insert((user, owner, key.as_str()), value.as_str())?;
                let old = old.map(|old| size(key, old.value()));
                bytes_after = bytes_after.saturating_sub(old.unwrap_or(0)) + size(key, value);
                keys_after += u64::from(old.is_none());
                changed.push(key.clone());
            }
            Op::Delete { key } => {
                let old = values.remove((user, owner, key.as_str()))?;
                let Some(old) = old.map(|old| size(key, old.value())) else { continue };
                bytes_after = bytes_after.saturating_sub(old);
                keys_after = keys_after.saturating_sub(1);
                changed.push(key.clone());
            }
        }
    }
    // An app over its quota, because a new version asks for less, may still delete and shrink.
    if bytes_after > quota && bytes_after > used {
        return Ok(Err(StoreRefusal::Quota { used, wanted: bytes_after, quota }));
    }
    if keys_after > KEYS && keys_after > keys {
        return Ok(Err(StoreRefusal::Keys { used, wanted: keys_after, quota }));
    }
    usages.insert((user, owner), (bytes_after, keys_after))?;
    changed.sort_unstable();
    changed.dedup();
    Ok(Ok(Applied::Changed(changed)))
}
