//! Whom a verifier trusts.

use thiserror::Error;

use super::{PublisherId, Root, RootChain, RootError, RootFile};
use crate::keys::{KeyError, PublicKey};

/// The publisher that a package must come from, and the version of its root that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    publisher: PublisherId,
    root_floor: u32,
}

/// Why a file names nobody to trust.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TrustError {
    /// A key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A root that cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// None of the three.
    #[error("this is neither a public key, nor a publisher root, nor a publisher id (mp1…)")]
    Unknown,
}

impl TrustError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Key(error) => error.code(),
            Self::Root(error) => error.code(),
            Self::Unknown => "MPKG-R13",
        }
    }
}

impl Trust {
    /// Trusts the publisher with this id.
    pub fn publisher(publisher: PublisherId) -> Self {
        Self { publisher, root_floor: 1 }
    }

    /// Trusts the publisher whose first root this is.
    pub fn root(root: &Root) -> Result<Self, RootError> {
        RootChain::first(root.clone())?;
        Ok(Self::publisher(root.publisher_id()))
    }

    /// Trusts the publisher whose one key this is.
    pub fn key(key: &PublicKey) -> Self {
        Self::publisher(Root::single(key).publisher_id())
    }

    /// Trusts the publisher of these roots, and takes no root older than the newest of them.
    pub fn chain(chain: &RootChain) -> Self {
        Self::publisher(chain.publisher()).at_least(chain.last().version())
    }

    /// The same publisher, but no root older than this version: what a host has seen of a publisher stays in force.
    #[must_use]
    pub fn at_least(self, root_version: u32) -> Self {
        Self { root_floor: self.root_floor.max(root_version), ..self }
    }

    /// Reads a public key in PEM, a root document, a root file, or a publisher id, with or without a line end behind
    /// it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let text = bytes.trim_ascii();
        if text.starts_with(b"{") {
            return Ok(Self::chain(RootFile::parse(text)?.chain()));
        }
        let text = std::str::from_utf8(text).map_err(|_| TrustError::Unknown)?;
        if text.starts_with("-----BEGIN") {
            return Ok(Self::key(&PublicKey::from_pem(text)?));
        }
        text.parse().map(Self::publisher).map_err(|_| TrustError::Unknown)
    }

    /// The oldest root version that is taken.
    pub fn root_floor(&self) -> u32 {
        self.root_floor
    }

    /// The trusted publisher.
    pub fn publisher_id(&self) -> PublisherId {
        self.publisher
    }
}
