//! What launches read again and again. The database belongs to this process alone and changes in a few places, each of
//! which lets go of all of it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::grants::StoredGrant;
use super::{DataError, Namespace, OnHand};

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
    /// Changes that are being committed.
    changing: usize,
    on_hand: HashMap<String, Arc<OnHand>>,
    grants: HashMap<Namespace, Grants>,
}

/// While a change is committed. It may be seen from its middle on: nothing is kept until it is over, or one launch could
/// read the release that a change brings and, from before it, the grants that the change takes away.
pub(super) struct Changing<'m>(&'m Memo);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.turn(|changing| changing.saturating_sub(1));
    }
}

impl Memo {
    /// To be held while a change is committed. Lets go of everything, before and after.
    pub(super) fn change(&self) -> Changing<'_> {
        self.turn(|changing| changing + 1);
        Changing(self)
    }

    fn turn(&self, count: impl FnOnce(usize) -> usize) {
        let mut kept = self.lock();
        let (generation, changing) = (kept.generation + 1, count(kept.changing));
        *kept = Kept { generation, changing, ..Kept::default() };
    }

    pub(super) fn on_hand(
        &self,
        app_id: &str,
        read: impl FnOnce() -> Result<Option<OnHand>, DataError>,
    ) -> Result<Option<Arc<OnHand>>, DataError> {
        self.look_up(app_id, |kept| &mut kept.on_hand, || Ok(read()?.map(Arc::new)))
    }

    pub(super) fn grants(
        &self,
        of: &Namespace,
        read: impl FnOnce() -> Result<Grants, DataError>,
    ) -> Result<Grants, DataError> {
        Ok(self.look_up(of, |kept| &mut kept.grants, || read().map(Some))?.unwrap_or_default())
    }

    /// What is kept under a key, else what `read` finds. That is kept unless something changes or has changed meanwhile: it
    /// may have been read before that.
    fn look_up<Q, K, V>(
        &self,
        key: &Q,
        map: impl Fn(&mut Kept) -> &mut HashMap<K, V>,
        read: impl FnOnce() -> Result<Option<V>, DataError>,
    ) -> Result<Option<V>, DataError>
    where
        Q: ?Sized + Hash + Eq + ToOwned<Owned = K>,
        K: Hash + Eq + Borrow<Q>,
        V: Clone,
    {
        let before = {
            let mut kept = self.lock();
            if let Some(value) = map(&mut kept).get(key) {
                return Ok(Some(value.clone()));
            }
            kept.generation
        };
        let Some(value) = read()? else { return Ok(None) };
        let mut kept = self.lock();
        if kept.generation == before && kept.changing == 0 {
            let map = map(&mut kept);
            if map.len() >= KEPT {
                map.clear();
            }
            map.insert(key.to_owned(), value.clone());
        }
        Ok(Some(value))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        drop(memo.change());
        // The change comes while this one reads.
        let slow = || {
            drop(memo.change());
            read()
        };
        memo.grants(&of(), slow).unwrap();
        memo.grants(&of(), read).unwrap();
        assert_eq!(reads.get(), 3);
    }

    /// A commit is seen before it has returned: what was kept before must not be found beside what is read then.
    #[test]
    fn nothing_is_kept_while_a_change_is_committed() {
        let memo = Memo::default();
        let reads = std::cell::Cell::new(0);
        let read = || {
            reads.set(reads.get() + 1);
            Ok(Grants::from([]))
        };
        memo.grants(&of(), read).unwrap();
        let (one, other) = (memo.change(), memo.change());
        memo.grants(&of(), read).unwrap();
        drop(one);
        memo.grants(&of(), read).unwrap();
        assert_eq!(reads.get(), 3, "another change is not over");
        drop(other);
        memo.grants(&of(), read).unwrap();
        memo.grants(&of(), read).unwrap();
        assert_eq!(reads.get(), 4);
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
