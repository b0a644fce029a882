//! Signing a package.

use thiserror::Error;

use crate::container::ContainerError;
use crate::contents::{self, ContentError};
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::keys::{KeyId, SecretKey};
use crate::limits;
use crate::root::{Root, RootChain, RootError};
use crate::signing::{self, Block, Pair, kind};
use crate::statement::{PAYLOAD_TYPE, ReleaseStatement, Repeated, StatementError};
use crate::time::Time;

/// Why a package cannot be signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// The package would be refused by everyone.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The key may not sign releases.
    #[error("key {key} is not among the keys that this publisher's root lets sign releases")]
    NotAReleaseKey {
        /// Its id.
        key: KeyId,
    },
    /// The root cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The statement would be too long.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

impl SignError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Content(error) => error.code(),
            Self::NotAReleaseKey { .. } => "MPKG-S18",
            Self::Root(error) => error.code(),
            Self::Statement(error) => error.code(),
        }
    }
}

/// A release statement, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub statement: ReleaseStatement,
    /// Who signed it.
    pub signer: KeyId,
    /// The signing block.
    pub block: Block,
}

impl Signed {
    /// The signed package.
    pub fn embed(&self, unsigned: &[u8]) -> Result<Vec<u8>, ContainerError> {
        signing::embed(unsigned, &self.block)
    }

    /// The detached signature file.
    pub fn detached(&self) -> Vec<u8> {
        self.block.to_bytes()
    }
}

/// Signs an unsigned package. It is checked as a verifier would check it: a signature on something that nobody
/// accepts helps nobody.
pub fn sign(unsigned: &[u8], key: &SecretKey, root: &Root, created: Time) -> Result<Signed, SignError> {
    let chain = RootChain::first(root.clone())?;
    let signer = key.public().id();
    let (release_keys, _) = root.role(crate::root::RELEASE_ROLE);
    if !release_keys.contains_key(&signer) {
        return Err(SignError::NotAReleaseKey { key: signer });
    }
    let contents = contents::check(unsigned)?;
    let repeated = Repeated::of(&contents.manifest.manifest);
    let statement = ReleaseStatement {
        app_id: repeated.app_id,
        publisher: chain.publisher(),
        version: repeated.version,
        release_seq: repeated.release_seq,
        package: Digest::of(unsigned),
        manifest: Digest::of(contents.container.manifest()),
        permissions: repeated.permissions,
        abi: repeated.abi,
        root_version: chain.last().version(),
        created,
    };
    let payload = statement.to_bytes();
    if payload.len() > limits::STATEMENT {
        return Err(StatementError::TooLarge { size: payload.len() }.into());
    }
    let mut envelope = Envelope::new(PAYLOAD_TYPE, payload);
    envelope.sign(key);
    let block = Block::of(vec![
        Pair { kind: kind::ROOTS, value: chain.to_bytes() },
        Pair { kind: kind::RELEASE, value: envelope.to_bytes() },
    ]);
    Ok(Signed { statement, signer, block })
}
