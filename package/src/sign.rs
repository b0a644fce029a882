//! Signing a package.

use thiserror::Error;

use crate::container::ContainerError;
use crate::contents::{self, ContentError};
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::grant::{Grant, GrantError, SignedGrant};
use crate::keys::{KeyId, SecretKey};
use crate::limits;
use crate::root::{RELEASE_ROLE, ROOT_ROLE, Root, RootChain, RootError};
use crate::signing::{self, Block, BlockError, Pair, kind};
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
    /// The key may not sign this release any more.
    #[error("key {key} is revoked and may not sign release {release_seq}")]
    Revoked {
        /// Its id.
        key: KeyId,
        /// The release.
        release_seq: u64,
    },
    /// The root cannot be used.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The permission grant is missing, too small or not signed.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The statement would be too long.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The block would be too long.
    #[error(transparent)]
    Block(#[from] BlockError),
}

impl SignError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Content(error) => error.code(),
            Self::NotAReleaseKey { .. } => "MPKG-S18",
            Self::Revoked { .. } => "MPKG-S19",
            Self::Root(error) => error.code(),
            Self::Grant(error) => error.code(),
            Self::Statement(error) => error.code(),
            Self::Block(error) => error.code(),
        }
    }
}

/// A release statement, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub statement: ReleaseStatement,
    /// The key that signed just now.
    pub signer: KeyId,
    /// All keys that have signed this statement.
    pub signers: Vec<KeyId>,
    /// How many of them it takes.
    pub threshold: usize,
    /// What the release may ask for.
    pub grant: Grant,
    /// Whether the signing key made the grant itself.
    pub grant_is_new: bool,
    /// The signing block.
    pub block: Block,
}

impl Signed {
    /// How many signatures are missing; until there is none, everyone refuses the package.
    pub fn missing(&self) -> usize {
        self.threshold.saturating_sub(self.signers.len())
    }

    /// The signed package.
    pub fn embed(&self, unsigned: &[u8]) -> Result<Vec<u8>, ContainerError> {
        signing::embed(unsigned, &self.block)
    }

    /// The detached signature file.
    pub fn detached(&self) -> Vec<u8> {
        self.block.to_bytes()
    }
}

/// What a signature is made with, besides the key.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The publisher's roots.
    pub roots: &'a RootChain,
    /// The permission grant. Without one, that of `before` is kept where it is good enough; else a key that alone
    /// meets the threshold of the role `root` grants what the manifest asks for.
    pub grant: Option<&'a SignedGrant>,
    /// The signatures that are there. Other keys' signatures on the same release are kept and this one is added.
    pub before: Option<&'a Block>,
    /// The time to write into a new statement.
    pub created: Time,
}

/// Signs an unsigned package for the publisher of this first root.
pub fn sign(unsigned: &[u8], key: &SecretKey, root: &Root, created: Time) -> Result<Signed, SignError> {
    let roots = RootChain::first(root.clone())?;
    sign_with(unsigned, key, &Signing { roots: &roots, grant: None, before: None, created })
}

/// Signs an unsigned package. It is checked as a verifier would check it: a signature on something that nobody
/// accepts helps nobody.
pub fn sign_with(unsigned: &[u8], key: &SecretKey, with: &Signing<'_>) -> Result<Signed, SignError> {
    let (roots, root) = (with.roots, with.roots.last());
    let signer = key.public().id();
    let (keys, threshold) = root.role(RELEASE_ROLE);
    if !keys.contains_key(&signer) {
        return Err(SignError::NotAReleaseKey { key: signer });
    }
    let contents = contents::check(unsigned)?;
    let repeated = Repeated::of(&contents.manifest.manifest);
    let release_seq = repeated.release_seq;
    if root.is_revoked(signer, release_seq) {
        return Err(SignError::Revoked { key: signer, release_seq });
    }
    let mut statement = ReleaseStatement {
        app_id: repeated.app_id,
        publisher: roots.publisher(),
        version: repeated.version,
        release_seq,
        package: Digest::of(unsigned),
        manifest: Digest::of(contents.container.manifest()),
        permissions: repeated.permissions,
        abi: repeated.abi,
        root_version: root.version(),
        created: with.created,
    };
    let size = statement.to_bytes().len();
    if size > limits::STATEMENT {
        return Err(StatementError::TooLarge { size }.into());
    }
    let (grant, grant_is_new) = grant(key, with, &statement)?;

    let mut envelope = match begun(with, &statement, signer) {
        Some((begun, envelope)) => {
            statement = begun;
            envelope
        }
        None => Envelope::new(PAYLOAD_TYPE, statement.to_bytes()),
    };
    envelope.sign(key);
    let signers = envelope.signatures.iter().map(|signature| signature.key).collect();
    let block = Block::new(vec![
        Pair { kind: kind::ROOTS, value: roots.to_bytes() },
        Pair { kind: kind::RELEASE, value: envelope.to_bytes() },
        Pair { kind: kind::GRANT, value: grant.to_bytes() },
    ])?;
    Ok(Signed { statement, signer, signers, threshold, grant: grant.grant().clone(), grant_is_new, block })
}

/// The grant to put beside the release, and whether it is new.
fn grant(
    key: &SecretKey,
    with: &Signing<'_>,
    statement: &ReleaseStatement,
) -> Result<(SignedGrant, bool), SignError> {
    let check = |grant: &SignedGrant| {
        grant.verify(with.roots)?.check(&statement.app_id, &statement.permissions)?;
        Ok::<_, GrantError>((grant.clone(), false))
    };
    if let Some(grant) = with.grant {
        return Ok(check(grant)?);
    }
    let before =
        with.before.and_then(|block| block.get(kind::GRANT)).and_then(|it| SignedGrant::parse(it).ok());
    let kept = before.as_ref().map(check);
    if let Some(Ok(kept)) = kept {
        return Ok(kept);
    }
    if !with.roots.last().is_enough(ROOT_ROLE, key.public().id()) {
        return Err(match kept {
            Some(Err(error @ GrantError::Exceeded { .. })) => error,
            _ => GrantError::Missing { permissions: statement.permissions.clone() },
        }
        .into());
    }
    // The release sequence grows with each release, and with it the version of a grant that is made along with it.
    let older = before.filter(|before| before.verify(with.roots).is_ok()).map_or(0, |it| it.grant().version);
    let version = statement.release_seq.max(older.saturating_add(1));
    let permissions = statement.permissions.clone();
    let (app_id, publisher) = (statement.app_id.clone(), statement.publisher);
    let mut grant = SignedGrant::new(Grant { app_id, publisher, version, permissions })?;
    grant.sign(key, with.roots)?;
    Ok((grant, true))
}

/// The statement that other keys have signed, if it says the same and nothing is wrong with their signatures.
fn begun(
    with: &Signing<'_>,
    statement: &ReleaseStatement,
    signer: KeyId,
) -> Option<(ReleaseStatement, Envelope)> {
    let bytes = with.before?.get(kind::RELEASE)?;
    let mut envelope = Envelope::parse(bytes, PAYLOAD_TYPE).ok()?;
    let root = with.roots.last();
    let (keys, _) = root.role(RELEASE_ROLE);
    envelope.signers(&keys).ok()?;
    let theirs = ReleaseStatement::parse(&envelope.payload).ok()?;
    let same = ReleaseStatement { created: theirs.created, ..statement.clone() } == theirs;
    // Signatures that do not count would only be counted by mistake.
    envelope.signatures.retain(|signature| !root.is_revoked(signature.key, theirs.release_seq));
    let others = envelope.signatures.iter().any(|signature| signature.key != signer);
    (same && others).then_some((theirs, envelope))
}
