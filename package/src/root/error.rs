//! Why a publisher root is refused.

use crate::text::Shown;
use mpkg_manifest::json::JsonError;
use thiserror::Error;

use super::PublisherId;
use crate::digest::Hash;
use crate::dsse::EnvelopeError;
use crate::keys::{KeyError, KeyId};
use crate::limits;
use crate::time::Time;

/// Why a publisher root, or a chain of them, is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RootError {
    /// Not strict JSON of the right shape.
    #[error("the root document is not valid: {0}")]
    Json(#[from] JsonError),
    /// Another spelling than the one.
    #[error("the root document is not written in its one form: it differs from byte {offset}")]
    NotCanonical {
        /// The first difference.
        offset: usize,
    },
    /// Another type of document.
    #[error("this is a document of type {}, expected mpkg.root.v1", Shown(.found))]
    Type {
        /// The type found.
        found: String,
    },
    /// An algorithm that this version does not know.
    #[error("key {key} is for the algorithm {}, this version knows ed25519", Shown(.algorithm))]
    Algorithm {
        /// The key.
        key: KeyId,
        /// Its algorithm.
        algorithm: String,
    },
    /// A key that cannot be used.
    #[error("key {key} of the root cannot be used: {error}")]
    Key {
        /// Its id.
        key: KeyId,
        /// Why.
        error: KeyError,
    },
    /// An id that is not the key's.
    #[error("the root calls a key {stated}, its id is {real}")]
    KeyId {
        /// The id in the document.
        stated: KeyId,
        /// The SHA-256 of the key.
        real: KeyId,
    },
    /// A role that is missing or cannot be filled.
    #[error("the role {} of the root cannot be used: {reason}", Shown(.role))]
    Role {
        /// Its name.
        role: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The first document is not a first one.
    #[error("the first root document has version {version} or names one before it, expected version 1")]
    First {
        /// Its version.
        version: u32,
    },
    /// A signature on a document that has no use for one.
    #[error("the first root document carries signatures; its hash alone vouches for it")]
    SignedFirst,
    /// Not the publisher that is trusted.
    #[error("the package comes from publisher {found}, trusted is {}", list(.trusted))]
    Untrusted {
        /// Who made the package.
        found: PublisherId,
        /// Who is trusted.
        trusted: Vec<PublisherId>,
    },
    /// The chain's own frame is broken.
    #[error("the chain of roots is damaged at byte {offset}")]
    Frame {
        /// Where.
        offset: usize,
    },
    /// No link, or too many.
    #[error("a chain of {links} roots is not possible, it has 1 to {}", limits::ROOT_LINKS)]
    Links {
        /// Their number.
        links: usize,
    },
    /// A document above its limit.
    #[error("the root has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A version left out, or one that is there already.
    #[error("root version {found} comes where version {expected} belongs")]
    Version {
        /// The version found.
        found: u32,
        /// The version after the one before.
        expected: u32,
    },
    /// The successor of another root.
    #[error("root version {version} does not follow from the root before it, whose SHA-256 is {expected}")]
    Previous {
        /// Its version.
        version: u32,
        /// What it should name.
        expected: Hash,
    },
    /// Too few of the old root's keys agree.
    #[error(
        "root version {version}: {found} of the needed {threshold} root keys of the version before signed"
    )]
    OldThreshold {
        /// Its version.
        version: u32,
        /// Valid signatures of different keys.
        found: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// Too few of its own keys agree.
    #[error("root version {version}: {found} of the needed {threshold} of its own root keys signed")]
    NewThreshold {
        /// Its version.
        version: u32,
        /// Valid signatures of different keys.
        found: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// An older root than the one that is known.
    #[error("the package comes with root version {found}, and version {floor} of this publisher is known")]
    Older {
        /// The chain's last version.
        found: u32,
        /// The version known.
        floor: u32,
    },
    /// Past its time.
    #[error("the publisher's root version {version} expired at {expires}")]
    Expired {
        /// Its version.
        version: u32,
        /// When.
        expires: Time,
    },
    /// Signed by keys that are cut off.
    #[error(
        "{} may not sign release {release_seq}: revoked; {found} of the needed {threshold} other keys signed",
        ids(.revoked)
    )]
    Revoked {
        /// The revoked signers.
        revoked: Vec<KeyId>,
        /// The release.
        release_seq: u64,
        /// How many other keys signed.
        found: usize,
        /// How many it takes.
        threshold: usize,
    },
    /// Revocations out of order, or two of one key.
    #[error("revocations are in ascending order of key id, one for each key; {key} breaks this")]
    RevokedOrder {
        /// The key out of order.
        key: KeyId,
    },
    /// Nothing to sign.
    #[error("the root file holds no proposal to sign")]
    NothingProposed,
    /// A signer who is not asked.
    #[error("key {key} is not a root key of this version or the one before")]
    NotARootKey {
        /// Its id.
        key: KeyId,
    },
    /// A link's envelope.
    #[error("a link of the chain of roots: {0}")]
    Envelope(#[from] EnvelopeError),
}

fn ids(keys: &[KeyId]) -> String {
    let word = if keys.len() == 1 { "key" } else { "keys" };
    format!("{word} {}", keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

fn list(publishers: &[PublisherId]) -> String {
    if publishers.is_empty() {
        return "nobody".to_owned();
    }
    publishers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl RootError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::NotCanonical { .. } => "MPKG-R01",
            Self::Type { .. } => "MPKG-R02",
            Self::Algorithm { .. } => "MPKG-R03",
            Self::Key { error, .. } => error.code(),
            Self::KeyId { .. } => "MPKG-R04",
            Self::Role { .. } => "MPKG-R05",
            Self::First { .. } => "MPKG-R07",
            Self::SignedFirst => "MPKG-R08",
            Self::Untrusted { .. } => "MPKG-R09",
            Self::Frame { .. } => "MPKG-R10",
            Self::Links { .. } => "MPKG-R11",
            Self::TooLarge { .. } => "MPKG-R12",
            Self::Version { .. } => "MPKG-R14",
            Self::Previous { .. } => "MPKG-R15",
            Self::OldThreshold { .. } => "MPKG-R16",
            Self::NewThreshold { .. } => "MPKG-R17",
            Self::Older { .. } => "MPKG-R18",
            Self::Expired { .. } => "MPKG-R19",
            Self::Revoked { .. } => "MPKG-R20",
            Self::RevokedOrder { .. } => "MPKG-R21",
            Self::NothingProposed => "MPKG-R22",
            Self::NotARootKey { .. } => "MPKG-R23",
            Self::Envelope(error) => error.code(),
        }
    }
}
