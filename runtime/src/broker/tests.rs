use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::FutureExt;
use mpkg_fleet::ReleaseRef;
use mpkg_manifest::{HostPattern, Reasons, ScopeValue};
use proptest::prelude::*;
use tokio::runtime::Handle;

use super::clock::Clock;
use super::desk::{Asked, Broker, Settings};
use super::standing::{Standing, Term, Verdict};
use super::{Declared, Permissions, Subject};
use crate::data::shaky::Shaky;
use crate::data::{
    AppRelease, AuditOutcome, Data, Decider, Installed, Namespace, StoredDecision, StoredGrant,
};
use crate::policy::Policy;
use crate::provider::{Decision, DecisionFuture, PermissionProvider, PermissionRequest};
use crate::rpc::Denial;
use crate::session::Identity;

const APP: &str = "com.example.app";

fn hosts(names: &[&str]) -> ScopeValue {
    ScopeValue::Hosts(names.iter().map(|name| name.parse::<HostPattern>().unwrap()).collect())
}

fn declare(name: &str, scope: ScopeValue) -> Declared {
    Declared { name: name.parse().unwrap(), required: false, reasons: Reasons::default(), scope }
}

fn namespace() -> Namespace {
    Namespace::new("ann", "mp1x", APP)
}

/// A release that asks for `cart.read`, `cart.write` and the first `hosts` of three.
fn release(release_seq: u64, reach: usize) -> Installed {
    let allow = ["a.example", "b.example", "c.example"];
    let manifest = serde_json::json!({
        "app_id": APP, "name": "A", "version": { "code": release_seq, "name": "1.0.0" },
        "platform_version": { "min_code": 1 }, "icons": [{ "src": "i.svg" }], "pages": ["p"],
        "req_permissions": [{ "name": "cart.read" }, { "name": "cart.write" }, { "name": "network" }],
        "mpkg": { "component": "app.wasm", "abi": 1, "network": { "allow": allow.get(..reach) } },
    });
    Installed {
        app_id: APP.into(),
        publisher: "mp1x".into(),
        version: format!("1.0.{release_seq}"),
        release_seq,
        digest: release_seq.to_string(),
        size: 1,
        manifest: manifest.to_string(),
    }
}

/// Nobody gives this host any orders.
fn subject() -> Subject {
    let package = mpkg_package::Digest::of(b"");
    let release = ReleaseRef { package, release_seq: 1, version: "1.0.0".parse().unwrap() };
    let release = AppRelease { app: APP.parse().unwrap(), release };
    Subject { orders: Arc::default(), release: Arc::new(release) }
}

/// For tests of what is done under permissions.
impl Permissions {
    /// Those of an instance that nobody has decided about.
    pub(crate) fn undecided(names: &[&str]) -> Arc<Self> {
        let declared = names.iter().map(|name| declare(name, ScopeValue::None)).collect();
        Arc::new(Self::new(declared, subject(), &Policy::default(), Arc::new(Clock::new())))
    }

    pub(crate) fn allow(&self, permission: &str) {
        let scope = declare(permission, ScopeValue::None).scope_set();
        self.apply(permission, Standing::Allowed(Term::Launch), &scope);
    }

    pub(crate) fn refuse(&self, permission: &str, denial: Denial) {
        self.apply(permission, Standing::Refused { denial, by: Decider::Host }, &Default::default());
    }

    /// It is to be asked about, as if a grant had run out or been forgotten.
    pub(crate) fn reopen(&self, permission: &str, expired: bool) {
        self.apply(permission, Standing::Open { expired }, &Default::default());
    }
}

/// Answers what it is told to.
#[derive(Default)]
struct Told(std::sync::Mutex<Option<Decision>>);

impl PermissionProvider for Arc<Told> {
    fn decide<'a>(&'a self, _: &'a PermissionRequest) -> DecisionFuture<'a> {
        let told = *self.0.lock().unwrap();
        Box::pin(async move {
            match told {
                Some(decision) => decision,
                None => std::future::pending().await,
            }
        })
    }
}

struct Desk {
    _folder: tempfile::TempDir,
    data: Arc<Data>,
    told: Arc<Told>,
    broker: Arc<Broker>,
}

fn desk(data: impl FnOnce(&std::path::Path) -> Data) -> Desk {
    let folder = tempfile::tempdir().unwrap();
    let data = Arc::new(data(folder.path()));
    let told = Arc::new(Told::default());
    let broker = Broker::new(Settings {
        data: data.clone(),
        provider: Arc::new(told.clone()),
        prompt_timeout: Duration::from_secs(60),
        language: None,
        runtime: Handle::current(),
    });
    Desk { _folder: folder, data, told, broker }
}

fn opened() -> Desk {
    let desk = desk(|folder| Data::open(folder).unwrap());
    install(&desk, &release(1, 1));
    desk
}

fn install(desk: &Desk, app: &Installed) {
    desk.data.record_install(app, mpkg_package::Floors { root_version: 0, grant_version: 0 }, false).unwrap();
}

/// An instance of a release, as far as its permissions go.
struct Running {
    identity: Identity,
    permissions: Arc<Permissions>,
}

fn run(desk: &Desk, app: &Installed, policy: &Policy) -> Running {
    let manifest = serde_json::from_str(&app.manifest).unwrap();
    let declared = crate::app::declared(&manifest);
    let permissions = desk.broker.admit(&app.namespace("ann"), declared, subject(), policy).unwrap();
    let identity = Identity {
        app_id: app.app_id.clone(),
        app_name: "A".into(),
        publisher: app.publisher.clone(),
        version: app.version.clone(),
        release_seq: app.release_seq,
        user: "ann".into(),
    };
    Running { identity, permissions }
}

impl Desk {
    /// What a use of the permission does up to the answer, which is `decision`.
    async fn ask(&self, running: &Running, index: u8, decision: Option<Decision>) -> Option<Standing> {
        let Verdict::Ask { expired, turn } = running.permissions.verdict(index) else { return None };
        *self.told.0.lock().unwrap() = decision;
        let declared = running.permissions.declared()[usize::from(index)].clone();
        let asked = Asked { identity: running.identity.clone(), declared, expired };
        let standing = self.broker.answer(asked).await?;
        running.permissions.answer(index, turn, standing);
        Some(standing)
    }

    fn outcomes(&self) -> Vec<(AuditOutcome, Decider)> {
        let page = self.data.audit(0, 1000).unwrap();
        page.records.into_iter().map(|record| (record.outcome, record.by)).collect()
    }
}

fn store(desk: &Desk, decision: StoredDecision, granted: &Declared, unix_ms: u64) {
    let grant = StoredGrant { decision, scope: granted.scope_set(), unix_ms };
    desk.data.change(|records| records.set_grant(&namespace(), granted.name(), &grant)).unwrap();
}

fn admitted(desk: &Desk, declared: impl IntoIterator<Item = Declared>, policy: &Policy) -> Arc<Permissions> {
    desk.broker.admit(&namespace(), declared.into_iter().collect(), subject(), policy).unwrap()
}

#[tokio::test]
async fn nothing_is_effective_that_was_not_granted_for_this_scope() {
    let desk = opened();
    store(&desk, StoredDecision::Allow, &declare("storage", ScopeValue::QuotaBytes(100)), 1);
    store(&desk, StoredDecision::Allow, &declare("network", hosts(&["a.example"])), 1);
    store(&desk, StoredDecision::Block, &declare("events", ScopeValue::None), 1);
    store(&desk, StoredDecision::Revoked, &declare("clipboard", ScopeValue::None), 1);
    let declared = || {
        [
            declare("storage", ScopeValue::QuotaBytes(100)),
            declare("network", hosts(&["a.example", "b.example"])),
            declare("events", ScopeValue::None),
            declare("clipboard", ScopeValue::None),
            declare("cart.read", ScopeValue::None),
        ]
    };
    let permissions = admitted(&desk, declared(), &Policy::default());
    assert_eq!(permissions.effective_names(), ["storage"]);
    let asks = Verdict::Ask { expired: false, turn: 1 };
    assert_eq!(permissions.verdict(1), asks, "the wider network scope is to be asked about");
    let refused = |denial| Verdict::Refused { denial, by: Decider::Recorded };
    assert_eq!(permissions.verdict(2), refused(Denial::Blocked));
    assert_eq!(permissions.verdict(3), refused(Denial::Revoked));
    assert_eq!(permissions.verdict(4), Verdict::Ask { expired: false, turn: 0 });
    assert!(!permissions.is_effective(64), "an index past the word is never effective");

    let policy = Policy { denied_permissions: vec!["storage".into()], ..Policy::default() };
    let permissions = admitted(&desk, declared(), &policy);
    permissions.apply("storage", Standing::Allowed(Term::Always), &declared()[0].scope_set());
    assert_eq!(permissions.effective_names(), [""; 0], "policy outranks the user");
}

/// A grant is for what the user saw: a running instance that wants more does not get it.
#[tokio::test]
async fn a_grant_for_less_does_not_reach_an_instance_that_wants_more() {
    let desk = opened();
    let old = run(&desk, &release(1, 3), &Policy::default());
    let new = run(&desk, &release(1, 1), &Policy::default());
    assert!(desk.broker.grant("ann", APP, "network").unwrap());
    assert_eq!(new.permissions.effective_names(), ["network"]);
    assert_eq!(old.permissions.effective_names(), [""; 0]);
}

#[tokio::test]
async fn grants_run_out_and_a_clock_from_the_past_counts_as_run_out() {
    let desk = opened();
    let app = release(1, 1);
    let running = run(&desk, &app, &Policy::default());
    let minute = Some(Decision::AllowFor(Duration::from_secs(60)));
    assert!(matches!(desk.ask(&running, 0, minute).await, Some(Standing::Allowed(Term::Until(_)))));
    assert!(running.permissions.is_effective(0));
    desk.broker.clock().advance(59_000);
    assert!(running.permissions.is_effective(0));
    assert_eq!(run(&desk, &app, &Policy::default()).permissions.effective_names(), ["cart.read"]);
    desk.broker.clock().advance(1_000);
    assert!(!running.permissions.is_effective(0));
    assert!(matches!(running.permissions.verdict(0), Verdict::Ask { expired: true, .. }));
    assert_eq!(run(&desk, &app, &Policy::default()).permissions.effective_names(), [""; 0]);

    desk.ask(&running, 0, Some(Decision::Deny)).await;
    assert_eq!(*desk.data.grants(&namespace()).unwrap(), [], "what has run out is removed when it is met");
    let outcomes = desk.outcomes();
    assert!(matches!(outcomes[0], (AuditOutcome::AllowedUntil { .. }, Decider::Prompt)));
    assert_eq!(outcomes[1], (AuditOutcome::AskAgain, Decider::Expiry));
    assert_eq!(outcomes[2], (AuditOutcome::Denied { reason: Denial::Denied }, Decider::Prompt));

    // Given tomorrow, as it seems, because the clock was set back since.
    let tomorrow = crate::data::unix_ms() + 86_400_000;
    let decision = StoredDecision::AllowUntil { unix_ms: tomorrow + 1000 };
    store(&desk, decision, &declare("cart.write", ScopeValue::None), tomorrow);
    assert_eq!(run(&desk, &app, &Policy::default()).permissions.effective_names(), [""; 0]);
}

#[tokio::test]
async fn while_in_use_is_off_while_hidden() {
    let desk = opened();
    let running = run(&desk, &release(1, 1), &Policy::default());
    desk.ask(&running, 0, Some(Decision::AllowWhileInUse)).await;
    desk.ask(&running, 1, Some(Decision::AllowAlways)).await;
    assert_eq!(running.permissions.effective_names(), ["cart.read", "cart.write"]);
    running.permissions.set_in_use(false);
    assert_eq!(running.permissions.effective_names(), ["cart.write"]);
    let hidden = Verdict::Refused { denial: Denial::NotInUse, by: Decider::Recorded };
    assert_eq!(running.permissions.verdict(0), hidden);
    running.permissions.set_in_use(true);
    assert_eq!(running.permissions.effective_names(), ["cart.read", "cart.write"]);
    let next = run(&desk, &release(1, 1), &Policy::default());
    assert_eq!(next.permissions.effective_names(), ["cart.read", "cart.write"], "recorded");
}

/// Whoever waits for a loss is told of each, by whomever; and of none that is not what it waits for.
#[tokio::test]
async fn a_loss_wakes_those_who_wait_for_it() {
    let desk = opened();
    let app = release(1, 1);
    let running = run(&desk, &app, &Policy::default());
    let permissions = &running.permissions;
    desk.broker.grant("ann", APP, "cart.read").unwrap();
    let mut lost = pin!(permissions.lost(0, |_| true));
    assert!(lost.as_mut().now_or_never().is_none());
    permissions.apply("cart.write", Standing::Allowed(Term::Launch), &Default::default());
    assert!(lost.as_mut().now_or_never().is_none(), "another permission");
    desk.broker.revoke("ann", &app, "cart.read").unwrap();
    assert_eq!(lost.await, Denial::Revoked);
    assert_eq!(permissions.lost(0, |_| true).await, Denial::Revoked, "lost already");

    desk.broker.grant("ann", APP, "cart.read").unwrap();
    let mut lost = pin!(permissions.lost(0, |_| true));
    assert!(lost.as_mut().now_or_never().is_none());
    desk.broker.forget("ann", &app, "cart.read").unwrap();
    assert_eq!(lost.await, Denial::NotGranted);

    desk.ask(&running, 0, Some(Decision::AllowWhileInUse)).await;
    let mut lost = pin!(permissions.lost(0, |denial| denial != Denial::NotInUse));
    assert!(lost.as_mut().now_or_never().is_none());
    permissions.set_in_use(false);
    assert!(lost.as_mut().now_or_never().is_none(), "it comes back");
    assert_eq!(permissions.lost(0, |_| true).await, Denial::NotInUse);
    let blocked = Standing::Refused { denial: Denial::Blocked, by: Decider::Prompt };
    permissions.apply("cart.read", blocked, &Default::default());
    assert_eq!(lost.await, Denial::Blocked);

    // Time takes it without anybody's doing.
    desk.broker.forget("ann", &app, "cart.read").unwrap();
    desk.ask(&running, 0, Some(Decision::AllowFor(Duration::from_millis(50)))).await;
    assert_eq!(permissions.lost(0, |_| true).await, Denial::NotGranted);
}

#[tokio::test]
async fn an_update_that_asks_for_more_forgets_allows_and_keeps_refusals() {
    for (reach, asks_again) in [(1, false), (2, true)] {
        let desk = opened();
        desk.broker.grant("ann", APP, "cart.read").unwrap();
        desk.broker.revoke("ann", &release(1, 1), "cart.write").unwrap();
        let update = release(2, reach);
        install(&desk, &update);
        let running = run(&desk, &update, &Policy::default());
        assert_eq!(running.permissions.is_effective(0), !asks_again);
        assert!(matches!(running.permissions.verdict(1), Verdict::Refused { denial: Denial::Revoked, .. }));
        let told = desk.outcomes().contains(&(AuditOutcome::AskAgain, Decider::Update));
        assert_eq!(told, asks_again);
    }
}

/// The question was about the release that asked; its update asks for more than the user saw.
#[tokio::test]
async fn an_answer_to_a_release_that_was_replaced_is_for_that_launch() {
    let desk = opened();
    let old = run(&desk, &release(1, 1), &Policy::default());
    install(&desk, &release(2, 3));
    desk.ask(&old, 0, Some(Decision::AllowAlways)).await;
    assert!(old.permissions.is_effective(0));
    assert_eq!(*desk.data.grants(&namespace()).unwrap(), []);
    assert_eq!(desk.outcomes(), [(AuditOutcome::AllowedOnce, Decider::Prompt)]);
    desk.data.record_uninstall(&release(2, 3)).unwrap();
    desk.ask(&old, 1, Some(Decision::Block)).await;
    assert_eq!(*desk.data.grants(&namespace()).unwrap(), [], "nothing stays of an app that is gone");
}

/// It may be used as the user said, by the one who asked, and not to the end of that instance whatever happens.
#[tokio::test]
async fn an_answer_to_a_release_that_was_replaced_lasts_as_long_as_it_says() {
    let desk = opened();
    let old = run(&desk, &release(1, 1), &Policy::default());
    let other = run(&desk, &release(1, 1), &Policy::default());
    install(&desk, &release(2, 3));
    desk.ask(&old, 0, Some(Decision::AllowWhileInUse)).await;
    desk.ask(&old, 1, Some(Decision::AllowFor(Duration::from_secs(60)))).await;
    assert_eq!(old.permissions.effective_names(), ["cart.read", "cart.write"]);
    assert_eq!(other.permissions.effective_names(), [""; 0]);
    assert_eq!(*desk.data.grants(&namespace()).unwrap(), []);
    old.permissions.set_in_use(false);
    assert_eq!(old.permissions.effective_names(), ["cart.write"], "hidden");
    desk.broker.clock().advance(60_000);
    assert_eq!(old.permissions.effective_names(), [""; 0], "run out");
    old.permissions.set_in_use(true);
    assert_eq!(old.permissions.effective_names(), ["cart.read"]);
    let outcomes = desk.outcomes();
    assert_eq!(outcomes[0], (AuditOutcome::AllowedWhileInUse, Decider::Prompt));
    assert!(matches!(outcomes[1], (AuditOutcome::AllowedUntil { .. }, Decider::Prompt)));
}

/// A desk with one app, and what stops its disk from being written to.
fn on_shaky_disk() -> (Desk, Installed, Arc<AtomicBool>) {
    let disk = Shaky::default();
    let broken = disk.broken.clone();
    let desk = desk(|folder| Data::on(disk, folder).unwrap());
    let app = release(1, 1);
    install(&desk, &app);
    (desk, app, broken)
}

#[tokio::test]
async fn an_allow_that_cannot_be_recorded_is_none() {
    for decision in [Decision::AllowOnce, Decision::AllowAlways, Decision::Block] {
        let (desk, app, broken) = on_shaky_disk();
        let running = run(&desk, &app, &Policy::default());
        broken.store(true, Ordering::SeqCst);
        desk.ask(&running, 0, Some(decision)).await;
        assert_eq!(running.permissions.effective_names(), [""; 0]);
        let denial = if decision == Decision::Block { Denial::Blocked } else { Denial::NotGranted };
        assert_eq!(running.permissions.verdict(0), Verdict::Refused { denial, by: Decider::Prompt });
        assert!(desk.broker.grant("ann", APP, "cart.write").is_err());
        assert_eq!(running.permissions.effective_names(), [""; 0]);
        running.permissions.apply("cart.read", Standing::Allowed(Term::Always), &Default::default());
        assert!(desk.broker.revoke("ann", &app, "cart.read").is_err());
        assert!(matches!(running.permissions.verdict(0), Verdict::Refused { denial: Denial::Revoked, .. }));
    }
}

#[tokio::test]
async fn what_could_not_be_recorded_can_be_once_the_disk_is_well_again() {
    let (desk, app, broken) = on_shaky_disk();
    desk.broker.grant("ann", APP, "cart.read").unwrap();
    let running = run(&desk, &app, &Policy::default());
    broken.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(desk.broker.grant("ann", APP, "cart.write").is_err());
        assert_eq!(running.permissions.effective_names(), ["cart.read"]);
    }
    broken.store(false, Ordering::SeqCst);
    // A disk that has failed again at once is not written to for a second.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while desk.broker.grant("ann", APP, "cart.write").is_err() {
        assert!(std::time::Instant::now() < until, "nothing is recorded any more");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(running.permissions.effective_names(), ["cart.read", "cart.write"]);
    let again = run(&desk, &app, &Policy::default());
    assert_eq!(
        again.permissions.effective_names(),
        ["cart.read", "cart.write"],
        "what was recorded before is kept"
    );
}

/// A launch that reads what is recorded while a revocation waits for the disk would be told by nobody later.
#[tokio::test]
async fn a_launch_that_races_with_a_revocation_keeps_nothing_of_what_it_read() {
    for fails in [false, true] {
        let (desk, app, broken) = on_shaky_disk();
        desk.broker.grant("ann", APP, "cart.read").unwrap();
        // A question that the revocation closes, after it has told everybody who is there.
        let asking = run(&desk, &app, &Policy::default());
        let declared = asking.permissions.declared()[0].clone();
        let asked = Asked { identity: asking.identity.clone(), declared, expired: false };
        let mut question = pin!(desk.broker.answer(asked));
        assert!(question.as_mut().now_or_never().is_none(), "it is open");

        // Somebody else writes, and takes long.
        let (tell, writing) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let data = desk.data.clone();
        let other = std::thread::spawn(move || {
            let _ = data.change(|_| {
                tell.send(()).unwrap();
                wait.recv().unwrap();
                Ok(())
            });
        });
        writing.recv().unwrap();
        let (broker, of) = (desk.broker.clone(), app.clone());
        let revoking = std::thread::spawn(move || broker.revoke("ann", &of, "cart.read"));
        assert_eq!(question.await, None);
        let late = run(&desk, &app, &Policy::default());
        assert!(late.permissions.is_effective(0), "it has read what is recorded");
        broken.store(fails, Ordering::SeqCst);
        go_on.send(()).unwrap();
        other.join().unwrap();
        assert_eq!(revoking.join().unwrap().is_err(), fails);
        let revoked = Verdict::Refused { denial: Denial::Revoked, by: Decider::Host };
        assert_eq!(late.permissions.verdict(0), revoked);
        assert!(!late.permissions.is_effective(0));
    }
}

/// What a user last said about a permission, kept apart from the broker.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Word {
    Nothing,
    Once { instance: usize },
    InUse,
    Always,
    Until(u64),
    No,
}

#[derive(Debug, Clone)]
enum Step {
    Grant(u8),
    Revoke(u8),
    Forget(u8),
    Answer(usize, u8, Option<Decision>),
    /// A revocation comes between the answer and its use.
    AnswerRevoked(usize, u8),
    Hide(usize),
    Show(usize),
    Pass(u64),
    Update {
        reach: usize,
    },
    Relaunch(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let decision = prop_oneof![
        Just(Decision::AllowOnce),
        Just(Decision::AllowWhileInUse),
        Just(Decision::AllowAlways),
        (1u64..200).prop_map(|s| Decision::AllowFor(Duration::from_secs(s))),
        Just(Decision::Deny),
        Just(Decision::Block),
    ];
    let (index, one) = (0u8..3, 0usize..2);
    prop_oneof![
        1 => index.clone().prop_map(Step::Grant),
        1 => index.clone().prop_map(Step::Revoke),
        2 => index.clone().prop_map(Step::Forget),
        6 => (one.clone(), index.clone(), decision).prop_map(|(i, p, d)| Step::Answer(i, p, Some(d))),
        1 => (one.clone(), index).prop_map(|(i, p)| Step::AnswerRevoked(i, p)),
        1 => one.clone().prop_map(Step::Hide),
        1 => one.clone().prop_map(Step::Show),
        2 => (1u64..150).prop_map(|s| Step::Pass(s * 1000)),
        1 => (1usize..4).prop_map(|reach| Step::Update { reach }),
        2 => one.prop_map(Step::Relaunch),
    ]
}

const NAMES: [&str; 3] = ["cart.read", "cart.write", "network"];

/// In any order of grants, answers, revocations, expiries, updates, hiding and showing: what is effective is within
/// the manifest, the policy and the user's last word.
async fn holds(steps: Vec<Step>, denied: Option<u8>) {
    let desk = opened();
    let denied_name = denied.map(|index| NAMES[usize::from(index)]);
    let denied_permissions = denied_name.iter().map(ToString::to_string).collect();
    let policy = Policy { denied_permissions, ..Policy::default() };
    let mut app = release(1, 1);
    let mut reach = 1;
    let mut running = [run(&desk, &app, &policy), run(&desk, &app, &policy)];
    let mut in_use = [true, true];
    // Per instance: an update asks again, but only of the launches that come after it.
    let mut words: [BTreeMap<u8, Word>; 2] = Default::default();
    let mut recorded: BTreeMap<u8, Word> = BTreeMap::new();
    for step in steps {
        match step.clone() {
            Step::Grant(index) => {
                desk.broker.grant("ann", APP, NAMES[usize::from(index)]).unwrap();
                recorded.insert(index, Word::Always);
                for words in &mut words {
                    words.insert(index, Word::Always);
                }
            }
            Step::Revoke(index) => {
                desk.broker.revoke("ann", &app, NAMES[usize::from(index)]).unwrap();
                recorded.insert(index, Word::No);
                for words in &mut words {
                    words.insert(index, Word::No);
                }
            }
            Step::Forget(index) => {
                desk.broker.forget("ann", &app, NAMES[usize::from(index)]).unwrap();
                recorded.remove(&index);
                for words in &mut words {
                    words.remove(&index);
                }
            }
            Step::Answer(one, index, decision) => {
                let current = running[one].identity.release_seq == app.release_seq;
                if desk.ask(&running[one], index, decision).await.is_none() {
                    continue;
                }
                // As the user said it, whatever the broker makes of that.
                let word = match decision {
                    Some(Decision::AllowOnce) => Word::Once { instance: one },
                    Some(Decision::AllowWhileInUse) => Word::InUse,
                    Some(Decision::AllowAlways) => Word::Always,
                    Some(Decision::AllowFor(time)) => {
                        Word::Until(desk.broker.clock().now_ms() + time.as_millis() as u64)
                    }
                    Some(Decision::Deny | Decision::Block) | None => Word::No,
                };
                words[one].insert(index, word);
                let lasts = match decision {
                    Some(Decision::Block) => true,
                    Some(Decision::AllowOnce | Decision::Deny) | None => false,
                    // An allow for a release that was replaced is for the instance that asked.
                    Some(Decision::AllowWhileInUse | Decision::AllowAlways | Decision::AllowFor(_)) => {
                        current
                    }
                };
                if lasts {
                    recorded.insert(index, word);
                    for words in &mut words {
                        words.insert(index, word);
                    }
                }
            }
            Step::AnswerRevoked(one, index) => {
                let Verdict::Ask { turn, .. } = running[one].permissions.verdict(index) else { continue };
                desk.broker.revoke("ann", &app, NAMES[usize::from(index)]).unwrap();
                running[one].permissions.answer(index, turn, Standing::Allowed(Term::Launch));
                recorded.insert(index, Word::No);
                for words in &mut words {
                    words.insert(index, Word::No);
                }
            }
            Step::Hide(one) | Step::Show(one) => {
                in_use[one] = matches!(step, Step::Show(_));
                running[one].permissions.set_in_use(in_use[one]);
            }
            Step::Pass(ms) => desk.broker.clock().advance(ms),
            Step::Update { reach: wanted } => {
                app = release(app.release_seq + 1, wanted);
                install(&desk, &app);
                if wanted > reach {
                    recorded.retain(|_, word| *word == Word::No);
                }
                reach = wanted;
            }
            Step::Relaunch(one) => {
                running[one] = run(&desk, &app, &policy);
                in_use[one] = true;
                words[one] = recorded.clone();
            }
        }
        let now = desk.broker.clock().now_ms();
        for one in 0..2 {
            for index in 0..4u8 {
                let said = words[one].get(&index).copied().unwrap_or(Word::Nothing);
                let may = Some(index) != denied
                    && match said {
                        Word::Always => true,
                        Word::Once { instance } => instance == one,
                        Word::InUse => in_use[one],
                        // A moment may pass between the clock read here and there.
                        Word::Until(end) => now <= end,
                        Word::No | Word::Nothing => false,
                    };
                let does = running[one].permissions.is_effective(index);
                assert!(may || !does, "{step:?}: {index} is effective, though last came {said:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn effective_is_within_manifest_policy_and_the_last_word(
        steps in proptest::collection::vec(step(), 1..24),
        denied in proptest::option::of(0u8..3),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(holds(steps, denied));
    }
}
