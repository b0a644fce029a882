//! Storage keys that somebody else changed, for an instance that watches.

use std::collections::BTreeSet;

use super::state::Retry;

/// The most prefixes that one instance may watch.
pub(crate) const WATCHES: usize = 16;
/// The most changed keys that are told by name; beyond it the app is told that there are more.
const KEYS: usize = 128;

/// Changes that were not told yet. They coalesce: a key that changed twice is told once.
#[derive(Debug, Default)]
pub(super) struct Watch {
    pub(super) prefixes: BTreeSet<String>,
    changes: Changes,
    pub(super) retry: Retry,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) keys: BTreeSet<String>,
    /// Others changed as well.
    pub(super) more: bool,
}

impl Changes {
    fn add(&mut self, key: &str) {
        if self.keys.len() < KEYS {
            self.keys.insert(key.to_owned());
        } else if !self.keys.contains(key) {
            self.more = true;
        }
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.more
    }
}

impl Watch {
    /// True if there is something new to tell.
    pub(super) fn changed(&mut self, keys: Option<&[String]>) -> bool {
        let Some(keys) = keys else {
            let watching = !self.prefixes.is_empty();
            self.changes.more |= watching;
            return watching;
        };
        let mut any = false;
        for key in keys.iter().filter(|key| self.prefixes.iter().any(|prefix| key.starts_with(prefix))) {
            self.changes.add(key);
            any = true;
        }
        any
    }

    /// Bytes of prefixes and keys.
    pub(super) fn bytes(&self) -> usize {
        self.prefixes.iter().chain(&self.changes.keys).map(String::len).sum()
    }

    /// Changes that there is no memory to name are told without names.
    pub(super) fn forget_names(&mut self) {
        self.changes.more |= !self.changes.keys.is_empty();
        self.changes.keys.clear();
    }

    pub(super) fn pending(&self) -> bool {
        !self.changes.is_empty()
    }

    pub(super) fn take(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Takes back what could not be told.
    pub(super) fn put_back(&mut self, changes: Changes) {
        self.changes.more |= changes.more;
        changes.keys.iter().for_each(|key| self.changes.add(key));
    }

    pub(super) fn unwatch(&mut self, prefix: &str) -> bool {
        let was = self.prefixes.remove(prefix);
        if self.prefixes.is_empty() {
            self.changes = Changes::default();
        }
        was
    }
}
