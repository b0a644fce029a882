//! A chain of roots as a package carries it: `{u32 length, DSSE envelope}*`, version 1 first.

use super::{PublisherId, Root, RootError};
use crate::bytes::u32_at;
use crate::dsse::Envelope;
use crate::limits;

/// The DSSE payload type of a root document.
pub const PAYLOAD_TYPE: &str = "application/vnd.mpkg.root.v1+json";

const LENGTH: usize = 4;

/// Roots from version 1 to the one that speaks for a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootChain {
    first: Root,
    newer: Vec<Root>,
}

impl RootChain {
    /// A chain of the first root alone.
    pub fn first(root: Root) -> Result<Self, RootError> {
        check_first(&root)?;
        Ok(Self { first: root, newer: Vec::new() })
    }

    /// The bytes that go into a signing block.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for root in std::iter::once(&self.first).chain(&self.newer) {
            let envelope = Envelope::new(PAYLOAD_TYPE, root.bytes().to_vec()).to_bytes();
            out.extend_from_slice(&(envelope.len() as u32).to_le_bytes());
            out.extend_from_slice(&envelope);
        }
        out
    }

    /// Reads a chain and checks each link against the one before. The first has to be trusted for other reasons:
    /// see [`Self::publisher`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RootError> {
        let mut envelopes = Vec::new();
        let (mut rest, mut offset) = (bytes, 0);
        while !rest.is_empty() {
            if envelopes.len() == limits::ROOT_LINKS {
                return Err(RootError::Links { links: limits::ROOT_LINKS + 1 });
            }
            let length = u32_at(rest, 0).ok_or(RootError::Frame { offset })? as usize;
            let end = LENGTH.saturating_add(length);
            let envelope = rest.get(LENGTH..end).ok_or(RootError::Frame { offset })?;
            envelopes.push(Envelope::parse(envelope, PAYLOAD_TYPE)?);
            rest = rest.get(end..).unwrap_or_default();
            offset += end;
        }
        let Some((first, more)) = envelopes.split_first() else { return Err(RootError::Links { links: 0 }) };
        if !more.is_empty() {
            return Err(RootError::Unsupported { what: "is followed by newer ones" });
        }
        // Nothing vouches for version 1 but its hash, which a host pins: signatures there would be bytes that
        // nobody checks.
        if !first.signatures.is_empty() {
            return Err(RootError::SignedFirst);
        }
        Self::first(Root::parse(&first.payload)?)
    }

    /// Who the chain speaks for.
    pub fn publisher(&self) -> PublisherId {
        self.first.publisher_id()
    }

    /// The newest root.
    pub fn last(&self) -> &Root {
        self.newer.last().unwrap_or(&self.first)
    }
}

fn check_first(root: &Root) -> Result<(), RootError> {
    if root.version() != 1 {
        return Err(RootError::First { version: root.version() });
    }
    // Taking a document and skipping what it says about expiry and revocation would be worse than refusing it.
    let what = match root {
        root if root.previous().is_some() => "names one before it",
        root if root.expires().is_some() => "expires",
        root if !root.revoked().is_empty() => "revokes keys",
        _ => return Ok(()),
    };
    Err(RootError::Unsupported { what })
}
