//! The covenant: with every release key and no root key, nobody adds a permission or widens a scope.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use mpkg_package::dsse::{Envelope, Signature};
use mpkg_package::signing::{Block, Pair, kind};
use mpkg_package::{
    Digest, Grant, ReleaseStatement, RootChain, SignedGrant, Signing, Trust, container, grant as grants,
    sign_with, statement, verify_detached,
};
use proptest::prelude::*;
use support::{draft, next, seed, time};

/// Root keys 1, 2, 3, of which two are needed; release keys 7 and 8, of which one is.
fn chain() -> RootChain {
    RootChain::first(draft(&[1, 2, 3], 2, &[7, 8], 1).build().unwrap()).unwrap()
}

const GRANTED: &str =
    r#"{"cart.read":{},"network":{"hosts":["*.b.example","a.example"]},"storage":{"quota_bytes":4096}}"#;

/// What a manifest asks for: `cart.read`, `cart.write`, hosts, a quota.
#[derive(Clone, Debug)]
struct Wanted {
    cart_read: bool,
    cart_write: bool,
    hosts: Vec<&'static str>,
    quota: Option<u64>,
}

impl Wanted {
    /// What the covenant is, in the words of this test.
    fn is_granted(&self) -> bool {
        let host = |host: &&str| ["a.example", "x.b.example", "*.b.example", "*.y.b.example"].contains(host);
        !self.cart_write && self.hosts.iter().all(host) && self.quota.is_none_or(|bytes| bytes <= 4096)
    }

    fn package(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut push = |wanted: bool, name| {
            if wanted {
                names.push(name)
            }
        };
        push(self.cart_read, "cart.read");
        push(self.cart_write, "cart.write");
        push(!self.hosts.is_empty(), "network");
        push(self.quota.is_some(), "storage");
        let mut text = support::manifest(&names);
        let hosts: Vec<String> = self.hosts.iter().map(|host| format!("{host:?}")).collect();
        text = text.replace(r#""a.example""#, &hosts.join(","));
        if let Some(bytes) = self.quota {
            text = text.replace(r#""abi":1"#, &format!(r#""abi":1,"storage":{{"quota_bytes":{bytes}}}"#));
        }
        let imports: Vec<String> =
            names.iter().map(|name| format!("mpkg:bridge/{}@1.0.0", name.replace('.', "-"))).collect();
        let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
        let mut files = support::files();
        files[0].1 = text.into_bytes();
        files[1].1 = support::component(&imports);
        container::write(&files).unwrap()
    }
}

fn wanted() -> impl Strategy<Value = Wanted> {
    const HOSTS: [&str; 8] = [
        "*.b.example",
        "*.example.org",
        "*.y.b.example",
        "a.example",
        "b.example",
        "evil.example",
        "x.a.example",
        "x.b.example",
    ];
    let hosts = prop::sample::subsequence(HOSTS.to_vec(), 0..3);
    let quota = prop::option::of(prop::sample::select(vec![1u64, 4095, 4096, 4097, 1 << 20]));
    (any::<bool>(), prop::bool::weighted(0.2), hosts, quota)
        .prop_map(|(cart_read, cart_write, hosts, quota)| Wanted { cart_read, cart_write, hosts, quota })
}

fn everything(chain: &RootChain, app_id: &str) -> Grant {
    let permissions = concat!(
        r#"{"cart.read":{},"cart.write":{},"network":{"hosts":["*.b.example","*.example.org","*.y.b.example","#,
        r#""a.example","b.example","evil.example","x.a.example","x.b.example"]},"#,
        r#""storage":{"quota_bytes":9007199254740991}}"#
    );
    let permissions = serde_json::from_str(permissions).unwrap();
    Grant { app_id: app_id.to_owned(), publisher: chain.publisher(), version: 99, permissions }
}

fn signed(grant: Grant, chain: &RootChain, signers: &[u8]) -> SignedGrant {
    let mut grant = SignedGrant::new(grant).unwrap();
    signers.iter().for_each(|n| _ = grant.sign(&seed(*n), chain).unwrap());
    grant
}

/// Every grant that a thief of both release keys and of one root key can show.
fn grants_of_a_thief(chain: &RootChain) -> Vec<(&'static str, Vec<u8>)> {
    const APP: &str = "org.example.tiny";
    let honest = support::grant(chain, 1, GRANTED, &[1, 2]);
    let raw = |payload: Vec<u8>, signers: &[u8]| {
        let mut envelope = Envelope::new(grants::PAYLOAD_TYPE, payload);
        signers.iter().for_each(|n| envelope.sign(&seed(*n)));
        envelope
    };
    let honest_signatures = Envelope::parse(&honest.to_bytes(), grants::PAYLOAD_TYPE).unwrap().signatures;
    let wide = everything(chain, APP).to_bytes();
    let mut moved = raw(wide.clone(), &[]);
    moved.signatures = honest_signatures;
    // One root key's signature under two ids.
    let mut twice = raw(wide.clone(), &[1]);
    let other = Signature { key: seed(2).public().id(), bytes: twice.signatures[0].bytes };
    twice.signatures.push(other);
    twice.signatures.sort_by_key(|signature| signature.key);
    let own_root = RootChain::first(support::root()).unwrap();
    vec![
        ("the honest one", honest.to_bytes()),
        ("another app's", signed(everything(chain, "org.example.wide"), chain, &[1, 2]).to_bytes()),
        ("another publisher's", signed(everything(&own_root, APP), &own_root, &[7]).to_bytes()),
        ("one by release keys", raw(wide.clone(), &[7, 8]).to_bytes()),
        ("one by a root key", raw(wide.clone(), &[1]).to_bytes()),
        ("one by a root key and release keys", raw(wide.clone(), &[1, 7, 8]).to_bytes()),
        ("one by nobody", raw(wide.clone(), &[]).to_bytes()),
        ("one with the honest signatures", moved.to_bytes()),
        ("one with a signature twice", twice.to_bytes()),
        ("one by the root keys for another purpose", {
            let mut envelope = Envelope::new(statement::PAYLOAD_TYPE, wide);
            [1, 2].iter().for_each(|n| envelope.sign(&seed(*n)));
            envelope.payload_type = grants::PAYLOAD_TYPE.to_owned();
            envelope.to_bytes()
        }),
        ("none", Vec::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn release_keys_alone_add_no_permission_and_widen_no_scope(wanted in wanted(), lie in any::<bool>()) {
        let chain = chain();
        let package = wanted.package();
        let contents = mpkg_package::check(&package).unwrap();
        let manifest = &contents.manifest.manifest;
        let granted = serde_json::from_str(GRANTED).unwrap();
        let asks = manifest.permissions();
        // The statement is the thief's too: he may understate what the manifest asks for.
        let permissions = if lie && !asks.is_subset_of(&granted) { Default::default() } else { asks };
        let statement = ReleaseStatement {
            app_id: manifest.app_id.to_string(),
            publisher: chain.publisher(),
            version: manifest.version.name.to_string(),
            release_seq: manifest.version.code,
            package: Digest::of(&package),
            manifest: Digest::of(contents.container.manifest()),
            permissions,
            abi: 1,
            root_version: 1,
            created: time(),
        };
        let mut release = Envelope::new(statement::PAYLOAD_TYPE, statement.to_bytes());
        [7, 8].iter().for_each(|n| release.sign(&seed(*n)));
        for (name, grant) in grants_of_a_thief(&chain) {
            let block = Block::new(vec![
                Pair { kind: kind::ROOTS, value: chain.to_bytes() },
                Pair { kind: kind::RELEASE, value: release.to_bytes() },
                Pair { kind: kind::GRANT, value: grant },
            ]);
            let block = block.unwrap().to_bytes();
            let verdict = verify_detached(package.clone(), &block, &Trust::chain(&chain));
            let expected = name == "the honest one" && wanted.is_granted();
            prop_assert_eq!(verdict.is_ok(), expected, "{}: {:?}", name, verdict.err());
        }
    }

    #[test]
    fn signing_says_beforehand_what_verifying_says_afterwards(wanted in wanted()) {
        let chain = chain();
        let grant = support::grant(&chain, 1, GRANTED, &[1, 3]);
        let package = wanted.package();
        let with = Signing { roots: &chain, grant: Some(&grant), before: None, created: time() };
        match sign_with(&package, &seed(7), &with) {
            Ok(signed) => {
                prop_assert!(wanted.is_granted());
                prop_assert!(verify_detached(package, &signed.detached(), &Trust::chain(&chain)).is_ok());
            }
            Err(error) => {
                prop_assert!(!wanted.is_granted());
                prop_assert_eq!(error.code(), "MPKG-G04");
            }
        }
    }
}

#[test]
fn a_key_that_is_everything_grants_by_itself() {
    let signed = mpkg_package::sign(&support::package(), &support::key(), &support::root(), time()).unwrap();
    assert!(signed.grant_is_new && signed.missing() == 0);
    assert_eq!(signed.grant.version, 1, "the release sequence");
    assert_eq!(serde_json::to_string(&signed.grant.permissions).unwrap(), support::CART);
    // Signing again keeps the grant that is there, and follows a wider one with a higher version.
    let roots = RootChain::first(support::root()).unwrap();
    let again = |before: &Block| {
        let with = Signing { roots: &roots, grant: None, before: Some(before), created: time() };
        sign_with(&support::package(), &support::key(), &with).unwrap()
    };
    let kept = again(&signed.block);
    assert!(!kept.grant_is_new && kept.block == signed.block);
    let other = support::grant(&roots, 41, "{}", &[7]);
    let mut pairs = signed.block.pairs().to_vec();
    pairs[2].value = other.to_bytes();
    let wider = again(&Block::new(pairs).unwrap());
    assert!(wider.grant_is_new && wider.grant.version == 42);
}

#[test]
fn signers_add_to_what_is_there_and_only_to_the_same_release() {
    let chain = RootChain::first(draft(&[7], 1, &[7, 8, 9], 2).build().unwrap()).unwrap();
    let sign = |package: &[u8], n: u8, before: Option<&Block>, created: &str| {
        let created = mpkg_package::Time::parse(created).unwrap();
        sign_with(package, &seed(n), &Signing { roots: &chain, grant: None, before, created }).unwrap()
    };
    let package = support::package();
    let first = sign(&package, 7, None, "2026-01-01T00:00:00Z");
    assert_eq!((first.signers.len(), first.missing()), (1, 1));
    let trust = Trust::chain(&chain);
    assert_eq!(verify_detached(package.clone(), &first.detached(), &trust).unwrap_err().code(), "MPKG-S07");

    let second = sign(&package, 8, Some(&first.block), "2026-02-02T00:00:00Z");
    assert_eq!((second.signers.len(), second.missing()), (2, 0));
    assert_eq!(second.statement, first.statement, "what the first one signed stays as it is");
    let verified = verify_detached(package.clone(), &second.detached(), &trust).unwrap();
    assert_eq!(verified.signers().len(), 2);
    assert_eq!(sign(&package, 7, Some(&second.block), "2026-03-03T00:00:00Z").block, second.block);

    let mut files = support::files();
    files[2].1 = b"another".to_vec();
    let newer = container::write(&files).unwrap();
    let fresh = sign(&newer, 7, Some(&second.block), "2026-03-03T00:00:00Z");
    assert_eq!((fresh.signers.len(), fresh.missing()), (1, 1), "signatures of another package are dropped");

    // A signature that no longer counts is not carried along.
    let revoked = next(&chain, &[7], |draft| draft.revoke(seed(8).public().id(), 1));
    let with = Signing { roots: &revoked, grant: None, before: Some(&second.block), created: time() };
    let signed = sign_with(&package, &seed(9), &with).unwrap();
    assert_eq!(signed.signers, [seed(9).public().id()]);
}
