//! A root document in the making.

use std::collections::BTreeMap;

use super::document::{Document, encode};
use super::{RELEASE_ROLE, ROOT_ROLE, Revocation, Role, Root, RootError, STATE_ROLE, STOP_ROLE};
use crate::digest::Hash;
use crate::keys::{KeyId, PublicKey};
use crate::time::Time;

/// What a root is going to say. [`Self::build`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    version: u32,
    keys: BTreeMap<KeyId, PublicKey>,
    roles: BTreeMap<String, Role>,
    /// When it stops being good for new installations.
    pub expires: Option<Time>,
    revoked: BTreeMap<KeyId, u64>,
    previous: Option<Hash>,
}

impl Draft {
    /// A publisher's first root, with nobody in it.
    pub fn first() -> Self {
        Self::with_roles([ROOT_ROLE, RELEASE_ROLE])
    }

    /// A registry's first root, with nobody in it: it signs the state of the fleet and releases nothing.
    pub fn registry() -> Self {
        Self::with_roles([ROOT_ROLE, STATE_ROLE, STOP_ROLE])
    }

    fn with_roles<const N: usize>(names: [&str; N]) -> Self {
        let empty = Role { keys: Vec::new(), threshold: 1 };
        Self {
            version: 1,
            keys: BTreeMap::new(),
            roles: names.map(|name| (name.to_owned(), empty.clone())).into(),
            expires: None,
            revoked: BTreeMap::new(),
            previous: None,
        }
    }

    /// The version after this root, with everything as it is.
    pub fn after(root: &Root) -> Self {
        let (version, previous) = (root.version().saturating_add(1), Some(root.hash()));
        Self { version, previous, ..Self::of(root) }
    }

    /// This root itself, to change what is not signed yet.
    pub fn of(root: &Root) -> Self {
        Self {
            version: root.version(),
            keys: root.keys().clone(),
            roles: root.roles().clone(),
            expires: root.expires(),
            revoked: root.revoked().iter().map(|found| (found.key, found.from_release_seq)).collect(),
            previous: root.previous(),
        }
    }

    /// Gives a key a role; a role that is not there is made. False if it has it already.
    pub fn add(&mut self, role: &str, key: &PublicKey) -> bool {
        let id = key.id();
        self.keys.insert(id, key.clone());
        let role = self.roles.entry(role.to_owned()).or_insert(Role { keys: Vec::new(), threshold: 1 });
        match role.keys.binary_search(&id) {
            Ok(_) => false,
            Err(at) => {
                role.keys.insert(at, id);
                true
            }
        }
    }

    /// Takes a role from a key. False if it has not got it.
    pub fn remove(&mut self, role: &str, key: KeyId) -> bool {
        let Some(role) = self.roles.get_mut(role) else { return false };
        let before = role.keys.len();
        role.keys.retain(|id| *id != key);
        role.keys.len() < before
    }

    /// Sets how many keys of a role it takes. False if there is no such role.
    pub fn set_threshold(&mut self, role: &str, threshold: u32) -> bool {
        self.roles.get_mut(role).map(|role| role.threshold = threshold).is_some()
    }

    /// Cuts a key off from a release sequence on. One that is cut off earlier stays so.
    pub fn revoke(&mut self, key: KeyId, from_release_seq: u64) {
        let from = self.revoked.entry(key).or_insert(from_release_seq);
        *from = (*from).min(from_release_seq);
    }

    /// Takes a revocation back. False if there is none.
    pub fn pardon(&mut self, key: KeyId) -> bool {
        self.revoked.remove(&key).is_some()
    }

    /// The roles as they are now.
    pub fn roles(&self) -> &BTreeMap<String, Role> {
        &self.roles
    }

    /// The document, if it keeps the rules. Keys without a role are left out.
    pub fn build(&self) -> Result<Root, RootError> {
        let used = |id: &KeyId| self.roles.values().any(|role| role.keys.contains(id));
        let keys: BTreeMap<KeyId, PublicKey> =
            self.keys.iter().filter(|(id, _)| used(id)).map(|(id, key)| (*id, key.clone())).collect();
        let revoked = self.revoked.iter();
        let document = Document::new(
            self.version,
            &keys,
            self.roles.clone(),
            self.expires,
            revoked.map(|(key, from)| Revocation { key: *key, from_release_seq: *from }).collect(),
            self.previous,
        );
        Root::parse(&encode(&document))
    }
}
