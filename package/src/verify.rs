//! Verifying a signed package, in the one order.
//!
//! Nothing is looked into before something outside of it vouches for it: the end record and the block are at fixed
//! places, the pinned publisher vouches for the root, the root for the signatures, the signatures for the digest,
//! the digest for the container, and the statement for the manifest.

use std::fmt;
use std::ops::Range;

use mpkg_manifest::Manifest;
use mpkg_manifest::Parsed;
use thiserror::Error;

use crate::container;
use crate::contents::{self, ContentError};
use crate::digest::Digest;
use crate::dsse::{Envelope, EnvelopeError};
use crate::grant::{Grant, GrantError, SignedGrant};
use crate::keys::KeyId;
use crate::root::{PublisherId, RELEASE_ROLE, RootChain, RootError, Trust};
use crate::signing::{self, Block, BlockError, SplitError, kind};
use crate::statement::{PAYLOAD_TYPE, ReleaseStatement, StatementError};
use crate::sums::Sums;
use crate::wasm::ComponentInfo;

/// Why a package is refused.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// Its end or its signing block.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The detached signature file.
    #[error("{0}")]
    Detached(BlockError),
    /// It is not signed.
    #[error("the package is not signed")]
    NotSigned,
    /// It is signed within and beside.
    #[error("the package holds a signing block and comes with a signature file; only one of them can count")]
    SignedTwice,
    /// The block lacks a part.
    #[error("the signing block holds no {part}")]
    Missing {
        /// What it lacks.
        part: &'static str,
    },
    /// The publisher's root.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The signatures.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The permission grant.
    #[error(transparent)]
    Grant(#[from] GrantError),
    /// The contents.
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl VerifyError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Split(error) => error.code(),
            Self::Detached(error) => error.code(),
            Self::NotSigned => "MPKG-B08",
            Self::SignedTwice => "MPKG-B09",
            Self::Missing { .. } => "MPKG-B10",
            Self::Root(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::Statement(error) => error.code(),
            Self::Grant(error) => error.code(),
            Self::Content(error) => error.code(),
        }
    }

    /// The byte the complaint is about, where there is one. For contents it counts in the package without its
    /// signing block.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Split(error) => Some(error.offset()),
            Self::Detached(error) => Some(error.offset()),
            Self::Content(error) => error.offset(),
            _ => None,
        }
    }
}

/// A verified package. It owns the very bytes that were verified: install these, and never read the file again,
/// which may have changed since.
pub struct Verified {
    package: Vec<u8>,
    files: Vec<(Range<usize>, Range<usize>)>,
    component: Range<usize>,
    manifest: Parsed,
    info: ComponentInfo,
    digest: Digest,
    statement: ReleaseStatement,
    grant: Grant,
    roots: RootChain,
    signers: Vec<KeyId>,
    block: Block,
}

impl Verified {
    /// The package without its signing block: what its digest is of.
    pub fn package(&self) -> &[u8] {
        &self.package
    }

    /// The package without its signing block, and the block, to keep: [`verify_detached`] takes both again.
    pub fn into_parts(self) -> (Vec<u8>, Block) {
        (self.package, self.block)
    }

    /// The signing block. [`Block::to_bytes`] of it is a detached signature.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// Hash and length of [`Self::package`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest.manifest
    }

    /// The manifest with its warnings and its tree.
    pub fn parsed_manifest(&self) -> &Parsed {
        &self.manifest
    }

    /// The signed statement.
    pub fn statement(&self) -> &ReleaseStatement {
        &self.statement
    }

    /// What the publisher's root keys let this app ask for.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The component.
    pub fn component(&self) -> &[u8] {
        self.slice(&self.component)
    }

    /// What the component imports, exports and declares.
    pub fn component_info(&self) -> &ComponentInfo {
        &self.info
    }

    /// Names and contents, `manifest.json` first.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .map(|(name, data)| (std::str::from_utf8(self.slice(name)).unwrap_or_default(), self.slice(data)))
    }

    /// The contents of one file.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files().find(|(found, _)| *found == name).map(|(_, data)| data)
    }

    /// Who published it.
    pub fn publisher(&self) -> PublisherId {
        self.roots.publisher()
    }

    /// The publisher's roots.
    pub fn roots(&self) -> &RootChain {
        &self.roots
    }

    /// The keys that signed and count.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    fn slice(&self, range: &Range<usize>) -> &[u8] {
        self.package.get(range.clone()).unwrap_or_default()
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("app_id", &self.statement.app_id)
            .field("version", &self.statement.version)
            .field("digest", &self.digest)
            .field("publisher", &self.roots.publisher())
            .finish_non_exhaustive()
    }
}

/// Verifies a signed package against the publisher that it must come from.
pub fn verify(bytes: Vec<u8>, trust: &Trust) -> Result<Verified, VerifyError> {
    verify_any(bytes, None, std::slice::from_ref(trust))
}

/// Verifies an unsigned package with the signature file beside it.
pub fn verify_detached(bytes: Vec<u8>, signature: &[u8], trust: &Trust) -> Result<Verified, VerifyError> {
    verify_any(bytes, Some(signature), std::slice::from_ref(trust))
}

/// Verifies a package that may come from any one of several publishers, signed within or beside.
pub fn verify_any(
    bytes: Vec<u8>,
    signature: Option<&[u8]>,
    trusts: &[Trust],
) -> Result<Verified, VerifyError> {
    let split = signing::split(bytes)?;
    let block = match (split.block, signature) {
        (Some(block), None) => block,
        (None, Some(signature)) => Block::parse(signature).map_err(VerifyError::Detached)?,
        (Some(_), Some(_)) => return Err(VerifyError::SignedTwice),
        (None, None) => return Err(VerifyError::NotSigned),
    };
    let claims = signatures(&block, Some(trusts))?;
    with_claims(split.unsigned, block, claims)
}

/// What a signing block says. Its signatures are right under the root it brings along, which anyone can make: it
/// takes a pinned publisher to know whom they speak for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The publisher's roots.
    pub roots: RootChain,
    /// The statement.
    pub statement: ReleaseStatement,
    /// The permission grant.
    pub grant: Grant,
    /// The keys that signed and count.
    pub signers: Vec<KeyId>,
}

/// Reads what a signing block says, for showing it. This verifies no package.
pub fn claims(block: &Block) -> Result<Claims, VerifyError> {
    signatures(block, None)
}

fn with_claims(package: Vec<u8>, block: Block, claims: Claims) -> Result<Verified, VerifyError> {
    let Claims { roots, statement, grant, signers } = claims;
    let (digest, sums) = Sums::digest(&package);
    if digest != statement.package {
        return Err(StatementError::Package { stated: statement.package, real: digest }.into());
    }

    let container = container::read_hashed(&package, &sums).map_err(ContentError::from)?;
    let manifest = Digest::of(container.manifest());
    if manifest != statement.manifest {
        return Err(StatementError::Manifest { stated: statement.manifest, real: manifest }.into());
    }
    let parsed = Manifest::parse(container.manifest()).map_err(ContentError::Manifest)?;
    statement.check_manifest(&parsed.manifest)?;

    let contents = contents::component(container, parsed)?;
    let component = contents.component.range();
    let files =
        contents.container.entries().iter().map(|entry| (entry.name_range(), entry.range())).collect();
    let (manifest, info) = (contents.manifest, contents.info);
    Ok(Verified {
        files,
        component,
        manifest,
        info,
        digest,
        statement,
        grant,
        roots,
        signers,
        block,
        package,
    })
}

/// Who signed what, from the block alone.
fn signatures(block: &Block, trusts: Option<&[Trust]>) -> Result<Claims, VerifyError> {
    let roots = block.get(kind::ROOTS).ok_or(VerifyError::Missing { part: "publisher root" })?;
    let release = block.get(kind::RELEASE).ok_or(VerifyError::Missing { part: "release" })?;
    let grant = block.get(kind::GRANT).ok_or(VerifyError::Missing { part: "permission grant" })?;

    let roots = RootChain::parse(roots)?;
    let root = roots.last();
    if let Some(trusts) = trusts {
        let publisher = roots.publisher();
        let known =
            trusts.iter().filter(|trust| trust.publisher_id() == publisher).map(Trust::root_floor).max();
        let Some(floor) = known else {
            let trusted = trusts.iter().map(Trust::publisher_id).collect();
            return Err(RootError::Untrusted { found: publisher, trusted }.into());
        };
        // An older root still lists the keys that were thrown out since.
        if root.version() < floor {
            return Err(RootError::Older { found: root.version(), floor }.into());
        }
    }

    let envelope = Envelope::parse(release, PAYLOAD_TYPE)?;
    let (keys, threshold) = root.role(RELEASE_ROLE);
    let signers = envelope.verify(&keys, threshold)?;

    let statement = ReleaseStatement::parse(&envelope.payload)?;
    if statement.publisher != roots.publisher() {
        let (stated, real) = (statement.publisher, roots.publisher());
        return Err(StatementError::Publisher { stated, real }.into());
    }
    // Made under an older root of the chain is fine, since it is the newest one that judges the signatures.
    if statement.root_version == 0 || statement.root_version > root.version() {
        let (stated, real) = (statement.root_version, root.version());
        return Err(StatementError::RootVersion { stated, real }.into());
    }
    let release_seq = statement.release_seq;
    let (revoked, signers): (Vec<KeyId>, Vec<KeyId>) =
        signers.into_iter().partition(|key| root.is_revoked(*key, release_seq));
    if signers.len() < threshold {
        return Err(RootError::Revoked { revoked, release_seq, found: signers.len(), threshold }.into());
    }

    let grant = SignedGrant::parse(grant)?.verify(&roots)?.clone();
    grant.check(&statement.app_id, &statement.permissions)?;
    Ok(Claims { roots, statement, grant, signers })
}
