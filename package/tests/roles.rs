//! Roots of registries: the same document with other roles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_package::dsse::{Envelope, EnvelopeError};
use mpkg_package::limits;
use mpkg_package::root::{Draft, RELEASE_ROLE, ROOT_ROLE, STATE_ROLE, STOP_ROLE};
use support::seed;

fn registry() -> Draft {
    let mut draft = Draft::registry();
    for (role, n) in [(ROOT_ROLE, 1), (STATE_ROLE, 2), (STOP_ROLE, 3)] {
        assert!(draft.add(role, &seed(n).public()));
    }
    draft
}

#[test]
fn a_registry_needs_no_key_that_releases() {
    let root = registry().build().unwrap();
    let (keys, threshold) = root.role(STATE_ROLE);
    assert_eq!((keys.into_keys().collect::<Vec<_>>(), threshold), (vec![seed(2).public().id()], 1));
}

#[test]
fn a_role_that_is_not_there_signs_nothing() {
    let root = registry().build().unwrap();
    let mut envelope = Envelope::new("application/x", b"{}".to_vec());
    let (keys, threshold) = root.role(RELEASE_ROLE);
    assert!(matches!(envelope.verify(&keys, threshold), Err(EnvelopeError::Threshold { found: 0, .. })));
    envelope.sign(&seed(1));
    assert!(matches!(envelope.verify(&keys, threshold), Err(EnvelopeError::UnknownSigner { .. })));
}

#[test]
fn an_envelope_may_be_longer_where_its_reader_says_so() {
    let mut envelope = Envelope::new("application/x", vec![b' '; limits::ENVELOPE]);
    envelope.sign(&seed(1));
    let bytes = envelope.to_bytes();
    assert!(matches!(Envelope::parse(&bytes, "application/x"), Err(EnvelopeError::Json(_))));
    assert_eq!(Envelope::parse_within(&bytes, "application/x", bytes.len()).unwrap(), envelope);
    assert!(Envelope::parse_within(&bytes, "application/x", bytes.len() - 1).is_err());
}
