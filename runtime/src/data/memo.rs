//! What launches read again and again. The database belongs to this process alone and changes in a few places, each of
//! which lets go of all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::grants::StoredGrant;
use super::{DataError, Installed, Namespace};

/// What is recorded for one user's app, by permission.
pub(crate) type Grants = Arc<[(String, StoredGrant)]>;

/// The most entries of each kind, before it begins anew.
const KEPT: usize = 4096;

#[derive(Default)]
pub(super) struct Memo(Mutex<Kept>);

#[derive(Default)]
pub(super) struct Kept {
    /// How often all was let go of.
    generation: u64,
    installed: HashMap<String, Arc<Installed>>,
    grants: HashMap<Namespace, Grants>,
}

impl Memo {
    /// To be called after each change is committed.
    pub(super) fn forget(&self) {
        let mut kept = self.lock();
        *kept = Kept { generation: kept.generation + 1, ..Kept::default() };
    }

    pub(super) fn installed(
        &self,
        app_id: &str,
        read: impl FnOnce() -> Result<Option<Installed>, DataError>,
    ) -> Result<Option<Arc<Installed>>, DataError> {
        let before = {
            let kept = self.lock();
            if let Some(app) = kept.installed.get(app_id) {
                return Ok(Some(app.clone()));
            }
            kept.generation
        };
        let Some(app) = read()?.map(Arc::new) else { return Ok(None) };
        self.keep(before, |kept| keep(&mut kept.installed, app_id.to_owned(), app.clone()));
        Ok(Some(app))
    }

    pub(super) fn grants(
        &self,
        of: &Namespace,
        read: impl FnOnce() -> Result<Grants, DataError>,
    ) -> Result<Grants, DataError> {
        let before = {
            let kept = self.lock();
            if let Some(grants) = kept.grants.get(of) {
                return Ok(grants.clone());
            }
            kept.generation
        };
        let grants = read()?;
        self.keep(before, |kept| keep(&mut kept.grants, of.clone(), grants.clone()));
        Ok(grants)
    }

    /// Keeps what was read, unless something has changed since: it may have been read before that.
    fn keep(&self, before: u64, put: impl FnOnce(&mut Kept)) {
        let mut kept = self.lock();
        if kept.generation == before {
            put(&mut kept);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= KEPT {
        map.clear();
    }
    map.insert(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of() -> Namespace {
        Namespace::new("ann", "mp1a", "com.example.a")
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept_after_it() {
        let memo = Memo::default();
        let reads = std::cell::Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            Ok(Grants::from([]))
        };
        memo.grants(&of(), read).unwrap();
        memo.grants(&of(), read).unwrap();
        assert_eq!(reads.get(), 1);
        memo.forget();
        // The change comes while this one reads.
        let slow = || {
            memo.forget();
            read()
        };
        memo.grants(&of(), slow).unwrap();
        memo.grants(&of(), read).unwrap();
        assert_eq!(reads.get(), 3);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let memo = Memo::default();
        for n in 0..2 * KEPT {
            let of = Namespace::new(&n.to_string(), "mp1a", "com.example.a");
            memo.grants(&of, || Ok(Grants::from([]))).unwrap();
        }
        assert!(memo.lock().grants.len() <= KEPT);
    }
}
