//! Signing blocks, envelopes and statements that break one rule each.

use mpkg_package::dsse::Envelope;
use mpkg_package::root::RootChain;
use mpkg_package::signing::{self, Block, MAGIC, Pair, kind};
use mpkg_package::statement::PAYLOAD_TYPE;
use mpkg_package::{
    Grant, PublicKey, ReleaseStatement, Root, SecretKey, SignedGrant, Signing, Trust, limits, sign,
    sign_with, verify, verify_detached,
};

use crate::support::{component, draft, key, manifest, next, package, root, seed, signed, time};
use crate::{Case, refused};

fn trust() -> Trust {
    Trust::key(&key().public())
}

fn statement() -> ReleaseStatement {
    sign(&package(), &key(), &root(), time()).unwrap().statement
}

fn envelope(payload: Vec<u8>) -> Envelope {
    let mut envelope = Envelope::new(PAYLOAD_TYPE, payload);
    envelope.sign(&key());
    envelope
}

/// Verifies the golden package with this in the place of its release.
fn release(bytes: Vec<u8>) -> String {
    release_under(bytes, &root())
}

fn release_under(bytes: Vec<u8>, root: &Root) -> String {
    release_of("org.example.tiny", bytes, root)
}

/// What the golden package needs, granted to an app with this id.
pub(crate) fn grant_for(app_id: &str, root: &Root) -> SignedGrant {
    let (app_id, publisher) = (app_id.to_owned(), root.publisher_id());
    let permissions = serde_json::from_str(crate::support::CART).unwrap();
    let mut grant = SignedGrant::new(Grant { app_id, publisher, version: 1, permissions }).unwrap();
    grant.sign(&key(), &RootChain::first(root.clone()).unwrap()).unwrap();
    grant
}

fn release_of(app_id: &str, bytes: Vec<u8>, root: &Root) -> String {
    let roots = RootChain::first(root.clone()).unwrap().to_bytes();
    let block = Block::new(vec![
        Pair { kind: kind::ROOTS, value: roots },
        Pair { kind: kind::RELEASE, value: bytes },
        Pair { kind: kind::GRANT, value: grant_for(app_id, root).to_bytes() },
    ]);
    let file = signing::embed(&package(), &block.unwrap()).unwrap();
    refused!(verify(file, &Trust::root(root).unwrap()))
}

/// Verifies it with a statement, rightly signed, that says something else.
fn says(change: impl FnOnce(&mut ReleaseStatement)) -> String {
    let mut statement = statement();
    change(&mut statement);
    let app_id = statement.app_id.clone();
    release_of(&app_id, envelope(statement.to_bytes()).to_bytes(), &root())
}

fn text(change: impl FnOnce(String) -> String) -> String {
    let bytes = envelope(statement().to_bytes()).to_bytes();
    release(change(String::from_utf8(bytes).unwrap()).into_bytes())
}

/// Verifies the golden package with a block made of raw parts.
fn block(pairs: &[(u32, &[u8])]) -> String {
    let mut inner = Vec::new();
    for (kind, value) in pairs {
        inner.extend_from_slice(&kind.to_le_bytes());
        inner.extend_from_slice(&(value.len() as u32).to_le_bytes());
        inner.extend_from_slice(value);
    }
    framed(&inner, 0, 0)
}

fn framed(inner: &[u8], first: i64, last: i64) -> String {
    let size = inner.len() as i64 + 8 + 16;
    let mut out = (size + first).to_le_bytes().to_vec();
    out.extend_from_slice(inner);
    out.extend_from_slice(&(size + last).to_le_bytes());
    out.extend_from_slice(&MAGIC);
    refused!(verify_detached(package(), &out, &trust()))
}

/// Two keys, both needed for a release.
fn two_of_two() -> Root {
    draft(&[7], 1, &[7, 8], 2).build().unwrap()
}

fn under_two(keys: &[SecretKey]) -> String {
    let root = two_of_two();
    let mut statement = statement();
    statement.publisher = root.publisher_id();
    let mut envelope = Envelope::new(PAYLOAD_TYPE, statement.to_bytes());
    keys.iter().for_each(|key| envelope.sign(key));
    release_under(envelope.to_bytes(), &root)
}

fn envelope_of(keys: impl Iterator<Item = SecretKey>) -> Vec<u8> {
    let mut envelope = Envelope::new(PAYLOAD_TYPE, statement().to_bytes());
    keys.for_each(|key| envelope.sign(&key));
    envelope.to_bytes()
}

/// A signature with the golden key after it was revoked from this release on.
fn revoked_from(release_seq: u64) -> String {
    let chain = next(&RootChain::first(root()).unwrap(), &[7], |draft| {
        draft.revoke(key().public().id(), release_seq)
    });
    refused!(sign_with(
        &package(),
        &key(),
        &Signing { roots: &chain, grant: None, before: None, created: time() }
    ))
}

pub(crate) fn cases() -> Vec<Case> {
    let detached = sign(&package(), &key(), &root(), time()).unwrap().detached();
    let good = envelope(statement().to_bytes());
    let roots = RootChain::first(root()).unwrap().to_bytes();
    let granted = grant_for("org.example.tiny", &root()).to_bytes();
    let release_bytes = good.to_bytes();
    let mut swapped: Envelope = good.clone();
    swapped.sign(&seed(8));
    swapped.signatures.reverse();
    let mut twice = good.clone();
    twice.signatures.push(twice.signatures[0].clone());
    let mut damaged = good.clone();
    damaged.signatures[0].bytes[0] ^= 1;
    let mut zero = good.clone();
    zero.signatures[0].bytes = [0; 64];
    let mut changed = statement();
    changed.release_seq = 2;
    let mut other_payload = good.clone();
    other_payload.payload = changed.to_bytes();
    let mut other_type = Envelope::new("application/vnd.mpkg.root.v1+json", statement().to_bytes());
    other_type.sign(&key());
    let wrong_size = mpkg_package::Digest { size: 1, ..statement().package };
    let wrong_hash = mpkg_package::Digest::of(b"another");
    let other_root = Root::single(&seed(8).public());

    assert_eq!(under_two(&[key(), seed(8)]), "accepted");
    let parts: [(u32, &[u8]); 4] =
        [(7, b"x"), (kind::ROOTS, &roots), (kind::RELEASE, &release_bytes), (kind::GRANT, &granted)];
    assert_eq!(block(&parts), "accepted");
    assert_eq!(revoked_from(2), "accepted");
    assert_eq!(release(good.to_bytes()), "accepted");

    vec![
        ("MPKG-B01", "no signature file", refused!(verify_detached(package(), b"hello", &trust()))),
        ("MPKG-B01", "an empty one", refused!(verify_detached(package(), b"", &trust()))),
        ("MPKG-B02", "larger than the file", framed(&[], 0, 1000)),
        ("MPKG-B02", "smaller than a block", framed(&[], 0, -20)),
        ("MPKG-B02", "bytes before the block", {
            refused!(verify_detached(package(), &[b"x", &detached[..]].concat(), &trust()))
        }),
        ("MPKG-B03", "a byte too many", framed(&vec![0; limits::BLOCK - 31], 0, 0)),
        ("MPKG-B03", "a size without end", framed(&[], 0, -25)),
        ("MPKG-B04", "two sizes", framed(&[], 1, 0)),
        ("MPKG-B05", "half a part", framed(&[1, 0, 0], 0, 0)),
        ("MPKG-B05", "a length outside", framed(&[1, 0, 0, 0, 9, 0, 0, 0], 0, 0)),
        ("MPKG-B05", "a length without end", framed(&[1, 0, 0, 0, 255, 255, 255, 255], 0, 0)),
        ("MPKG-B06", "descending", block(&[(kind::RELEASE, &release_bytes), (kind::ROOTS, &roots)])),
        ("MPKG-B06", "twice", block(&[(kind::ROOTS, &roots), (kind::ROOTS, &roots)])),
        ("MPKG-B07", "an unknown one", block(&[(kind::CRITICAL | 77, b"")])),
        ("MPKG-B08", "unsigned", refused!(verify(package(), &trust()))),
        ("MPKG-B09", "inside and beside", refused!(verify_detached(signed(), &detached, &trust()))),
        ("MPKG-B10", "no release", block(&[(kind::ROOTS, &roots), (kind::GRANT, &granted)])),
        ("MPKG-B10", "no root", block(&[(kind::RELEASE, &release_bytes), (kind::GRANT, &granted)])),
        ("MPKG-B10", "no grant", block(&[(kind::ROOTS, &roots), (kind::RELEASE, &release_bytes)])),
        ("MPKG-S01", "a blank", text(|text| text.replacen(':', ": ", 1))),
        ("MPKG-S01", "a line end", text(|text| text + "\n")),
        (
            "MPKG-S01",
            "another order",
            text(|text| {
                let (payload, rest) = text.split_once(r#","payloadType""#).unwrap();
                let (kind, rest) = rest.split_once(r#","signatures""#).unwrap();
                format!(r#"{{"payloadType"{kind},{},"signatures"{rest}"#, &payload[1..])
            }),
        ),
        ("MPKG-S01", "base64 without padding", text(|text| text.replacen("==\"", "\"", 1))),
        (
            "MPKG-S01",
            "a short signature",
            text(|text| {
                let (before, _) = text.split_once(r#""sig":""#).unwrap();
                format!(r#"{before}"sig":"AAAA"}}]}}"#)
            }),
        ),
        ("MPKG-S02", "signed for another purpose", release(other_type.to_bytes())),
        ("MPKG-S03", "17 signatures", release(envelope_of((0..17).map(seed)))),
        ("MPKG-S04", "descending", release(swapped.to_bytes())),
        ("MPKG-S04", "twice", release(twice.to_bytes())),
        ("MPKG-S05", "another key", release(envelope_of([seed(8)].into_iter()))),
        ("MPKG-S05", "another key beside the right one", release(envelope_of([key(), seed(8)].into_iter()))),
        ("MPKG-S06", "a damaged signature", release(damaged.to_bytes())),
        ("MPKG-S06", "zeros", release(zero.to_bytes())),
        ("MPKG-S06", "another payload", release(other_payload.to_bytes())),
        ("MPKG-S07", "nobody", release(Envelope::new(PAYLOAD_TYPE, statement().to_bytes()).to_bytes())),
        ("MPKG-S07", "one of two", under_two(&[key()])),
        ("MPKG-S08", "too long", {
            let text = String::from_utf8(statement().to_bytes()).unwrap();
            release(envelope((text + &" ".repeat(limits::STATEMENT)).into_bytes()).to_bytes())
        }),
        ("MPKG-S08", "too long to sign", {
            let hosts: Vec<String> = (0..64)
                .map(|i| {
                    format!(
                        r#""{}.{}.{}.{}.a{i:02}.example""#,
                        "a".repeat(63),
                        "b".repeat(63),
                        "c".repeat(63),
                        "d".repeat(48)
                    )
                })
                .collect();
            let bridge = "mpkg:bridge/network@1.0.0";
            let text = manifest(&["network"]).replace(r#""a.example""#, &hosts.join(","));
            let files = [("manifest.json", text.into_bytes()), ("app.wasm", component(&[bridge]))];
            refused!(sign(&mpkg_package::container::write(&files).unwrap(), &key(), &root(), time()))
        }),
        ("MPKG-S09", "another publisher", says(|s| s.publisher = other_root.publisher_id())),
        ("MPKG-S10", "a root that is not there", says(|s| s.root_version = 2)),
        ("MPKG-S10", "no root", says(|s| s.root_version = 0)),
        ("MPKG-S11", "another size", says(|s| s.package = wrong_size)),
        ("MPKG-S11", "another package", says(|s| s.package = wrong_hash)),
        ("MPKG-S12", "another manifest", says(|s| s.manifest = wrong_hash)),
        ("MPKG-S13", "another app", says(|s| s.app_id = "org.example.other".to_owned())),
        ("MPKG-S14", "another version", says(|s| s.version = "1.0.1".to_owned())),
        ("MPKG-S15", "another sequence", says(|s| s.release_seq = 2)),
        ("MPKG-S16", "fewer permissions", says(|s| s.permissions = Default::default())),
        ("MPKG-S17", "another ABI", says(|s| s.abi = 2)),
        ("MPKG-S18", "a key without the role", refused!(sign(&package(), &seed(8), &root(), time()))),
        ("MPKG-S19", "a revoked key", revoked_from(1)),
        ("MPKG-J11", "no envelope", release(b"{}".to_vec())),
        ("MPKG-J11", "a spare member", text(|text| text.replacen('{', r#"{"x":1,"#, 1))),
        ("MPKG-J04", "a member twice", text(|text| text.replacen('{', r#"{"payload":"","#, 1))),
        ("MPKG-J11", "no statement", release(envelope(b"{}".to_vec()).to_bytes())),
        ("MPKG-J02", "a byte order mark", release(envelope(b"\xef\xbb\xbf{}".to_vec()).to_bytes())),
    ]
}

/// Used by other cases: a package whose root is this.
pub(crate) fn with_roots(roots: Vec<u8>, trust: &Trust) -> String {
    let block = Block::new(vec![
        Pair { kind: kind::ROOTS, value: roots },
        Pair { kind: kind::RELEASE, value: envelope(statement().to_bytes()).to_bytes() },
        Pair { kind: kind::GRANT, value: grant_for("org.example.tiny", &root()).to_bytes() },
    ]);
    refused!(verify(signing::embed(&package(), &block.unwrap()).unwrap(), trust))
}

pub(crate) fn public(n: u8) -> PublicKey {
    seed(n).public()
}
