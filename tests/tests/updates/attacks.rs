//! A registry, or whoever sits before it, that lies. Nothing it says is followed, and each lie is reported.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use miniapp_runtime::updates::{Event, Way};
use mpkg_fleet::{AppState, BasisPoints, FleetHead, Level, Notice, SignedDocument};
use mpkg_package::SecretKey;
use serde_json::json;

use crate::common::{APP, Package, TestRegistry, key, start_with};
use crate::device::Host;
use crate::following::{kill, lift, with_baseline};
use crate::proxy::{Answer, Fault, Proxy};

const HEAD: &str = "/v1/state/head";
const STATE: &str = "/v1/state/apps/org.example.app";

/// A registry's own key, in the hands of a thief.
fn stolen(registry: &TestRegistry) -> SecretKey {
    SecretKey::from_pem(&fs::read_to_string(registry.folder.path().join("keys/state.pem")).unwrap()).unwrap()
}

fn signed<D: mpkg_fleet::Document>(document: D, key: &SecretKey) -> Vec<u8> {
    let mut signed = SignedDocument::new(document).unwrap();
    signed.sign(key);
    signed.to_bytes()
}

/// A lie that begins when it is told to.
#[derive(Clone, Default)]
struct Lie(Arc<Mutex<Told>>);

/// Bodies by path, the newest last.
type Told = Vec<(String, Vec<u8>)>;

impl Lie {
    fn tell(&self, path: &str, body: Vec<u8>) {
        self.0.lock().unwrap().push((path.to_owned(), body));
    }

    fn answer(&self, path: &str) -> Answer {
        let told = self.0.lock().unwrap();
        let found = told.iter().rev().find(|(of, _)| of == path);
        found.map_or(Answer::Honest, |(_, body)| Answer::Body(body.clone()))
    }
}

/// A host behind a proxy that keeps the stream's heads from it and lies as told, once release 1 runs.
async fn behind(registry: &TestRegistry) -> (Host, Lie, Proxy) {
    let lie = Lie::default();
    let (told, quiet) = (lie.clone(), Arc::new(AtomicBool::new(false)));
    let dropping = quiet.clone();
    let proxy = Proxy::new(
        &registry.base,
        move |path, _| told.answer(path),
        move |event| {
            let head = event.contains("\"type\":\"head\"");
            if head && dropping.load(Ordering::SeqCst) { Fault::Drop } else { Fault::Pass }
        },
    )
    .await;
    let mut host = Host::at(registry, &proxy.base, "unit").await;
    host.runs(1).await;
    host.caught_up(registry).await;
    quiet.store(true, Ordering::SeqCst);
    (host, lie, proxy)
}

async fn bytes(registry: &TestRegistry, path: &str) -> Vec<u8> {
    registry.get(&registry.admin, path).await.ok().bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn older_heads_and_states_change_nothing() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    let (old_head, old_state) = (bytes(&registry, HEAD).await, bytes(&registry, STATE).await);
    registry.publish(2).await;
    registry.everywhere(2).await;
    host.agent.refresh().await.unwrap();
    host.runs(2).await;
    lie.tell(HEAD, old_head);
    host.agent.refresh().await.unwrap();
    host.refused("MPKG-F36").await;

    // The newest head, with a state from before.
    registry.publish(3).await;
    registry.everywhere(3).await;
    lie.tell(HEAD, bytes(&registry, HEAD).await);
    lie.tell(STATE, old_state);
    host.agent.refresh().await.unwrap();
    host.refused("MPKG-F36").await;
    assert_eq!(host.device.current(), Some(2));
    // And it is known that something is kept back.
    assert_eq!(host.device.orders().fleet().missing().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_is_given_no_state_from_before_either() {
    let registry = with_baseline().await;
    let lie = Lie::default();
    lie.tell(STATE, bytes(&registry, STATE).await);
    registry.publish(2).await;
    registry.everywhere(2).await;
    let told = lie.clone();
    let heads = |event: &str| if event.contains("\"type\":\"head\"") { Fault::Drop } else { Fault::Pass };
    let proxy = Proxy::new(&registry.base, move |path, _| told.answer(path), heads).await;
    let mut host = Host::at(&registry, &proxy.base, "unit").await;
    host.agent.refresh().await.unwrap();
    host.refused("MPKG-F36").await;
    assert_eq!(host.device.current(), None);
    assert_eq!(host.device.orders().fleet().missing().len(), 1);
    lie.tell(STATE, bytes(&registry, STATE).await);
    host.agent.refresh().await.unwrap();
    host.runs(2).await;
    assert_eq!(host.device.held().packages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_never_stops_talking_holds_up_nothing() {
    let registry =
        start_with(|config| mpkg_registry::Config { heartbeat_every: Duration::from_millis(50), ..config })
            .await;
    registry.claim().await;
    registry.publish(1).await;
    registry.everywhere(1).await;
    let on = Arc::new(AtomicBool::new(false));
    let flooding = on.clone();
    let flood = move |event: &str| {
        let flood = event.contains("heartbeat") && flooding.load(Ordering::SeqCst);
        if flood { Fault::Flood } else { Fault::Pass }
    };
    let proxy = Proxy::new(&registry.base, |_, _| Answer::Honest, flood).await;
    let mut host = Host::at(&registry, &proxy.base, "unit").await;
    host.runs(1).await;
    host.caught_up(&registry).await;
    on.store(true, Ordering::SeqCst);
    proxy.flooded().await;
    // Only an answer to a question of its own tells it of the next release, which is then fetched.
    registry.publish(2).await;
    registry.everywhere(2).await;
    let refreshed = tokio::time::timeout(Duration::from_secs(60), host.agent.refresh()).await;
    refreshed.expect("an answer").unwrap();
    host.runs(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_documents_for_one_position_raise_the_alarm() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    let thief = stolen(&registry);
    let mut state: AppState = registry.state().await;
    state.percent = BasisPoints::NONE;
    state.min_seq += 1;
    state.baseline = None;
    let mut head: FleetHead = registry.head().await;
    // A later head is needed to have the state asked for.
    head.prev_sha256 = Some(SignedDocument::new(head.clone()).unwrap().hash());
    head.seq += 1;
    let forged = SignedDocument::new(state.clone()).unwrap();
    head.apps.get_mut(&state.app_id).unwrap().sha256 = forged.hash();
    lie.tell(HEAD, signed(head, &thief));
    host.agent.refresh().await.unwrap();
    let event = host.refused("MPKG-F37").await;
    assert!(matches!(event, Event::Refused { alarm: true, .. }), "{event:?}");
    assert_eq!(host.device.current(), Some(1));
    assert!(host.device.launches());
    assert_eq!(host.device.orders().fleet().alarms().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_that_is_not_the_signed_one_is_not_believed() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    registry.publish(2).await;
    let plan = json!([{ "percent": 500, "bake_s": 0, "min_votes": 0 }, { "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan })).await;
    let mut state = registry.state().await;
    assert_eq!(state.percent, BasisPoints::new(500).unwrap());
    (state.percent, state.control) = (BasisPoints::ALL, BasisPoints::NONE);
    // By nobody, and by somebody whom nobody knows.
    lie.tell(STATE, SignedDocument::new(state.clone()).unwrap().to_bytes());
    host.agent.refresh().await.unwrap();
    let unsigned = host.event("refusal", |event| matches!(event, Event::Refused { .. })).await;
    lie.tell(STATE, signed(state, &key(9)));
    host.agent.refresh().await.unwrap();
    let foreign = host.event("refusal", |event| matches!(event, Event::Refused { .. })).await;
    let codes: BTreeSet<&str> = [&unsigned, &foreign]
        .into_iter()
        .map(|event| match event {
            Event::Refused { code, .. } => *code,
            _ => unreachable!(),
        })
        .collect();
    assert!(codes.iter().all(|code| code.starts_with("MPKG-")), "{codes:?}");
    assert_eq!(host.device.current(), Some(1));
    assert_eq!(host.device.held().packages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_is_not_lifted_by_anybody_without_the_key() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    let id = kill(&registry, Level::Stop, json!({ "app": APP })).await;
    host.agent.refresh().await.unwrap();
    assert!(!host.device.launches());
    let killed = bytes(&registry, STATE).await;
    // The true lift, in a head that somebody else signed.
    lift(&registry, &id).await;
    let head = registry.head().await;
    assert_eq!(head.lifts.len(), 1);
    for forged in [SignedDocument::new(head.clone()).unwrap().to_bytes(), signed(head, &key(9))] {
        lie.tell(HEAD, forged);
        host.agent.refresh().await.unwrap();
        host.event("refusal", |event| matches!(event, Event::Refused { .. })).await;
        assert!(!host.device.launches());
    }
    // A head that knows nothing of the kill does not end it either.
    let mut head = registry.head().await;
    (head.lifts, head.kills) = (Vec::new(), Vec::new());
    lie.tell(HEAD, signed(head, &stolen(&registry)));
    lie.tell(STATE, killed);
    host.agent.refresh().await.unwrap();
    assert!(!host.device.launches());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_below_the_floor_does_not_come_back() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    registry.publish(2).await;
    registry.everywhere(2).await;
    let floor = json!({ "min_seq": 2, "reason": "release 1 leaks" });
    registry.post(&registry.admin, &format!("/v1/apps/{APP}/floor"), &floor).await.ok();
    host.agent.refresh().await.unwrap();
    host.runs(2).await;
    // With the key even a thief only goes on from what is known, and the floor is not among what can be taken back.
    let thief = stolen(&registry);
    let (mut state, mut head) = (registry.state().await, registry.head().await);
    let old = host.device.held().packages[0].0.clone();
    state.prev_sha256 = Some(SignedDocument::new(state.clone()).unwrap().hash());
    state.seq += 1;
    (state.min_seq, state.baseline, state.release) = (0, Some(old), None);
    (state.percent, state.control) = (BasisPoints::NONE, BasisPoints::NONE);
    let forged = SignedDocument::new(state.clone()).unwrap();
    head.prev_sha256 = Some(SignedDocument::new(head.clone()).unwrap().hash());
    head.seq += 1;
    let entry = head.apps.get_mut(&state.app_id).unwrap();
    (entry.seq, entry.sha256) = (state.seq, forged.hash());
    lie.tell(HEAD, signed(head, &thief));
    lie.tell(STATE, signed(state, &thief));
    host.agent.refresh().await.unwrap();
    let kept =
        |event: &Event| matches!(event, Event::Noticed { notice: Notice::FloorKept { floor: 2, .. }, .. });
    host.event("floor that stays", kept).await;
    assert_eq!(host.device.current(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_package_than_the_signed_state_names_is_not_installed() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    registry.publish(2).await;
    registry.publish(3).await;
    let [two, three] = [2, 3].map(|code| mpkg_package::Hash::of(&Package::new(code).unsigned()));
    let path = format!("/v1/packages/{two}");
    // Rightly signed by the same publisher, and not what was decided.
    lie.tell(&path, Package::new(3).unsigned());
    lie.tell(
        &format!("{path}/delta/{}", mpkg_package::Hash::of(&Package::new(1).unsigned())),
        b"no patch".to_vec(),
    );
    lie.tell(
        &format!("{path}/signature"),
        bytes(&registry, &format!("/v1/packages/{three}/signature")).await,
    );
    registry.everywhere(2).await;
    host.agent.refresh().await.unwrap();
    host.event("failure", |event| matches!(event, Event::Failed { .. })).await;
    // The right package with another one's signature.
    lie.tell(&path, Package::new(2).unsigned());
    let failed =
        |event: &Event| matches!(event, Event::Failed { code: Some(code), .. } if code.starts_with("MPKG-"));
    host.event("failure by rule", failed).await;
    assert_eq!(host.device.current(), Some(1));
    assert_eq!(host.device.held().packages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_inflates_costs_nothing_but_itself() {
    let registry = with_baseline().await;
    let (mut host, lie, _proxy) = behind(&registry).await;
    registry.publish(2).await;
    let [one, two] = [1, 2].map(|code| mpkg_package::Hash::of(&Package::new(code).unsigned()));
    // A megabyte of nothing in a few dozen bytes.
    let bomb = mpkg_registry_client::delta::make(&[], &vec![0; 1 << 20]).unwrap();
    lie.tell(&format!("/v1/packages/{two}/delta/{one}"), bomb);
    registry.everywhere(2).await;
    host.agent.refresh().await.unwrap();
    host.event("refused patch", |event| matches!(event, Event::PatchRefused { .. })).await;
    let whole = |event: &Event| matches!(event, Event::Installed { way: Way::Full, .. });
    host.event("whole package", whole).await;
    host.runs(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_end_are_cut_off() {
    let registry = with_baseline().await;
    let two = mpkg_package::Hash::of(&Package::new(2).unsigned());
    let [package, endless] = [format!("/v1/packages/{two}"), HEAD.to_owned()];
    let on = Arc::new(AtomicBool::new(false));
    let lying = on.clone();
    let proxy = Proxy::new(
        &registry.base,
        move |path, _| {
            let lie = lying.load(Ordering::SeqCst) && (path.starts_with(&package) || path == endless);
            if lie { Answer::Endless } else { Answer::Honest }
        },
        |_| Fault::Pass,
    )
    .await;
    let mut host = Host::at(&registry, &proxy.base, "unit").await;
    host.runs(1).await;
    on.store(true, Ordering::SeqCst);
    host.agent.refresh().await.unwrap();
    host.event("trouble", |event| matches!(event, Event::Trouble { .. })).await;
    registry.publish(2).await;
    registry.everywhere(2).await;
    host.event("failure", |event| matches!(event, Event::Failed { .. })).await;
    // It goes on, and as soon as nobody lies it is where it should be.
    on.store(false, Ordering::SeqCst);
    host.runs(2).await;
}
