//! One root document.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use mpkg_manifest::json;
use serde::{Deserialize, Serialize};

use super::RootError;
use crate::digest::Hash;
use crate::keys::{KeyId, PublicKey};
use crate::limits;
use crate::time::Time;

const TYPE: &str = "mpkg.root.v1";
const ED25519: &str = "ed25519";
/// The role that signs the next root and permission grants.
pub const ROOT_ROLE: &str = "root";
/// The role that signs releases.
pub const RELEASE_ROLE: &str = "release";
/// The role of a registry's root that signs the state of the fleet.
pub const STATE_ROLE: &str = "state";
/// The role of a registry's root that may switch things off, and nothing else.
pub const STOP_ROLE: &str = "stop";
const PREFIX: &str = "mp1";

/// Who a publisher is: `mp1` and the base32 of the SHA-256 of its first root document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublisherId(Hash);

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&self.0.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublisherId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a publisher id: mp1 and 52 lower-case base32 digits";
        let digits = text.strip_prefix(PREFIX).ok_or(EXPECTED)?;
        let bytes = BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| EXPECTED)?;
        let id = Self(Hash(bytes.try_into().map_err(|_| EXPECTED)?));
        // Upper case, or spare bits in the last digit, would be a second spelling of one publisher.
        if id.to_string() == text { Ok(id) } else { Err(EXPECTED) }
    }
}

impl Serialize for PublisherId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublisherId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which keys act in a role, and how many of them it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Key ids, ascending.
    pub keys: Vec<KeyId>,
    /// How many of them must sign.
    pub threshold: u32,
}

/// A key whose releases stop counting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Its id.
    pub key: KeyId,
    /// The first release sequence that it can no longer sign.
    pub from_release_seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    alg: String,
    public: String,
}

/// The document as it is written: members in this order, no white space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    #[serde(rename = "type")]
    kind: String,
    version: u32,
    keys: BTreeMap<KeyId, KeyRecord>,
    roles: BTreeMap<String, Role>,
    expires: Option<Time>,
    revoked: Vec<Revocation>,
    previous: Option<Hash>,
}

impl Document {
    pub(super) fn new(
        version: u32,
        keys: &BTreeMap<KeyId, PublicKey>,
        roles: BTreeMap<String, Role>,
        expires: Option<Time>,
        revoked: Vec<Revocation>,
        previous: Option<Hash>,
    ) -> Self {
        let record =
            |key: &PublicKey| KeyRecord { alg: ED25519.to_owned(), public: HEXLOWER.encode(&key.to_bytes()) };
        let keys = keys.iter().map(|(id, key)| (*id, record(key))).collect();
        Self { kind: TYPE.to_owned(), version, keys, roles, expires, revoked, previous }
    }
}

/// A publisher root: keys, and what each may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    bytes: Vec<u8>,
    document: Document,
    keys: BTreeMap<KeyId, PublicKey>,
}

impl Root {
    /// The first root of a publisher with one key for everything. The same key gives the same document, so a
    /// publisher is known by its key alone.
    pub fn single(key: &PublicKey) -> Self {
        let id = key.id();
        let role = Role { keys: vec![id], threshold: 1 };
        let roles = BTreeMap::from([(ROOT_ROLE.to_owned(), role.clone()), (RELEASE_ROLE.to_owned(), role)]);
        let keys = BTreeMap::from([(id, key.clone())]);
        let document = Document::new(1, &keys, roles, None, Vec::new(), None);
        Self { bytes: encode(&document), document, keys }
    }

    /// Reads a document, which must be in its one byte form.
    pub fn parse(bytes: &[u8]) -> Result<Self, RootError> {
        if bytes.len() > limits::ROOT {
            return Err(RootError::TooLarge { size: bytes.len(), limit: limits::ROOT });
        }
        let document: Document = json::read(bytes, json::Limits::bytes(limits::ROOT))?;
        if document.kind != TYPE {
            return Err(RootError::Type { found: document.kind });
        }
        if let Some(offset) = crate::bytes::first_difference(bytes, &encode(&document)) {
            return Err(RootError::NotCanonical { offset });
        }
        let mut keys = BTreeMap::new();
        for (id, record) in &document.keys {
            keys.insert(*id, public_key(*id, record)?);
        }
        // A registry releases nothing, and need not enrol a key that could.
        let acts = if document.roles.contains_key(STATE_ROLE) { STATE_ROLE } else { RELEASE_ROLE };
        for needed in [ROOT_ROLE, acts] {
            if !document.roles.contains_key(needed) {
                return Err(RootError::Role { role: needed.to_owned(), reason: "it is missing" });
            }
        }
        for (name, role) in &document.roles {
            let refuse = |reason| Err(RootError::Role { role: name.clone(), reason });
            if !role.keys.is_sorted_by(|a, b| a < b) {
                return refuse("its keys are not in ascending order, each once");
            }
            if role.keys.iter().any(|key| !keys.contains_key(key)) {
                return refuse("it names a key that the root does not hold");
            }
            if role.threshold == 0 || role.threshold as usize > role.keys.len() {
                return refuse("its threshold is not between 1 and the number of its keys");
            }
            if role.threshold as usize > limits::SIGNATURES {
                return refuse("its threshold is above 16, the most signatures that a document can carry");
            }
        }
        // One key with two entries would be revoked from one release for one reader and from another for the next.
        if let Some([_, second]) = document.revoked.windows(2).find(|pair| match pair {
            [first, second] => first.key >= second.key,
            _ => false,
        }) {
            return Err(RootError::RevokedOrder { key: second.key });
        }
        Ok(Self { bytes: bytes.to_vec(), document, keys })
    }

    /// The document's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the document.
    pub fn hash(&self) -> Hash {
        Hash::of(&self.bytes)
    }

    /// Who this is, when it is a publisher's first root.
    pub fn publisher_id(&self) -> PublisherId {
        PublisherId(self.hash())
    }

    /// Its version, from 1.
    pub fn version(&self) -> u32 {
        self.document.version
    }

    /// All its keys.
    pub fn keys(&self) -> &BTreeMap<KeyId, PublicKey> {
        &self.keys
    }

    /// All its roles.
    pub fn roles(&self) -> &BTreeMap<String, Role> {
        &self.document.roles
    }

    /// When it stops being good for new installations.
    pub fn expires(&self) -> Option<Time> {
        self.document.expires
    }

    /// Keys whose releases stop counting.
    pub fn revoked(&self) -> &[Revocation] {
        &self.document.revoked
    }

    /// Whether a key's signature on this release counts for nothing.
    pub fn is_revoked(&self, key: KeyId, release_seq: u64) -> bool {
        let mut revoked = self.revoked().iter();
        revoked.any(|found| found.key == key && release_seq >= found.from_release_seq)
    }

    /// Whether this key alone can act for the role.
    pub fn is_enough(&self, role: &str, key: KeyId) -> bool {
        let (keys, threshold) = self.role(role);
        threshold == 1 && keys.contains_key(&key)
    }

    /// The hash of the version before.
    pub fn previous(&self) -> Option<Hash> {
        self.document.previous
    }

    /// The keys of a role, and how many of them it takes. A role that is not there has no keys and takes more than
    /// there can be.
    pub fn role(&self, name: &str) -> (BTreeMap<KeyId, PublicKey>, usize) {
        let Some(role) = self.document.roles.get(name) else { return (BTreeMap::new(), usize::MAX) };
        let keys = role.keys.iter().filter_map(|id| self.keys.get(id).map(|key| (*id, key.clone())));
        (keys.collect(), role.threshold as usize)
    }
}

pub(super) fn encode(document: &Document) -> Vec<u8> {
    // Strings, integers and maps with string keys always serialize.
    serde_json::to_vec(document).unwrap_or_default()
}

fn public_key(id: KeyId, record: &KeyRecord) -> Result<PublicKey, RootError> {
    if record.alg != ED25519 {
        return Err(RootError::Algorithm { key: id, algorithm: record.alg.clone() });
    }
    let raw = Hash::from_hex(&record.public)
        .ok_or(RootError::Key { key: id, error: crate::keys::KeyError::NotAPoint })?;
    let key = PublicKey::from_bytes(&raw.0).map_err(|error| RootError::Key { key: id, error })?;
    if key.id() != id {
        return Err(RootError::KeyId { stated: id, real: key.id() });
    }
    Ok(key)
}
