//! Signed documents: envelopes, release statements, publisher roots.

use mpkg_package::dsse::Envelope;
use mpkg_package::root::{self, Root, RootChain};
use mpkg_package::signing::{Block, Pair, kind};
use mpkg_package::{ReleaseStatement, Trust, claims, statement as release};

use crate::{check_refusal, seeds};

/// Any bytes as an envelope around a release statement, and as a statement that the right key signed.
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

    let mut envelope = Envelope::new(release::PAYLOAD_TYPE, data.to_vec());
    envelope.sign(&seeds::key());
    let chain = RootChain::first(Root::single(&seeds::key().public())).expect("a first root");
    let publisher = chain.publisher();
    let parts = [(kind::ROOTS, chain.to_bytes()), (kind::RELEASE, envelope.to_bytes())];
    let block = Block::new(parts.map(|(kind, value)| Pair { kind, value }).to_vec());
    match block.map(|block| claims(&block)) {
        Ok(Ok(claims)) => {
            assert_eq!(claims.statement.publisher, publisher);
            assert_eq!(claims.signers, [seeds::key().public().id()]);
        }
        Ok(Err(error)) => check_refusal(error.code(), &error.to_string(), None, 0),
        Err(error) => check_refusal(error.code(), &error.to_string(), None, 0),
    }
}

/// Any bytes as a chain of publisher roots, as one root, as an envelope of one, and as something to trust.
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
}
