//! Whose tokens were seen lately. A host sends with each batch, and asking the database who it is would take longer
//! than everything else about it.
//!
//! This process is the only one that writes to the database, so what ends a token ends it here too.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mpkg_package::Hash;

use crate::auth::Caller;

/// Tokens that are remembered, about 300 bytes each.
const MOST: usize = 65_536;

#[derive(Default)]
struct Known {
    by_hash: HashMap<Hash, Caller>,
    /// Grows with each revocation.
    revoked: u64,
}

/// Callers by the hash of their token.
#[derive(Default)]
pub(crate) struct Callers(Mutex<Known>);

/// How many revocations there had been when the database was asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked(u64);

impl Callers {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has this token, if that is remembered and it counts now.
    pub(crate) fn find(&self, token: Hash, now: i64) -> Result<Caller, Asked> {
        let known = self.known();
        let caller = known.by_hash.get(&token).filter(|it| it.expires.is_none_or(|at| now < at));
        caller.cloned().ok_or(Asked(known.revoked))
    }

    /// Remembers what the database said, unless a token was revoked since it was asked: that may have been this one.
    pub(crate) fn remember(&self, token: Hash, caller: &Caller, asked: Asked) {
        let mut known = self.known();
        if known.revoked != asked.0 {
            return;
        }
        if known.by_hash.len() >= MOST {
            known.by_hash.clear();
        }
        known.by_hash.insert(token, caller.clone());
    }

    /// Forgets a token that was revoked.
    pub(crate) fn forget(&self, id: &str) {
        let mut known = self.known();
        known.revoked += 1;
        known.by_hash.retain(|_, caller| caller.token != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(token: &str, expires: Option<i64>) -> Caller {
        Caller { token: token.into(), expires, ..Caller::registry("test") }
    }

    #[test]
    fn what_was_revoked_while_the_database_was_asked_is_not_remembered() {
        let (callers, hash) = (Callers::default(), Hash::of(b"token"));
        let Err(asked) = callers.find(hash, 0) else { panic!("nobody is known yet") };
        callers.forget("a");
        callers.remember(hash, &caller("a", None), asked);
        let Err(asked) = callers.find(hash, 0) else { panic!("it was revoked") };
        callers.remember(hash, &caller("a", None), asked);
        assert_eq!(callers.find(hash, 0).ok().map(|it| it.token), Some("a".into()));
        callers.forget("b");
        assert!(callers.find(hash, 0).is_ok(), "another one");
        callers.forget("a");
        assert!(callers.find(hash, 0).is_err());
    }

    #[test]
    fn tokens_end_while_they_are_remembered() {
        let (callers, hash) = (Callers::default(), Hash::of(b"token"));
        callers.remember(hash, &caller("a", Some(10)), Asked(0));
        assert!(callers.find(hash, 9).is_ok());
        assert!(callers.find(hash, 10).is_err());
    }

    #[test]
    fn there_are_only_so_many() {
        let callers = Callers::default();
        for number in 0..=MOST as u64 {
            callers.remember(Hash::of(&number.to_be_bytes()), &caller("a", None), Asked(0));
        }
        assert!(callers.known().by_hash.len() <= MOST);
    }
}
