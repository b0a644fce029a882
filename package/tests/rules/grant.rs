//! Permission grants that break one rule each.

use mpkg_package::dsse::Envelope;
use mpkg_package::grant::PAYLOAD_TYPE;
use mpkg_package::root::RootChain;
use mpkg_package::signing::{self, Block, Pair, kind, split};
use mpkg_package::{Floors, Grant, SignedGrant, Signing, Trust, container, sign_with, verify};

use crate::support::{self, CART, draft, grant, manifest, package, seed, time};
use crate::{Case, refused};

/// Two of the root keys 1, 2, 3 grant; key 7 releases.
fn chain() -> RootChain {
    RootChain::first(draft(&[1, 2, 3], 2, &[7], 1).build().unwrap()).unwrap()
}

/// Signs a package with key 7 and this grant, beside another signature or not.
fn sign(package: &[u8], grant: Option<&SignedGrant>, before: Option<&Block>) -> String {
    let chain = chain();
    refused!(sign_with(package, &seed(7), &Signing { roots: &chain, grant, before, created: time() }))
}

/// Verifies the golden package, rightly signed, with this in the place of its grant.
fn with_grant(value: Vec<u8>) -> String {
    let chain = chain();
    let good = grant(&chain, 1, CART, &[1, 2]);
    let with = Signing { roots: &chain, grant: Some(&good), before: None, created: time() };
    let signed = sign_with(&package(), &seed(7), &with).unwrap();
    let mut pairs: Vec<Pair> = signed.block.pairs().to_vec();
    pairs.retain(|pair| pair.kind != kind::GRANT);
    pairs.push(Pair { kind: kind::GRANT, value });
    let file = signing::embed(&package(), &Block::new(pairs).unwrap()).unwrap();
    refused!(verify(file, &Trust::chain(&chain)))
}

fn wide(permissions: &[&str]) -> Vec<u8> {
    let imports: Vec<String> =
        permissions.iter().map(|name| format!("mpkg:bridge/{}@1.0.0", name.replace('.', "-"))).collect();
    let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
    let mut files = support::files();
    files[0].1 = manifest(permissions).into_bytes();
    files[1].1 = support::component(&imports);
    container::write(&files).unwrap()
}

/// A grant that says something else, rightly signed.
fn says(change: impl FnOnce(&mut Grant)) -> SignedGrant {
    let chain = chain();
    let mut it = grant(&chain, 1, CART, &[]).grant().clone();
    change(&mut it);
    let mut signed = SignedGrant::new(it).unwrap();
    [1, 2].iter().for_each(|n| _ = signed.sign(&seed(*n), &chain).unwrap());
    signed
}

/// An envelope of anything, signed by these seeds' keys.
fn raw(kind: &str, payload: Vec<u8>, signers: &[u8]) -> Vec<u8> {
    let mut envelope = Envelope::new(kind, payload);
    signers.iter().for_each(|n| envelope.sign(&seed(*n)));
    envelope.to_bytes()
}

pub(crate) fn cases() -> Vec<Case> {
    let chain = chain();
    let good = grant(&chain, 5, CART, &[1, 2]);
    let one = grant(&chain, 5, CART, &[1]);
    let other = RootChain::first(support::root()).unwrap();
    let hosts: Vec<String> =
        (0..80).map(|i| format!("\"{}.a{i:02}.example\"", "a.".repeat(100) + "b")).collect();
    let long = serde_json::from_str(&format!(r#"{{"network":{{"hosts":[{}]}}}}"#, hosts.join(","))).unwrap();
    let long = Grant { permissions: long, ..good.grant().clone() };
    let network = |hosts: &str| grant(&chain, 1, &format!(r#"{{"network":{{"hosts":[{hosts}]}}}}"#), &[1, 2]);
    let solo = support::signed();
    let small = grant(&chain, 1, "{}", &[1, 2]);

    assert_eq!(with_grant(good.to_bytes()), "accepted");
    assert_eq!(sign(&package(), Some(&good), None), "accepted");
    assert_eq!(sign(&wide(&["network"]), Some(&network("\"a.example\",\"b.example\"")), None), "accepted");

    vec![
        ("MPKG-G01", "too long", refused!(SignedGrant::new(long))),
        ("MPKG-G02", "another publisher's", {
            with_grant(raw(PAYLOAD_TYPE, grant(&other, 1, CART, &[]).grant().to_bytes(), &[1, 2]))
        }),
        (
            "MPKG-G02",
            "signing another publisher's",
            refused!(grant(&other, 1, CART, &[]).sign(&seed(1), &chain)),
        ),
        (
            "MPKG-G03",
            "another app's",
            with_grant(says(|it| it.app_id = "org.example.other".to_owned()).to_bytes()),
        ),
        ("MPKG-G04", "nothing granted", with_grant(small.to_bytes())),
        (
            "MPKG-G04",
            "another permission",
            with_grant(grant(&chain, 1, r#"{"cart.write":{}}"#, &[1, 2]).to_bytes()),
        ),
        ("MPKG-G04", "another host", sign(&wide(&["network"]), Some(&network("\"b.example\"")), None)),
        ("MPKG-G04", "a smaller quota", {
            let grant = grant(&chain, 1, r#"{"storage":{"quota_bytes":1048575}}"#, &[1, 2]);
            sign(&wide(&["storage"]), Some(&grant), None)
        }),
        ("MPKG-G04", "the grant that is there", {
            let with = Signing { roots: &chain, grant: Some(&good), before: None, created: time() };
            let block = sign_with(&package(), &seed(7), &with).unwrap().block;
            sign(&wide(&["cart.read", "storage"]), None, Some(&block))
        }),
        ("MPKG-G05", "an older grant", {
            let with = Signing { roots: &chain, grant: Some(&good), before: None, created: time() };
            let file = sign_with(&package(), &seed(7), &with).unwrap().embed(&package()).unwrap();
            let verified = verify(file, &Trust::chain(&chain)).unwrap();
            let floors = Floors { root_version: 1, grant_version: 5 };
            assert_eq!(floors.admit(&verified, Some(time())).unwrap(), floors);
            refused!(Floors { root_version: 1, grant_version: 6 }.admit(&verified, None))
        }),
        ("MPKG-G06", "none to sign with", sign(&package(), None, None)),
        ("MPKG-G06", "another publisher's beside the package", {
            sign(&package(), None, split(solo).unwrap().block.as_ref())
        }),
        ("MPKG-G07", "a release key", refused!(grant(&chain, 1, CART, &[]).sign(&seed(7), &chain))),
        ("MPKG-S07", "a grant signed by one of two", with_grant(one.to_bytes())),
        ("MPKG-S07", "a grant signed by nobody", with_grant(grant(&chain, 1, CART, &[]).to_bytes())),
        ("MPKG-S07", "a grant to sign with that lacks a signature", sign(&package(), Some(&one), None)),
        (
            "MPKG-S05",
            "a grant signed by the release key",
            with_grant(raw(PAYLOAD_TYPE, good.grant().to_bytes(), &[7])),
        ),
        ("MPKG-S02", "a root for a grant", {
            with_grant(raw(mpkg_package::root::PAYLOAD_TYPE, good.grant().to_bytes(), &[1, 2]))
        }),
        ("MPKG-J11", "no grant", { with_grant(raw(PAYLOAD_TYPE, b"{}".to_vec(), &[1, 2])) }),
        ("MPKG-J11", "an unknown permission in a grant", {
            let text = String::from_utf8(good.grant().to_bytes()).unwrap().replace("cart.read", "cart.steal");
            with_grant(raw(PAYLOAD_TYPE, text.into_bytes(), &[1, 2]))
        }),
    ]
}
