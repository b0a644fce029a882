//! Publisher roots that break one rule each.

use mpkg_package::dsse::Envelope;
use mpkg_package::root::{Draft, PAYLOAD_TYPE, RELEASE_ROLE, ROOT_ROLE, RootChain, RootFile};
use mpkg_package::{Floors, Hash, Root, Signing, Time, Trust, limits, sign_with, verify};

use super::signature::{public, with_roots};
use crate::support::{draft, key, next, package, root, seed, signed, time};
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

/// A second root after one with two of the root keys 1, 2, 3; its own are two of 3, 4, 5. Signed by these.
fn second(signers: &[u8], change: impl FnOnce(&mut Draft)) -> String {
    let chain = RootChain::first(draft(&[1, 2, 3], 2, &[7], 1).build().unwrap()).unwrap();
    let mut draft = Draft::after(chain.last());
    for n in [1, 2] {
        draft.remove(ROOT_ROLE, seed(n).public().id());
        draft.add(ROOT_ROLE, &seed(n + 3).public());
    }
    change(&mut draft);
    let mut envelope = Envelope::new(PAYLOAD_TYPE, draft.build().unwrap().bytes().to_vec());
    signers.iter().for_each(|n| envelope.sign(&seed(*n)));
    let link = envelope.to_bytes();
    let bytes = [chain.to_bytes(), (link.len() as u32).to_le_bytes().to_vec(), link].concat();
    refused!(RootChain::parse(&bytes))
}

/// A document with these members replaced in the text of another one.
fn replaced(root: &Root, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(root.bytes().to_vec()).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// Proposes this document after the golden root.
fn propose(document: &[u8]) -> String {
    let mut file = RootFile::parse(root().bytes()).unwrap();
    refused!(Root::parse(document).and_then(|root| file.propose(root)))
}

fn golden_chain() -> RootChain {
    RootChain::first(root()).unwrap()
}

/// The golden package under a newer root.
fn signed_under(chain: &RootChain, n: u8) -> Vec<u8> {
    let grant = crate::support::grant(chain, 1, crate::support::CART, &[7]);
    let with = Signing { roots: chain, grant: Some(&grant), before: None, created: time() };
    sign_with(&package(), &seed(n), &with).unwrap().embed(&package()).unwrap()
}

fn expires_at(now: &str) -> String {
    let chain = next(&golden_chain(), &[7], |draft| draft.expires = Time::parse("2030-01-01T00:00:00Z"));
    let verified = verify(signed_under(&chain, 7), &Trust::chain(&chain)).unwrap();
    refused!(Floors::default().admit(&verified, Time::parse(now)))
}

/// The golden package, whose signature was made before this key was revoked from a release on.
fn revoked_from(release_seq: u64) -> String {
    let chain = next(&golden_chain(), &[7], |draft| draft.revoke(key().public().id(), release_seq));
    with_roots(chain.to_bytes(), &Trust::chain(&chain))
}

fn chain_cases() -> Vec<Case> {
    let after = Draft::after(&root()).build().unwrap();
    let text = |root: &Root| String::from_utf8(root.bytes().to_vec()).unwrap();
    let grown = (1..65).fold(golden_chain(), |chain, _| {
        if chain.len() == limits::ROOT_LINKS { chain } else { next(&chain, &[7], |_| ()) }
    });
    let newer = next(&golden_chain(), &[7], |_| ());
    let revoked = |first: u8, second: u8| {
        let one = |n: u8| format!(r#"{{"key":"{}","from_release_seq":1}}"#, seed(n).public().id());
        parse(&with("\"revoked\":[]", &format!("\"revoked\":[{},{}]", one(first), one(second))))
    };
    let mut many = draft(&[7], 1, &[7], 1);
    (20..37).for_each(|n| _ = many.add(RELEASE_ROLE, &public(n)));
    many.set_threshold(RELEASE_ROLE, 17);

    assert_eq!(second(&[1, 2, 4, 5], |_| ()), "accepted");
    assert_eq!(second(&[1, 3, 4], |_| ()), "accepted", "one key in both roots counts in both");
    assert_eq!(grown.len(), limits::ROOT_LINKS);
    assert_eq!(propose(after.bytes()), "accepted");
    assert_eq!(expires_at("2029-12-31T23:59:59Z"), "accepted");
    assert_eq!(revoked_from(2), "accepted", "the release before");

    vec![
        ("MPKG-R05", "a threshold of 17", refused!(many.build())),
        (
            "MPKG-R11",
            "a 65th root",
            refused!(RootFile::new(grown.clone()).propose(Draft::after(grown.last()).build().unwrap())),
        ),
        ("MPKG-R14", "the same version again", propose(&replaced(&after, "\"version\":2", "\"version\":1"))),
        ("MPKG-R14", "a version left out", propose(&replaced(&after, "\"version\":2", "\"version\":3"))),
        (
            "MPKG-R14",
            "the largest version",
            propose(&replaced(&after, "\"version\":2", "\"version\":4294967295")),
        ),
        ("MPKG-R15", "no predecessor", {
            propose(&replaced(&after, &format!("\"{}\"", root().hash()), "null"))
        }),
        ("MPKG-R15", "another predecessor", {
            propose(&replaced(&after, &root().hash().to_string(), &Hash::of(b"another").to_string()))
        }),
        ("MPKG-R16", "nobody", second(&[], |_| ())),
        ("MPKG-R16", "one of the old", second(&[1, 4, 5], |_| ())),
        ("MPKG-R16", "only the new", second(&[3, 4, 5], |_| ())),
        ("MPKG-R17", "only the old", second(&[1, 2], |_| ())),
        ("MPKG-R17", "one of the new", second(&[1, 2, 4], |_| ())),
        (
            "MPKG-R17",
            "a higher threshold",
            second(&[1, 2, 4, 5], |draft| _ = draft.set_threshold(ROOT_ROLE, 3)),
        ),
        ("MPKG-R18", "an older root", {
            refused!(verify(signed(), &Trust::key(&key().public()).at_least(2)))
        }),
        ("MPKG-R18", "an older root than a root file has", refused!(verify(signed(), &Trust::chain(&newer)))),
        ("MPKG-R18", "an older root than the host has seen", {
            let verified = verify(signed(), &Trust::key(&key().public())).unwrap();
            refused!(Floors { root_version: 2, grant_version: 0 }.admit(&verified, None))
        }),
        ("MPKG-R19", "the second after", expires_at("2030-01-01T00:00:00Z")),
        ("MPKG-R20", "a key revoked later", revoked_from(1)),
        ("MPKG-R20", "a key revoked from the beginning", revoked_from(0)),
        ("MPKG-R21", "a key twice", revoked(7, 7)),
        ("MPKG-R21", "in both orders", {
            let both = [revoked(7, 8), revoked(8, 7)];
            assert!(both.contains(&"accepted".to_owned()));
            both.into_iter().find(|verdict| verdict != "accepted").unwrap()
        }),
        ("MPKG-R22", "no proposal", refused!(RootFile::new(golden_chain()).sign(&key()))),
        ("MPKG-R23", "a release key", {
            let chain = RootChain::first(draft(&[1], 1, &[7], 1).build().unwrap()).unwrap();
            let mut file = RootFile::new(chain.clone());
            file.propose(Draft::after(chain.last()).build().unwrap()).unwrap();
            refused!(file.sign(&key()))
        }),
        ("MPKG-S05", "a root signed by a release key too", second(&[1, 2, 4, 5, 7], |_| ())),
        ("MPKG-R16", "a proposal upon a proposal", {
            let mut file = RootFile::new(golden_chain());
            file.propose(after.clone()).unwrap();
            let mut more =
                Envelope::new(PAYLOAD_TYPE, Draft::after(&after).build().unwrap().bytes().to_vec());
            more.sign(&key());
            refused!(RootFile::parse(&[file.to_bytes(), more.to_bytes()].concat()))
        }),
        ("MPKG-R12", "a file without end", refused!(RootFile::parse(&vec![b' '; limits::ROOT_FILE + 1]))),
        ("MPKG-J11", "another member", parse(&text(&root()).replacen('{', "{\"x\":1,", 1))),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    [document_cases(), chain_cases()].concat()
}

fn document_cases() -> Vec<Case> {
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
        (
            "MPKG-R07",
            "a predecessor",
            refused!(Trust::parse(with("\"previous\":null", &format!("\"previous\":\"{id}\"")).as_bytes())),
        ),
        ("MPKG-R14", "two first ones", chain([one.clone(), one.clone()].concat())),
        ("MPKG-R07", "version 2", chain(link(with("\"version\":1", "\"version\":2").as_bytes(), false))),
        ("MPKG-R08", "signed", chain(link(root().bytes(), true))),
        ("MPKG-R09", "another publisher", with_roots(one.clone(), &Trust::key(&public(8)))),
        ("MPKG-R09", "a root of one's own", {
            chain(RootChain::first(Root::single(&public(8))).unwrap().to_bytes())
        }),
        ("MPKG-R10", "cut off", chain(one[..one.len() - 1].to_vec())),
        ("MPKG-R10", "half a length", chain([&one[..], &[1, 0]].concat())),
        ("MPKG-R11", "no link", chain(vec![])),
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
