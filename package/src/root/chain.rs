//! A chain of roots as a package carries it: `{u32 length, DSSE envelope}*`, version 1 first.

use std::collections::BTreeMap;

use super::{PublisherId, ROOT_ROLE, Root, RootError};
use crate::bytes::u32_at;
use crate::dsse::Envelope;
use crate::keys::{KeyId, PublicKey};
use crate::limits;

/// The DSSE payload type of a root document.
pub const PAYLOAD_TYPE: &str = "application/vnd.mpkg.root.v1+json";

const LENGTH: usize = 4;

/// Roots from version 1 to the one that speaks for a release, each signed by the one before and by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootChain {
    first: Root,
    newer: Vec<(Root, Envelope)>,
}

/// Who of a role has signed, and how many it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The keys of the role.
    pub keys: Vec<KeyId>,
    /// Those that signed.
    pub signed: Vec<KeyId>,
    /// How many it takes.
    pub threshold: usize,
}

impl Tally {
    /// How many signatures are missing.
    pub fn missing(&self) -> usize {
        self.threshold.saturating_sub(self.signed.len())
    }

    /// Of the role `root` of this root.
    pub(crate) fn of(root: &Root, signers: &[KeyId]) -> Self {
        let (keys, threshold) = root.role(ROOT_ROLE);
        let signed = signers.iter().copied().filter(|id| keys.contains_key(id)).collect();
        Self { keys: keys.into_keys().collect(), signed, threshold }
    }
}

/// How far a new root has come: the root before it and the new one itself both have to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Signers among the root keys of the version before.
    pub before: Tally,
    /// Signers among the new version's own root keys.
    pub own: Tally,
}

impl Progress {
    /// Whether nobody has to sign any more.
    pub fn is_complete(&self) -> bool {
        self.before.missing() == 0 && self.own.missing() == 0
    }
}

impl RootChain {
    /// A chain of the first root alone.
    pub fn first(root: Root) -> Result<Self, RootError> {
        // A document that is no first one would make another publisher of each later version.
        if root.version() != 1 || root.previous().is_some() {
            return Err(RootError::First { version: root.version() });
        }
        Ok(Self { first: root, newer: Vec::new() })
    }

    /// Adds the next version, if it follows from the newest one.
    pub fn push(&mut self, envelope: Envelope) -> Result<(), RootError> {
        let (root, progress) = follow(self.last(), &envelope)?;
        let version = root.version();
        let count = |tally: &Tally| (tally.signed.len(), tally.threshold);
        if progress.before.missing() > 0 {
            let (found, threshold) = count(&progress.before);
            return Err(RootError::OldThreshold { version, found, threshold });
        }
        if progress.own.missing() > 0 {
            let (found, threshold) = count(&progress.own);
            return Err(RootError::NewThreshold { version, found, threshold });
        }
        if self.len() == limits::ROOT_LINKS {
            return Err(RootError::Links { links: limits::ROOT_LINKS + 1 });
        }
        self.newer.push((root, envelope));
        Ok(())
    }

    /// The bytes that go into a signing block.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for envelope in self.envelopes() {
            let envelope = envelope.to_bytes();
            out.extend_from_slice(&(envelope.len() as u32).to_le_bytes());
            out.extend_from_slice(&envelope);
        }
        out
    }

    /// Reads a chain and checks each link against the one before. The first has to be trusted for other reasons:
    /// see [`Self::publisher`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RootError> {
        let mut chain: Option<Self> = None;
        let (mut rest, mut offset) = (bytes, 0);
        while !rest.is_empty() {
            let length = u32_at(rest, 0).ok_or(RootError::Frame { offset })? as usize;
            let end = LENGTH.saturating_add(length);
            let envelope = rest.get(LENGTH..end).ok_or(RootError::Frame { offset })?;
            let envelope = Envelope::parse(envelope, PAYLOAD_TYPE)?;
            match &mut chain {
                None => chain = Some(Self::start(&envelope)?),
                // Before the signatures: that is what the bound is for.
                Some(chain) if chain.len() == limits::ROOT_LINKS => {
                    return Err(RootError::Links { links: limits::ROOT_LINKS + 1 });
                }
                Some(chain) => chain.push(envelope)?,
            }
            rest = rest.get(end..).unwrap_or_default();
            offset += end;
        }
        chain.ok_or(RootError::Links { links: 0 })
    }

    /// A chain that begins with this envelope.
    pub(super) fn start(envelope: &Envelope) -> Result<Self, RootError> {
        // Nothing vouches for version 1 but its hash, which a host pins: signatures there would be bytes that
        // nobody checks.
        if !envelope.signatures.is_empty() {
            return Err(RootError::SignedFirst);
        }
        Self::first(Root::parse(&envelope.payload)?)
    }

    /// Who the chain speaks for.
    pub fn publisher(&self) -> PublisherId {
        self.first.publisher_id()
    }

    /// The newest root.
    pub fn last(&self) -> &Root {
        self.newer.last().map_or(&self.first, |(root, _)| root)
    }

    /// All roots, version 1 first.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        std::iter::once(&self.first).chain(self.newer.iter().map(|(root, _)| root))
    }

    /// How many roots there are, which is the newest one's version.
    #[allow(clippy::len_without_is_empty, reason = "there is always a first one")]
    pub fn len(&self) -> usize {
        1 + self.newer.len()
    }

    pub(super) fn envelopes(&self) -> impl Iterator<Item = Envelope> {
        let first = Envelope::new(PAYLOAD_TYPE, self.first.bytes().to_vec());
        std::iter::once(first).chain(self.newer.iter().map(|(_, envelope)| envelope.clone()))
    }
}

/// The root in an envelope, and who signed it, if it can come after `before` and every signature on it is valid.
pub(super) fn follow(before: &Root, envelope: &Envelope) -> Result<(Root, Progress), RootError> {
    let root = Root::parse(&envelope.payload)?;
    succeeds(before, &root)?;
    let mut keys: BTreeMap<KeyId, PublicKey> = before.role(ROOT_ROLE).0;
    keys.extend(root.role(ROOT_ROLE).0);
    let signers = envelope.signers(&keys)?;
    // The old keys alone decide who comes next, and the new ones show that they can: a root whose keys nobody
    // holds would be a publisher's last.
    let progress = Progress { before: Tally::of(before, &signers), own: Tally::of(&root, &signers) };
    Ok((root, progress))
}

/// Whether a root names this one as the one before it.
pub(super) fn succeeds(before: &Root, root: &Root) -> Result<(), RootError> {
    let expected = before.version().saturating_add(1);
    // A version left out could hide a revocation.
    if root.version() != expected {
        return Err(RootError::Version { found: root.version(), expected });
    }
    if root.previous() != Some(before.hash()) {
        return Err(RootError::Previous { version: root.version(), expected: before.hash() });
    }
    Ok(())
}
