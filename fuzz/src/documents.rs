//! Signed documents: envelopes, release statements, permission grants, publisher roots.

use mpkg_package::dsse::Envelope;
use mpkg_package::grant::{self, Grant, SignedGrant};
use mpkg_package::root::{self, Root, RootChain, RootFile};
use mpkg_package::signing::{Block, Pair, kind};
use mpkg_package::{ReleaseStatement, Trust, claims, statement as release};

use crate::{check_refusal, seeds};

/// Any bytes as an envelope around a release statement, as a statement that the right key signed, and as a permission
/// grant in the same two ways.
pub fn statement(data: &[u8]) {
    match Envelope::parse(data, release::PAYLOAD_TYPE) {
        Ok(envelope) => assert_eq!(envelope.to_bytes(), data, "an envelope has another byte form"),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    match ReleaseStatement::parse(data) {
        Ok(statement) => {
            let again = ReleaseStatement::parse(&statement.to_bytes()).expect("what is written is read");
            assert_eq!(again, statement);
        }
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }

    // The same bytes as what the right key signed, so that a change need not pass through a signature.
    let block = seeds::block();
    let mut envelope = Envelope::new(release::PAYLOAD_TYPE, data.to_vec());
    envelope.sign(&seeds::key());
    signed(with_part(&block, kind::RELEASE, envelope.to_bytes()));
    let mut envelope = Envelope::new(grant::PAYLOAD_TYPE, data.to_vec());
    envelope.sign(&seeds::key());
    signed(with_part(&block, kind::GRANT, envelope.to_bytes()));

    match SignedGrant::parse(data) {
        Ok(grant) => assert_eq!(grant.to_bytes(), data, "a grant has another byte form"),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    match Grant::parse(data) {
        Ok(grant) => assert_eq!(Grant::parse(&grant.to_bytes()).expect("what is written is read"), grant),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
}

/// The block with one part replaced.
fn with_part(block: &Block, kind: u32, value: Vec<u8>) -> Vec<Pair> {
    let kept = block.pairs().iter().filter(|pair| pair.kind != kind).cloned();
    kept.chain([Pair { kind, value }]).collect()
}

/// What a signed block says holds together, or it is refused.
fn signed(parts: Vec<Pair>) {
    let block = match Block::new(parts) {
        Ok(block) => block,
        Err(error) => return check_refusal(error.code(), &error.to_string(), None, 0),
    };
    match claims(&block) {
        Ok(claims) => {
            let publisher = claims.roots.publisher();
            assert_eq!((claims.statement.publisher, claims.grant.publisher), (publisher, publisher));
            assert_eq!(claims.statement.app_id, claims.grant.app_id);
            assert_eq!(claims.signers, [seeds::key().public().id()]);
            let (wanted, granted) = (&claims.statement.permissions, &claims.grant.permissions);
            assert!(wanted.is_subset_of(granted), "{wanted:?} is not within {granted:?}");
        }
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
}

/// Any bytes as a chain of publisher roots, as a root file, as one root, first or next, and as something to trust.
pub fn root_chain(data: &[u8]) {
    match RootChain::parse(data) {
        Ok(chain) => {
            assert_eq!(chain.to_bytes(), data, "a chain has another byte form");
            assert!(chain.last().version() >= 1);
        }
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    match Root::parse(data) {
        Ok(root) => {
            assert_eq!(root.bytes(), data);
            for (id, key) in root.keys() {
                assert_eq!(*id, key.id(), "a key goes by another id than its own");
            }
            for (name, role) in root.roles() {
                assert!(role.threshold >= 1 && role.threshold as usize <= role.keys.len(), "role {name}");
            }
        }
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    if let Err(error) = Trust::parse(data) {
        check_refusal(error.code(), &error.to_string(), None, 0);
    }
    // The same bytes as the document of a chain of one, so that a change need not pass through base64.
    let envelope = Envelope::new(root::PAYLOAD_TYPE, data.to_vec()).to_bytes();
    let framed = [&(envelope.len() as u32).to_le_bytes(), envelope.as_slice()].concat();
    match RootChain::parse(&framed) {
        Ok(chain) => assert_eq!((chain.last().bytes(), chain.to_bytes()), (data, framed)),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    // And as the document after the first, with the signature that it takes.
    let mut chain = RootChain::first(Root::single(&seeds::key().public())).expect("a first root");
    let mut envelope = Envelope::new(root::PAYLOAD_TYPE, data.to_vec());
    envelope.sign(&seeds::key());
    match chain.push(envelope) {
        Ok(()) => {
            assert_eq!((chain.len(), chain.last().version(), chain.last().bytes()), (2, 2, data));
            assert_eq!(RootChain::parse(&chain.to_bytes()).expect("what is written is read"), chain);
        }
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
    match RootFile::parse(data) {
        Ok(file) => {
            assert_eq!(RootFile::parse(&file.to_bytes()).expect("what is written is read"), file);
            assert!(file.proposal().is_none_or(|proposal| !proposal.progress().is_complete()));
        }
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
}
