//! A registry with keys, and documents of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

use mpkg_fleet::*;
use mpkg_manifest::AppId;
use mpkg_package::root::{Draft, ROOT_ROLE, STATE_ROLE, STOP_ROLE};
use mpkg_package::{Digest, Hash, PublisherId, Root, RootChain, RootFile, SecretKey, Time, Trust};

pub const ROOT: u8 = 1;
pub const STATE: u8 = 2;
pub const STOP: u8 = 3;

pub fn seed(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

pub fn draft() -> Draft {
    let mut draft = Draft::registry();
    for (role, n) in [(ROOT_ROLE, ROOT), (STATE_ROLE, STATE), (STOP_ROLE, STOP)] {
        draft.add(role, &seed(n).public());
    }
    draft
}

pub fn chain() -> RootChain {
    RootChain::first(draft().build().unwrap()).unwrap()
}

/// The chain with one more root.
pub fn next(chain: &RootChain, change: impl FnOnce(&mut Draft)) -> RootChain {
    let mut draft = Draft::after(chain.last());
    change(&mut draft);
    let mut file = RootFile::new(chain.clone());
    file.propose(draft.build().unwrap()).unwrap();
    let _ = file.sign(&seed(ROOT)).unwrap();
    assert!(file.proposal().is_none());
    file.chain().clone()
}

/// A host that knows the root and nothing else.
pub fn host() -> Fleet {
    let mut fleet = Fleet::new(Trust::chain(&chain()));
    assert!(fleet.accept_roots(&chain().to_bytes()).changed);
    fleet
}

pub fn time(seconds: i64) -> Time {
    Time::from_unix(1_800_000_000 + seconds).unwrap()
}

pub fn app() -> AppId {
    "org.example.app".parse().unwrap()
}

pub fn publisher() -> PublisherId {
    Root::single(&seed(9).public()).publisher_id()
}

pub fn release(seq: u64) -> ReleaseRef {
    let version = format!("1.{seq}.0").parse().unwrap();
    ReleaseRef { package: Digest::of(&seq.to_be_bytes()), release_seq: seq, version }
}

/// A state with nothing in it.
pub fn state(seq: u64, prev: Option<Hash>) -> AppState {
    AppState {
        app_id: app(),
        publisher: publisher(),
        epoch: 1,
        seq,
        prev_sha256: prev,
        issued: time(seq as i64),
        expires: time(86_400),
        release: None,
        baseline: Some(release(1)),
        percent: BasisPoints::NONE,
        control: BasisPoints::NONE,
        admission: Admission::Open,
        salt: "salt".parse().unwrap(),
        targeting: Targeting::default(),
        min_seq: 0,
        disabled: Default::default(),
        kills: Vec::new(),
        lifts: Vec::new(),
    }
}

pub fn head(seq: u64, prev: Option<Hash>) -> FleetHead {
    FleetHead {
        epoch: 1,
        seq,
        prev_sha256: prev,
        issued: time(seq as i64),
        expires: time(86_400),
        apps: Default::default(),
        kills: Vec::new(),
        lifts: Vec::new(),
        policy: FleetPolicy::default(),
    }
}

pub fn signed<D: Document>(document: D, key: u8) -> SignedDocument<D> {
    let mut signed = SignedDocument::new(document).unwrap();
    signed.sign(&seed(key));
    signed
}

pub fn kill(level: Level, nonce: u64) -> Kill {
    let scope = KillScope {
        app: Some(app()),
        permission: (level == Level::Revoke).then(|| "payments.request".parse().unwrap()),
        ..KillScope::default()
    };
    Kill { level, scope, reason: "it steals".parse().unwrap(), issued: time(0), nonce }
}

pub fn lift(kill: &Kill) -> Lift {
    Lift { kill: kill.id(), issued: time(1), reason: "fixed".parse().unwrap() }
}

pub fn context(unit: &str) -> Context {
    Context {
        unit: unit.to_owned(),
        platform: "android".parse().unwrap(),
        host_version: "3.1.0".parse().unwrap(),
        region: None,
        segments: Default::default(),
    }
}

/// The same numbers on every machine and every day (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True in so many of a million.
    pub fn in_million(&mut self, ppm: u64) -> bool {
        (u128::from(self.next()) * 1_000_000) >> 64 < u128::from(ppm)
    }
}
