//! Why a publisher root is refused.

use crate::text::Shown;
use mpkg_manifest::json::JsonError;
use thiserror::Error;

use super::PublisherId;
use crate::dsse::EnvelopeError;
use crate::keys::{KeyError, KeyId};
use crate::limits;

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
    /// Something that only a newer version can judge.
    #[error("the root document {what}, which this version cannot judge")]
    Unsupported {
        /// What it does.
        what: &'static str,
    },
    /// The first document is not a first one.
    #[error("the first root document has version {version}, expected 1")]
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
    #[error("the root document has {size} bytes, the limit is {}", limits::ROOT)]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// A link's envelope.
    #[error("a link of the chain of roots: {0}")]
    Envelope(#[from] EnvelopeError),
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
            Self::Unsupported { .. } => "MPKG-R06",
            Self::First { .. } => "MPKG-R07",
            Self::SignedFirst => "MPKG-R08",
            Self::Untrusted { .. } => "MPKG-R09",
            Self::Frame { .. } => "MPKG-R10",
            Self::Links { .. } => "MPKG-R11",
            Self::TooLarge { .. } => "MPKG-R12",
            Self::Envelope(error) => error.code(),
        }
    }
}
