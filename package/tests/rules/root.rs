//! Publisher roots that break one rule each.

use mpkg_package::dsse::Envelope;
use mpkg_package::root::{PAYLOAD_TYPE, RootChain};
use mpkg_package::{Root, Trust, limits};

use super::signature::{public, with_roots};
use crate::support::{key, root};
use crate::{Case, refused};

fn text() -> String {
    String::from_utf8(root().bytes().to_vec()).unwrap()
}

fn parse(text: &str) -> String {
    refused!(Root::parse(text.as_bytes()))
}

/// The golden root with one thing replaced, which must be there.
fn with(from: &str, to: &str) -> String {
    let text = text();
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1)
}

fn link(payload: &[u8], signed: bool) -> Vec<u8> {
    let mut envelope = Envelope::new(PAYLOAD_TYPE, payload.to_vec());
    if signed {
        envelope.sign(&key());
    }
    let bytes = envelope.to_bytes();
    [(bytes.len() as u32).to_le_bytes().to_vec(), bytes].concat()
}

/// The root with its one key replaced by 32 other bytes, and its id by the hash of these.
fn with_key(bytes: [u8; 32]) -> String {
    let id = mpkg_package::Hash::of(&bytes).to_string();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let old = key().public();
    text().replace(&old.id().to_string(), &id).replace(&hex(&old.to_bytes()), &hex(&bytes))
}

pub(crate) fn cases() -> Vec<Case> {
    let trust = Trust::key(&key().public());
    let one = link(root().bytes(), false);
    let chain = |bytes: Vec<u8>| with_roots(bytes, &trust);
    let id = key().public().id().to_string();
    let role = format!(r#""release":{{"keys":["{id}"],"threshold":1}}"#);
    let mut small_order = [0; 32];
    small_order[0] = 1;
    let long = with("\"revoked\":[]", &format!("\"revoked\":[{}]", " ".repeat(limits::ROOT)));

    assert_eq!(chain(one.clone()), "accepted");

    vec![
        ("MPKG-R01", "a blank", parse(&with(":", ": "))),
        ("MPKG-R01", "a line end", parse(&(text() + "\n"))),
        ("MPKG-R01", "upper case", parse(&with("\"expires\"", "\"\\u0065xpires\""))),
        ("MPKG-R01", "a member left out", parse(&with(",\"previous\":null", ""))),
        ("MPKG-R02", "another type", parse(&with("mpkg.root.v1", "mpkg.state.v1"))),
        ("MPKG-R03", "a reserved algorithm", parse(&with("\"ed25519\"", "\"ml-dsa-44\""))),
        ("MPKG-R04", "another id", parse(&text().replace(&id, &public(8).id().to_string()))),
        ("MPKG-R05", "no release role", parse(&with(&format!("{role},"), ""))),
        ("MPKG-R05", "no root role", parse(&with(&format!(",{}", role.replace("release", "root")), ""))),
        ("MPKG-R05", "threshold 0", parse(&with("\"threshold\":1", "\"threshold\":0"))),
        ("MPKG-R05", "threshold 2 of 1", parse(&with("\"threshold\":1", "\"threshold\":2"))),
        ("MPKG-R05", "a key twice", parse(&with(&format!("[\"{id}\"]"), &format!("[\"{id}\",\"{id}\"]")))),
        (
            "MPKG-R05",
            "a foreign key",
            parse(&with(&format!("[\"{id}\"]"), &format!("[\"{}\"]", public(8).id()))),
        ),
        ("MPKG-R06", "expiry", refused!(Trust::parse(with("null", "\"2030-01-01T00:00:00Z\"").as_bytes()))),
        (
            "MPKG-R06",
            "revocation",
            refused!(Trust::parse(
                with("\"revoked\":[]", &format!("\"revoked\":[{{\"key\":\"{id}\",\"from_release_seq\":1}}]"))
                    .as_bytes()
            )),
        ),
        (
            "MPKG-R06",
            "predecessor",
            refused!(Trust::parse(with("\"previous\":null", &format!("\"previous\":\"{id}\"")).as_bytes())),
        ),
        ("MPKG-R06", "two links", chain([one.clone(), one.clone()].concat())),
        ("MPKG-R07", "version 2", chain(link(with("\"version\":1", "\"version\":2").as_bytes(), false))),
        ("MPKG-R08", "signed", chain(link(root().bytes(), true))),
        ("MPKG-R09", "another publisher", with_roots(one.clone(), &Trust::key(&public(8)))),
        ("MPKG-R09", "a root of one's own", {
            chain(RootChain::first(Root::single(&public(8))).unwrap().to_bytes())
        }),
        ("MPKG-R10", "cut off", chain(one[..one.len() - 1].to_vec())),
        ("MPKG-R10", "half a length", chain([&one[..], &[1, 0]].concat())),
        ("MPKG-R11", "no link", chain(vec![])),
        ("MPKG-R11", "65 links", chain(one.repeat(65))),
        ("MPKG-R12", "too long", parse(&long)),
        ("MPKG-R13", "nothing", refused!(Trust::parse(b""))),
        ("MPKG-R13", "a word", refused!(Trust::parse(b"everybody"))),
        ("MPKG-R13", "an id in upper case", {
            refused!(Trust::parse(root().publisher_id().to_string().to_uppercase().as_bytes()))
        }),
        ("MPKG-K07", "no point", parse(&with_key([0xFF; 32]))),
        ("MPKG-K08", "a key of small order", parse(&with_key(small_order))),
        ("MPKG-S02", "another payload", {
            let mut envelope = Envelope::new("text/plain", root().bytes().to_vec()).to_bytes();
            let length = (envelope.len() as u32).to_le_bytes();
            envelope.splice(0..0, length);
            chain(envelope)
        }),
    ]
}
