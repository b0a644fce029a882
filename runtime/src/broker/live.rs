//! The instances that a decision reaches while they run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mpkg_manifest::PermissionSet;

use super::standing::{Permissions, Standing};
use crate::data::Namespace;

type Entries = HashMap<u64, (Namespace, Weak<Permissions>)>;

/// The permissions of all instances of a host, from before they are launched to their end.
#[derive(Debug, Default)]
pub(super) struct Live {
    entries: Mutex<(u64, Entries)>,
}

/// A place in the list, given back on drop.
#[derive(Debug)]
pub(super) struct Listed {
    place: u64,
    live: Arc<Live>,
}

impl Live {
    pub(super) fn list(self: &Arc<Self>, of: Namespace, permissions: &Arc<Permissions>) {
        let place = {
            let (last, entries) = &mut *self.lock();
            *last += 1;
            entries.insert(*last, (of, Arc::downgrade(permissions)));
            *last
        };
        let _ = permissions.listed.set(Listed { place, live: self.clone() });
    }

    /// Applies a decision to every instance of a user's app.
    pub(super) fn apply(&self, of: &Namespace, permission: &str, standing: Standing, scope: &PermissionSet) {
        let reached: Vec<_> = {
            let (_, entries) = &*self.lock();
            entries.values().filter(|(theirs, _)| theirs == of).filter_map(|(_, one)| one.upgrade()).collect()
        };
        // Outside of the lock: whoever holds the last reference gives its place back.
        for permissions in reached {
            permissions.apply(permission, standing, scope);
        }
    }

    /// Brings the newest orders to every instance; returns what they take as a whole that was not taken before.
    pub(super) fn obey(&self) -> Vec<(Namespace, String)> {
        let all: Vec<_> = {
            let (_, entries) = &*self.lock();
            entries.values().filter_map(|(of, one)| Some((of.clone(), one.upgrade()?))).collect()
        };
        let taken = |(of, permissions): (Namespace, Arc<Permissions>)| {
            permissions.obey().into_iter().map(move |permission| (of.clone(), permission))
        };
        all.into_iter().flat_map(taken).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, Entries)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.live.lock().1.remove(&self.place);
    }
}
