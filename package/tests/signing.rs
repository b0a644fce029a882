//! Signing and verifying: what goes in comes out, and nothing changed comes through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_package::dsse::{self, Envelope};
use mpkg_package::keys::is_encrypted;
use mpkg_package::root::RootChain;
use mpkg_package::signing::{Block, Pair, embed, is_signed, split};
use mpkg_package::{
    Grant, PublicKey, ReleaseStatement, Root, RootFile, SecretKey, SignedGrant, Time, Trust, claims, sign,
    verify, verify_any, verify_detached,
};
use proptest::prelude::*;
use support::{key, package, root, signed, time};

fn trust() -> Trust {
    Trust::key(&key().public())
}

#[test]
fn a_signed_package_verifies_and_shows_what_it_is() {
    let verified = verify(signed(), &trust()).unwrap();
    assert_eq!(verified.package(), package());
    assert_eq!(verified.digest(), mpkg_package::identity(&package()));
    assert_eq!(verified.component(), support::component(&["mpkg:bridge/cart-read@1.0.0"]));
    assert_eq!(verified.file("icon.png"), Some(&b"\x89PNG"[..]));
    assert_eq!(verified.file("nothing"), None);
    let names: Vec<&str> = verified.files().map(|(name, _)| name).collect();
    assert_eq!(names, ["manifest.json", "app.wasm", "icon.png"]);
    assert_eq!(verified.manifest().app_id.to_string(), "org.example.tiny");
    assert_eq!(verified.signers(), [key().public().id()]);
    assert_eq!(verified.publisher(), root().publisher_id());
    assert_eq!(verified.statement().created, time());
    assert_eq!(verified.component_info().imports[0].permission(), Some("cart.read"));
    assert_eq!(embed(verified.package(), verified.block()).unwrap(), signed());
}

#[test]
fn a_detached_signature_does_the_same() {
    let signature = sign(&package(), &key(), &root(), time()).unwrap().detached();
    let verified = verify_detached(package(), &signature, &trust()).unwrap();
    assert_eq!(verified.block().to_bytes(), signature);
    assert_eq!(verified.digest(), verify(signed(), &trust()).unwrap().digest());
}

#[test]
fn a_publisher_is_trusted_by_key_root_or_id() {
    let id = root().publisher_id().to_string();
    assert!(id.starts_with("mp1") && id.len() == 55, "{id}");
    let pem = key().public().to_pem();
    let document = String::from_utf8(root().bytes().to_vec()).unwrap();
    for text in [&pem, &document, &id, &format!("{document}\n"), &format!("{id}\n")] {
        assert_eq!(Trust::parse(text.as_bytes()).unwrap(), trust(), "{text}");
    }
    assert_eq!(
        verify(signed(), &Trust::key(&SecretKey::from_seed(&[8; 32]).public())).unwrap_err().code(),
        "MPKG-R09"
    );
}

#[test]
fn any_of_several_publishers_will_do() {
    let other = Trust::key(&SecretKey::from_seed(&[8; 32]).public());
    assert!(verify_any(signed(), None, &[other, trust()]).is_ok());
    let error = verify_any(signed(), None, &[other]).unwrap_err();
    assert_eq!(error.code(), "MPKG-R09");
    let error = verify_any(signed(), None, &[]).unwrap_err();
    assert!(error.code() == "MPKG-R09" && error.to_string().ends_with("trusted is nobody"), "{error}");
}

#[test]
fn a_block_can_be_shown_without_trust() {
    assert!(is_signed(&signed()) && !is_signed(&package()) && !is_signed(b"PK"));
    let (kept, block) = verify(signed(), &trust()).unwrap().into_parts();
    let claims = claims(&block).unwrap();
    assert_eq!(claims.roots.publisher(), root().publisher_id());
    assert_eq!(claims.signers, [key().public().id()]);
    assert_eq!(claims.statement.app_id, "org.example.tiny");
    assert!(verify_detached(kept, &block.to_bytes(), &trust()).is_ok());
}

#[test]
fn every_flipped_bit_of_a_signed_package_is_refused() {
    let signed = signed();
    for bit in 0..signed.len() * 8 {
        let mut flipped = signed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(flipped, &trust()).is_err(), "bit {bit} was flipped and nothing noticed");
    }
}

#[test]
fn every_flipped_bit_of_a_detached_signature_is_refused() {
    let signature = sign(&package(), &key(), &root(), time()).unwrap().detached();
    for bit in 0..signature.len() * 8 {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_detached(package(), &flipped, &trust()).is_err(), "bit {bit} was flipped");
    }
}

#[test]
fn every_cut_is_refused() {
    let signed = signed();
    for length in 0..signed.len() {
        assert!(verify(signed[..length].to_vec(), &trust()).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn an_older_signature_does_not_fit_a_newer_package() {
    let old = split(signed()).unwrap().block.unwrap();
    let mut files = support::files();
    files[2].1 = b"another".to_vec();
    let newer = mpkg_package::container::write(&files).unwrap();
    assert_eq!(verify(embed(&newer, &old).unwrap(), &trust()).unwrap_err().code(), "MPKG-S11");
}

#[test]
fn a_package_holds_one_block_only() {
    let block = split(signed()).unwrap().block.unwrap();
    assert_eq!(embed(&signed(), &block).unwrap_err().code(), "MPKG-Z25");
}

#[test]
fn pae_is_that_of_the_specification() {
    let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(dsse::pae("http://example.com/HelloWorld", b"hello world"), expected);
}

#[test]
fn times_have_one_spelling() {
    for text in ["2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z", "9998-12-31T23:59:59Z"] {
        assert_eq!(Time::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "2026-01-31",
        "2026-01-31 12:00:00Z",
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.0Z",
        "2026-01-31T12:00:00+00:00",
        "2026-02-30T12:00:00Z",
        "2026-01-31T12:00:60Z",
        "+12026-01-31T12:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
    ] {
        assert_eq!(Time::parse(text), None, "{text}");
    }
}

#[test]
fn generated_keys_survive_a_file() {
    let key = SecretKey::generate().unwrap();
    let again = SecretKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(PublicKey::from_pem(&key.public().to_pem()).unwrap(), key.public());
    assert_ne!(SecretKey::generate().unwrap().public(), key.public());
    let windows = key.to_pem().replace('\n', "\r\n");
    assert_eq!(SecretKey::from_pem(&windows).unwrap().public(), key.public());
}

#[test]
fn encrypted_keys_survive_a_file() {
    let key = SecretKey::generate().unwrap();
    let (pem, again) = (key.to_encrypted_pem(b"a b").unwrap(), key.to_encrypted_pem(b"a b").unwrap());
    assert!(is_encrypted(&pem) && !is_encrypted(&key.to_pem()));
    assert_ne!(pem, again, "salt and IV are new each time");
    assert_eq!(SecretKey::from_encrypted_pem(&pem, b"a b").unwrap().public(), key.public());
    assert_eq!(SecretKey::from_encrypted_pem(&pem, b"a  b").unwrap_err().code(), "MPKG-K12");
}

fn pairs() -> impl Strategy<Value = Vec<Pair>> {
    let value = prop::collection::vec(any::<u8>(), 0..100);
    prop::collection::btree_map(0u32..0x7FFF_FFFF, value, 0..6)
        .prop_map(|pairs| pairs.into_iter().map(|(kind, value)| Pair { kind, value }).collect())
}

proptest! {
    #[test]
    fn strip_undoes_embed(pairs in pairs(), contents in prop::collection::vec(any::<u8>(), 0..200)) {
        let package = mpkg_package::container::write(&[("manifest.json", &contents)]).unwrap();
        let block = Block::new(pairs).unwrap();
        let signed = embed(&package, &block).unwrap();
        prop_assert_eq!(Block::parse(&block.to_bytes()).unwrap(), block.clone());
        let split = split(signed).unwrap();
        prop_assert_eq!(split.unsigned, package);
        prop_assert_eq!(split.block, Some(block));
    }

    #[test]
    fn no_codec_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = Block::parse(&bytes);
        let _ = split(bytes.clone());
        let _ = RootChain::parse(&bytes);
        let _ = Root::parse(&bytes);
        let _ = Envelope::parse(&bytes, "t");
        let _ = ReleaseStatement::parse(&bytes);
        let _ = Trust::parse(&bytes);
        let _ = RootFile::parse(&bytes);
        let _ = SignedGrant::parse(&bytes);
        let _ = Grant::parse(&bytes);
        let _ = SecretKey::from_encrypted_pem(&text, b"x");
        let _ = SecretKey::from_pem(&text);
        let _ = PublicKey::from_pem(&text);
        let _ = Time::parse(&text);
        let _ = mpkg_package::wasm::inspect(&bytes);
        let _ = mpkg_package::wasm::inspect(&[&support::HEADER, &bytes[..]].concat());
        let _ = verify(bytes, &trust());
    }

    #[test]
    fn changed_codecs_do_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut file = signed();
        let at = at.index(file.len());
        prop_assume!(file[at] != byte);
        file[at] = byte;
        if cut {
            file.remove(at);
        }
        prop_assert!(verify(file, &trust()).is_err());
    }

    #[test]
    fn envelopes_survive(payload in prop::collection::vec(any::<u8>(), 0..200), seeds in prop::collection::btree_set(any::<u8>(), 0..5)) {
        let mut envelope = Envelope::new("text/plain", payload);
        for seed in seeds {
            envelope.sign(&SecretKey::from_seed(&[seed; 32]));
        }
        prop_assert_eq!(Envelope::parse(&envelope.to_bytes(), "text/plain").unwrap(), envelope);
    }

    #[test]
    fn roots_statements_and_ids_survive(seed in any::<[u8; 32]>(), seconds in 0i64..253_370_764_799) {
        let root = Root::single(&SecretKey::from_seed(&seed).public());
        prop_assert_eq!(&Root::parse(root.bytes()).unwrap(), &root);
        let chain = RootChain::first(root.clone()).unwrap();
        prop_assert_eq!(RootChain::parse(&chain.to_bytes()).unwrap(), chain);
        let id = root.publisher_id();
        prop_assert_eq!(id.to_string().parse::<mpkg_package::PublisherId>().unwrap(), id);
        let time = Time::from_unix(seconds).unwrap();
        prop_assert_eq!(Time::parse(&time.to_string()), Some(time));
        let signed = sign(&package(), &SecretKey::from_seed(&seed), &root, time).unwrap();
        prop_assert_eq!(ReleaseStatement::parse(&signed.statement.to_bytes()).unwrap(), signed.statement);
    }
}
