//! Random histories of roots, honest and attacked, judged by the library and by a model of a few lines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use mpkg_package::dsse::Envelope;
use mpkg_package::root::{Draft, PAYLOAD_TYPE, RELEASE_ROLE, ROOT_ROLE};
use mpkg_package::signing::{Block, Pair, kind};
use mpkg_package::{Floors, Hash, Root, RootChain, Trust, container, statement, verify_detached};
use proptest::prelude::*;
use support::{CART, grant, seed, time};

type Keys = BTreeSet<u8>;

/// What a root says, in the words of the model.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    root: Keys,
    root_threshold: usize,
    release: Keys,
    release_threshold: usize,
    revoked: BTreeMap<u8, u64>,
}

fn role() -> impl Strategy<Value = (Keys, usize)> {
    prop::collection::btree_set(1u8..=5, 1..=4).prop_flat_map(|keys| (Just(keys.clone()), 1..=keys.len()))
}

fn model() -> impl Strategy<Value = Model> {
    let revoked = prop::collection::btree_map(1u8..=5, 0u64..5, 0..2);
    (role(), role(), revoked).prop_map(|((root, root_threshold), (release, release_threshold), revoked)| {
        Model { root, root_threshold, release, release_threshold, revoked }
    })
}

fn keys() -> impl Strategy<Value = Keys> {
    prop::collection::btree_set(1u8..=6, 0..=6)
}

/// The document that says this.
fn document(model: &Model, before: Option<&Root>) -> Root {
    let mut draft = before.map_or_else(Draft::first, Draft::after);
    for n in 1..=6 {
        let (key, id) = (seed(n).public(), seed(n).public().id());
        for (role, members) in [(ROOT_ROLE, &model.root), (RELEASE_ROLE, &model.release)] {
            if members.contains(&n) {
                draft.add(role, &key)
            } else {
                draft.remove(role, id)
            };
        }
        draft.pardon(id);
    }
    model.revoked.iter().for_each(|(n, from)| draft.revoke(seed(*n).public().id(), *from));
    draft.set_threshold(ROOT_ROLE, model.root_threshold as u32);
    draft.set_threshold(RELEASE_ROLE, model.release_threshold as u32);
    draft.build().unwrap()
}

fn envelope(kind: &str, payload: Vec<u8>, signers: &Keys) -> Envelope {
    let mut envelope = Envelope::new(kind, payload);
    signers.iter().for_each(|n| envelope.sign(&seed(*n)));
    envelope
}

/// Links of a chain, as bytes.
fn bytes(links: &[Envelope]) -> Vec<u8> {
    let link = |it: &Envelope| [(it.to_bytes().len() as u32).to_le_bytes().to_vec(), it.to_bytes()].concat();
    links.iter().flat_map(link).collect()
}

/// An honest history: every root signed by everyone who has a say in it.
fn history(models: &[Model]) -> Vec<Envelope> {
    let mut links: Vec<Envelope> = Vec::new();
    for (at, model) in models.iter().enumerate() {
        let before = links.last().map(|link| Root::parse(&link.payload).unwrap());
        let signers = if at == 0 { Keys::new() } else { &models[at - 1].root | &model.root };
        links.push(envelope(PAYLOAD_TYPE, document(model, before.as_ref()).bytes().to_vec(), &signers));
    }
    links
}

/// The model's whole idea of a chain: enough of the old, enough of the new, nobody else.
fn follows(before: &Model, next: &Model, signers: &Keys) -> bool {
    let count = |keys: &Keys| signers.intersection(keys).count();
    signers.is_subset(&(&before.root | &next.root))
        && count(&before.root) >= before.root_threshold
        && count(&next.root) >= next.root_threshold
}

/// The model's whole idea of a release.
fn releases(root: &Model, signers: &Keys, grantors: &Keys, release_seq: u64) -> bool {
    let counted =
        signers.iter().filter(|n| root.revoked.get(n).is_none_or(|from| release_seq < *from)).count();
    signers.is_subset(&root.release)
        && counted >= root.release_threshold
        && grantors.is_subset(&root.root)
        && grantors.len() >= root.root_threshold
}

fn package(release_seq: u64) -> Vec<u8> {
    let mut files = support::files();
    let text = String::from_utf8(files[0].1.clone()).unwrap();
    files[0].1 = text.replace(r#""code":1,"#, &format!(r#""code":{release_seq},"#)).into_bytes();
    container::write(&files).unwrap()
}

/// A release under these roots, whoever signs it.
fn block(links: &[Envelope], package: &[u8], release_seq: u64, signers: &Keys, grantors: &Keys) -> Block {
    let chain_start = RootChain::parse(&bytes(&links[..1])).unwrap();
    let statement = statement::ReleaseStatement {
        publisher: chain_start.publisher(),
        package: mpkg_package::Digest::of(package),
        manifest: mpkg_package::Digest::of(container::read(package).unwrap().manifest()),
        release_seq,
        ..mpkg_package::sign(&support::package(), &support::key(), &support::root(), time())
            .unwrap()
            .statement
    };
    let grant = grant(&chain_start, 1, CART, &[]).grant().to_bytes();
    Block::new(vec![
        Pair { kind: kind::ROOTS, value: bytes(links) },
        Pair {
            kind: kind::RELEASE,
            value: envelope(statement::PAYLOAD_TYPE, statement.to_bytes(), signers).to_bytes(),
        },
        Pair {
            kind: kind::GRANT,
            value: envelope(mpkg_package::grant::PAYLOAD_TYPE, grant, grantors).to_bytes(),
        },
    ])
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any root after any history, signed by anyone: the library and the model say the same.
    #[test]
    fn a_root_follows_when_the_model_says_so(models in prop::collection::vec(model(), 1..5), next in model(), signers in keys()) {
        let mut links = history(&models);
        let chain = RootChain::parse(&bytes(&links)).unwrap();
        prop_assert_eq!(chain.len(), models.len());
        links.push(envelope(PAYLOAD_TYPE, document(&next, Some(chain.last())).bytes().to_vec(), &signers));
        let verdict = RootChain::parse(&bytes(&links));
        prop_assert_eq!(verdict.is_ok(), follows(models.last().unwrap(), &next, &signers), "{:?}", verdict.err());
    }

    /// Any release under any history, signed and granted by anyone.
    #[test]
    fn a_release_counts_when_the_model_says_so(
        models in prop::collection::vec(model(), 1..4),
        signers in keys(),
        grantors in keys(),
        honest in any::<bool>(),
        release_seq in 1u64..5,
        floor in 1u32..4,
    ) {
        let links = history(&models);
        let last = models.last().unwrap();
        // Random signers are hardly ever right; every other time they are the ones who may.
        let (signers, grantors) = if honest { (last.release.clone(), last.root.clone()) } else { (signers, grantors) };
        let package = package(release_seq);
        let block = block(&links, &package, release_seq, &signers, &grantors);
        let trust = Trust::publisher(RootChain::parse(&bytes(&links)).unwrap().publisher()).at_least(floor);
        let verdict = verify_detached(package, &block.to_bytes(), &trust);
        let expected = releases(last, &signers, &grantors, release_seq) && models.len() >= floor as usize;
        prop_assert_eq!(verdict.is_ok(), expected, "{:?}", verdict.err());
        if let Ok(verified) = verdict {
            let floors = Floors { root_version: models.len() as u32 + 1, grant_version: 0 };
            prop_assert!(floors.admit(&verified, None).is_err());
            let floors = Floors { root_version: 0, grant_version: 2 };
            prop_assert!(floors.admit(&verified, None).is_err());
        }
    }

    /// A thief with fewer root keys than any of the roots takes plays whatever documents there are: the honest ones
    /// in any order, changed ones, new ones with keys of his own, with honest signatures moved onto them. No root of
    /// his comes into force.
    #[test]
    fn fewer_root_keys_than_the_threshold_change_no_root(
        models in prop::collection::vec(model(), 2..5),
        stolen in keys(),
        forged in model(),
        moves in prop::collection::vec((0u8..7, any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..6),
    ) {
        // Key 6 is the thief's own, in no honest root.
        let mut stolen = stolen;
        for model in &models {
            while stolen.intersection(&model.root).count() >= model.root_threshold {
                let key = *stolen.intersection(&model.root).next().unwrap();
                stolen.remove(&key);
            }
        }
        stolen.insert(6);
        let mut own = forged;
        own.root.insert(6);
        own.release.insert(6);
        own.root_threshold = 1;

        let honest = history(&models);
        let publisher = RootChain::parse(&bytes(&honest)).unwrap().publisher();
        let mut links = honest.clone();
        for (move_, a, b) in moves {
            let (i, j) = (a.index(links.len()), b.index(honest.len()));
            match move_ {
                0 => links.truncate(i.max(1)),
                1 => links.push(honest[j].clone()),
                2 => _ = if links.len() > 1 { links.remove(i) } else { links[0].clone() },
                3 => links.swap(i, 0),
                4 => {
                    let before = Root::parse(&links[i].payload).unwrap();
                    let forged = document(&own, Some(&before));
                    links.truncate(i + 1);
                    links.push(envelope(PAYLOAD_TYPE, forged.bytes().to_vec(), &stolen));
                }
                5 => {
                    links[i].signatures = honest[j].signatures.clone();
                    let mine = envelope(PAYLOAD_TYPE, links[i].payload.clone(), &stolen);
                    links[i].signatures.extend(mine.signatures);
                    links[i].signatures.sort_by_key(|signature| signature.key);
                    links[i].signatures.dedup_by_key(|signature| signature.key);
                }
                _ => {
                    // A stolen signature under another key's id.
                    let mine = envelope(PAYLOAD_TYPE, links[i].payload.clone(), &stolen);
                    let mut signature = mine.signatures[0].clone();
                    signature.key = seed(1 + (j as u8 % 5)).public().id();
                    links[i].signatures.retain(|found| found.key != signature.key);
                    links[i].signatures.push(signature);
                    links[i].signatures.sort_by_key(|signature| signature.key);
                }
            }
        }
        let Ok(chain) = RootChain::parse(&bytes(&links)) else { return Ok(()) };
        if chain.publisher() == publisher {
            let roots: Vec<Hash> = chain.roots().map(Root::hash).collect();
            let all: Vec<Hash> = honest.iter().map(|link| Hash::of(&link.payload)).collect();
            prop_assert!(all.starts_with(&roots), "a root of the thief is in force");
        }
    }
}

#[test]
fn every_flipped_bit_under_a_chain_of_roots_is_refused() {
    let model = |root: u8, revoked: &[(u8, u64)]| Model {
        root: [root].into(),
        root_threshold: 1,
        release: [3].into(),
        release_threshold: 1,
        revoked: revoked.iter().copied().collect(),
    };
    let models = [model(1, &[]), model(4, &[(3, 9)])];
    let (links, package) = (history(&models), package(1));
    let block = block(&links, &package, 1, &[3].into(), &[4].into()).to_bytes();
    let trust = Trust::chain(&RootChain::parse(&bytes(&links)).unwrap());
    assert!(verify_detached(package.clone(), &block, &trust).is_ok());
    for bit in 0..block.len() * 8 {
        let mut flipped = block.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_detached(package.clone(), &flipped, &trust).is_err(), "bit {bit} was flipped");
    }
}
