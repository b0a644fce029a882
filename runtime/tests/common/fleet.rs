//! A fleet's signed state, and releases that it offers.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use miniapp_runtime::updates::{Device, Offer, Orders};
use mpkg_fleet::*;
use mpkg_package::root::{Draft, ROOT_ROLE, STATE_ROLE, STOP_ROLE};
use mpkg_package::{Root, RootChain, SecretKey, Time, Trust, sign};
use tokio::sync::{mpsc, oneshot};

use super::{APP, Package, key};

const BEGIN: i64 = 1_800_000_000;

fn time(seconds: i64) -> Time {
    Time::from_unix(BEGIN + seconds).unwrap()
}

fn signed<D: Document>(document: D) -> Vec<u8> {
    let mut signed = SignedDocument::new(document).unwrap();
    signed.sign(&SecretKey::from_seed(&[72; 32]));
    signed.to_bytes()
}

/// A registry with keys, and what a host knows of it.
pub struct Registry {
    fleet: Fleet,
    /// Seconds since the beginning.
    pub clock: Arc<AtomicI64>,
    kills: u64,
    heads: u64,
    states: u64,
    lifts: Vec<Lift>,
    pub asked: mpsc::Receiver<oneshot::Sender<()>>,
    refresh: mpsc::Sender<oneshot::Sender<()>>,
}

impl Default for Registry {
    fn default() -> Self {
        let mut draft = Draft::registry();
        draft.add(ROOT_ROLE, &SecretKey::from_seed(&[71; 32]).public());
        for role in [STATE_ROLE, STOP_ROLE] {
            draft.add(role, &SecretKey::from_seed(&[72; 32]).public());
        }
        let chain = RootChain::first(draft.build().unwrap()).unwrap();
        let mut fleet = Fleet::new(Trust::chain(&chain));
        assert!(fleet.accept_roots(&chain.to_bytes()).changed);
        let (refresh, asked) = mpsc::channel(8);
        let clock = Arc::new(AtomicI64::new(0));
        Self { fleet, clock, kills: 0, heads: 0, states: 0, lifts: vec![], asked, refresh }
    }
}

impl Registry {
    /// Kills the test's app, or what `scope` says.
    pub fn kill(&mut self, level: Level, scope: impl FnOnce(&mut KillScope)) -> KillId {
        self.kills += 1;
        let mut about = KillScope { app: Some(APP.parse().unwrap()), ..KillScope::default() };
        scope(&mut about);
        let reason = "it steals".parse().unwrap();
        let kill = Kill { level, scope: about, reason, issued: time(0), nonce: self.kills };
        let id = kill.id();
        let outcome = self.fleet.accept_stop(&signed(StopNotice { issued: time(0), kills: vec![kill] }));
        assert!(outcome.changed, "{outcome:?}");
        id
    }

    pub fn lift(&mut self, kill: KillId) {
        self.lifts.push(Lift { kill, issued: time(1), reason: "fixed".parse().unwrap() });
        self.news();
    }

    /// A new head, issued now.
    pub fn news(&mut self) {
        self.heads += 1;
        let head = FleetHead {
            epoch: 1,
            seq: self.heads,
            prev_sha256: self.fleet.head().map(|head| head.hash()),
            issued: time(self.clock.load(Ordering::Relaxed)),
            expires: time(1_000_000_000),
            apps: Default::default(),
            kills: vec![],
            lifts: self.lifts.clone(),
            policy: FleetPolicy::default(),
        };
        let outcome = self.fleet.accept_head(&signed(head), None);
        assert!(outcome.changed, "{outcome:?}");
    }

    /// A new state of the test's app.
    pub fn state(&mut self, change: impl FnOnce(&mut AppState)) {
        self.states += 1;
        let app = APP.parse().unwrap();
        let mut state = AppState {
            prev_sha256: self.fleet.app(&app).map(|state| state.hash()),
            app_id: app,
            publisher: Root::single(&key(1).public()).publisher_id(),
            epoch: 1,
            seq: self.states,
            issued: time(0),
            expires: time(1_000_000_000),
            release: None,
            baseline: None,
            percent: BasisPoints::NONE,
            control: BasisPoints::NONE,
            admission: Admission::Open,
            salt: "salt".parse().unwrap(),
            targeting: Targeting::default(),
            min_seq: 0,
            disabled: Default::default(),
            kills: Vec::new(),
            lifts: Vec::new(),
        };
        change(&mut state);
        let outcome = self.fleet.accept_app(&signed(state), None);
        assert!(outcome.changed, "{outcome:?}");
    }

    pub fn orders(&self) -> Arc<Orders> {
        let context = Context {
            unit: "device".into(),
            platform: "android".parse().unwrap(),
            host_version: "3.1.0".parse().unwrap(),
            region: None,
            segments: Default::default(),
        };
        let now = self.clock.clone();
        let clock = Arc::new(move || Some(time(now.load(Ordering::Relaxed))));
        Arc::new(Orders::new(Arc::new(self.fleet.clone()), Arc::new(context), clock, self.refresh.clone()))
    }
}

/// A release as the fleet's state would name it.
pub fn offer(package: &Package) -> Offer {
    let unsigned = package.unsigned();
    Offer {
        app: package.app_id.parse().unwrap(),
        publisher: Root::single(&key(package.seed).public()).publisher_id(),
        release: ReleaseRef {
            package: mpkg_package::Digest::of(&unsigned),
            release_seq: package.code,
            version: "1.0.0".parse().unwrap(),
        },
    }
}

/// A package with its signature beside it.
pub fn detached(package: &Package) -> (Vec<u8>, Vec<u8>) {
    let unsigned = package.unsigned();
    let root = Root::single(&key(package.seed).public());
    let created = Time::from_unix(1_767_225_600).unwrap();
    let signature = sign(&unsigned, &key(package.seed), &root, created).unwrap().detached();
    (unsigned, signature)
}

/// Puts a release on a host's shelf.
pub async fn shelve(host: &impl Device, package: &Package) -> ReleaseRef {
    let (unsigned, signature) = detached(package);
    let offer = offer(package);
    let release = offer.release.clone();
    host.install(offer, unsigned, signature).await.unwrap();
    release
}
