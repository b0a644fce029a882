//! A publisher's root file: the chain of roots, and the next one while it collects signatures.
//!
//! Text, one envelope a line, version 1 first. The last line may lack signatures: then it is a proposal. The file
//! travels from signer to signer; what they sign is the document alone, so no two of them need to be online at once.

use super::chain::{follow, succeeds};
use super::{PAYLOAD_TYPE, Progress, Root, RootChain, RootError};
use crate::dsse::Envelope;
use crate::keys::{KeyId, SecretKey};
use crate::limits;

/// A chain of roots, and perhaps a proposal for the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFile {
    chain: RootChain,
    proposal: Option<Proposal>,
}

/// A root that is not signed by everyone it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    root: Root,
    envelope: Envelope,
    progress: Progress,
}

impl Proposal {
    /// What is proposed.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Who has signed.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl RootFile {
    /// A file of this chain.
    pub fn new(chain: RootChain) -> Self {
        Self { chain, proposal: None }
    }

    /// Reads a root file, or a first root document by itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, RootError> {
        if bytes.len() > limits::ROOT_FILE {
            return Err(RootError::TooLarge { size: bytes.len(), limit: limits::ROOT_FILE });
        }
        if !bytes.trim_ascii_start().starts_with(b"{\"payload\"") {
            return Ok(Self::new(RootChain::first(Root::parse(bytes.trim_ascii())?)?));
        }
        let mut file: Option<Self> = None;
        for line in bytes.trim_ascii().split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let envelope = Envelope::parse(line, PAYLOAD_TYPE)?;
            file = Some(match file {
                None => Self::new(RootChain::start(&envelope)?),
                Some(file) => file.with(envelope)?,
            });
        }
        file.ok_or(RootError::Links { links: 0 })
    }

    fn with(mut self, envelope: Envelope) -> Result<Self, RootError> {
        // Nothing follows from a root that its publisher has not agreed to.
        if let Some(proposal) = &self.proposal {
            let Progress { before, own } = proposal.progress();
            let tally = if before.missing() > 0 { before } else { own };
            let (found, threshold) = (tally.signed.len(), tally.threshold);
            return Err(RootError::OldThreshold { version: proposal.root.version(), found, threshold });
        }
        let (root, progress) = follow(self.chain.last(), &envelope)?;
        if progress.is_complete() {
            self.chain.push(envelope)?;
        } else {
            self.proposal = Some(Proposal { root, envelope, progress });
        }
        Ok(self)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let proposed = self.proposal.iter().map(|proposal| proposal.envelope.clone());
        let mut out = Vec::new();
        for envelope in self.chain.envelopes().chain(proposed) {
            out.extend_from_slice(&envelope.to_bytes());
            out.push(b'\n');
        }
        out
    }

    /// The roots that are in force.
    pub fn chain(&self) -> &RootChain {
        &self.chain
    }

    /// The root that is not in force yet.
    pub fn proposal(&self) -> Option<&Proposal> {
        self.proposal.as_ref()
    }

    /// Proposes the next root, in the place of another proposal and its signatures.
    pub fn propose(&mut self, root: Root) -> Result<(), RootError> {
        if self.chain.len() == limits::ROOT_LINKS {
            return Err(RootError::Links { links: limits::ROOT_LINKS + 1 });
        }
        succeeds(self.chain.last(), &root)?;
        let envelope = Envelope::new(PAYLOAD_TYPE, root.bytes().to_vec());
        let (root, progress) = follow(self.chain.last(), &envelope)?;
        self.proposal = Some(Proposal { root, envelope, progress });
        Ok(())
    }

    /// Signs the proposal. With the last signature that it takes it comes into force.
    pub fn sign(&mut self, key: &SecretKey) -> Result<Progress, RootError> {
        let Some(proposal) = &self.proposal else { return Err(RootError::NothingProposed) };
        let id: KeyId = key.public().id();
        let Progress { before, own } = &proposal.progress;
        if !before.keys.contains(&id) && !own.keys.contains(&id) {
            return Err(RootError::NotARootKey { key: id });
        }
        let mut envelope = proposal.envelope.clone();
        envelope.sign(key);
        let (root, progress) = follow(self.chain.last(), &envelope)?;
        if progress.is_complete() {
            self.chain.push(envelope)?;
            self.proposal = None;
        } else {
            self.proposal = Some(Proposal { root, envelope, progress: progress.clone() });
        }
        Ok(progress)
    }
}
