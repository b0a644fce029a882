//! What is decided on permissions: asked once, recorded, audited, and how it ends.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::{APP, Package, TestHost, builder, host_with};
use miniapp_runtime::rpc::{Denial, RpcError, code};
use miniapp_runtime::{
    AuditOutcome, Bridge, CallError, Decider, Decision, GrantDecision, Host, Instance, LaunchError, Policy,
    PromptPermissions, StaticPermissions,
};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

const PATIENCE: Duration = Duration::from_secs(60);

fn checkout() -> Bridge {
    Bridge::new("cart.write").method("cart.checkout", |_, _: Value| async { Ok::<_, RpcError>(()) })
}

fn reason(outcome: Result<Value, CallError>) -> Result<(), String> {
    match outcome {
        Ok(_) => Ok(()),
        Err(CallError::Rpc(error)) => {
            assert_eq!(error.code, code::PERMISSION_DENIED);
            Err(error.data.unwrap()["reason"].as_str().unwrap().to_owned())
        }
        Err(other) => panic!("{other}"),
    }
}

async fn call(app: &Instance) -> Result<(), String> {
    reason(app.call("0cart.checkout", &json!({})).await)
}

fn audit(host: &Host) -> Vec<(AuditOutcome, Decider)> {
    host.audit(0, 1000).unwrap().records.into_iter().map(|r| (r.outcome, r.by)).collect()
}

fn denied(reason: Denial) -> AuditOutcome {
    AuditOutcome::Denied { reason }
}

/// A host that asks somebody who answers when told to.
struct Asked {
    host: TestHost,
    asked: Arc<AtomicU32>,
    /// A permit for each question that was put.
    open: Arc<Semaphore>,
    answer: Arc<Notify>,
}

fn asking(decision: Decision, policy: Policy) -> Asked {
    let (asked, open, answer) =
        (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (count, o, a) = (asked.clone(), open.clone(), answer.clone());
    let provider = PromptPermissions::new(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        o.add_permits(1);
        let answer = a.clone();
        async move {
            answer.notified().await;
            decision
        }
    });
    let host = host_with(|b| b.bridge(checkout()).policy(policy).permissions(provider));
    Asked { host, asked, open, answer }
}

fn spawn_call(app: &Instance) -> tokio::task::JoinHandle<Result<Value, CallError>> {
    let app = app.clone();
    tokio::spawn(async move { app.call("0cart.checkout", &json!({})).await })
}

#[tokio::test]
async fn concurrent_uses_ask_once() {
    for (decision, allowed) in
        [(Decision::AllowOnce, true), (Decision::Deny, false), (Decision::AllowAlways, true)]
    {
        let a = asking(decision, Policy::default());
        let first = a.host.run(&Package::with(&["cart.write"])).await;
        let second = a.host.launch(APP, "ann").await.unwrap();
        let by_name = |app: &Instance| {
            let app = app.clone();
            tokio::spawn(async move { app.authorize("cart.checkout").await })
        };
        let calls = [spawn_call(&first), spawn_call(&second)];
        let questions = [by_name(&first), by_name(&second), by_name(&second)];
        a.open.acquire().await.unwrap().forget();
        // On this one-threaded runtime all have had their turn by then.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        a.answer.notify_one();
        for call in calls {
            assert_eq!(reason(call.await.unwrap()).is_ok(), allowed);
        }
        for question in questions {
            assert_eq!(question.await.unwrap().is_ok(), allowed);
        }
        assert_eq!(a.asked.load(Ordering::SeqCst), 1, "{decision:?}");
        assert_eq!(audit(&a.host).len(), 1, "one answer is one record");
    }
}

#[tokio::test]
async fn another_users_question_is_another() {
    let a = asking(Decision::AllowOnce, Policy::default());
    let ann = a.host.run(&Package::with(&["cart.write"])).await;
    let bob = a.host.launch(APP, "bob").await.unwrap();
    let calls = [spawn_call(&ann), spawn_call(&bob)];
    a.open.acquire_many(2).await.unwrap().forget();
    a.answer.notify_waiters();
    for call in calls {
        assert_eq!(reason(call.await.unwrap()), Ok(()));
    }
}

#[tokio::test]
async fn a_kill_ends_the_wait_of_one_and_not_of_the_other() {
    let a = asking(Decision::AllowOnce, Policy::default());
    let first = a.host.run(&Package::with(&["cart.write"])).await;
    let second = a.host.launch(APP, "ann").await.unwrap();
    let killed = spawn_call(&first);
    a.open.acquire().await.unwrap().forget();
    let waits = spawn_call(&second);
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    first.kill("test");
    assert_eq!(killed.await.unwrap().unwrap_err().code(), "MPKG-H20");
    a.answer.notify_one();
    assert_eq!(reason(waits.await.unwrap()), Ok(()), "whoever asked first, the answer is for both");
    assert_eq!(first.permissions(), [""; 0], "and not for the dead");
    assert_eq!(a.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_is_dropped() {
    let dropped = Arc::new(Notify::new());
    let (open, d) = (Arc::new(Notify::new()), dropped.clone());
    let o = open.clone();
    struct Gone(Arc<Notify>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let provider = PromptPermissions::new(move |_| {
        let (gone, open) = (Gone(d.clone()), o.clone());
        async move {
            let _gone = gone;
            open.notify_one();
            std::future::pending().await
        }
    });
    let host = host_with(|b| b.bridge(checkout()).permissions(provider));
    let app = host.run(&Package::with(&["cart.write"])).await;
    let call = spawn_call(&app);
    open.notified().await;
    app.kill("test");
    call.await.unwrap().unwrap_err();
    dropped.notified().await;
    assert_eq!(audit(&host), [], "no answer, no record");
    let next = host.launch(APP, "ann").await.unwrap();
    let call = spawn_call(&next);
    open.notified().await;
    // A revocation closes the dialogue of a question that has become pointless.
    host.revoke("ann", APP, "cart.write").unwrap();
    dropped.notified().await;
    assert_eq!(reason(call.await.unwrap()), Err("revoked".into()));
}

#[tokio::test]
async fn a_provider_that_panics_or_never_answers_has_not_granted_anything() {
    let panics = PromptPermissions::new(|_| async { panic!("a bug in a dialogue") });
    let at_once =
        PromptPermissions::new(|_| -> std::future::Ready<Decision> { panic!("before it even waits") });
    let hosts = [
        host_with(|b| b.bridge(checkout()).permissions(panics)),
        host_with(|b| b.bridge(checkout()).permissions(at_once)),
        asking(
            Decision::AllowAlways,
            Policy { prompt_timeout: Duration::from_millis(20), ..Policy::default() },
        )
        .host,
    ];
    for host in hosts {
        let app = host.run(&Package::with(&["cart.write"])).await;
        for _ in 0..2 {
            assert_eq!(call(&app).await, Err("not_granted".into()));
        }
        assert_eq!(audit(&host), [(denied(Denial::NotGranted), Decider::Prompt)], "and is not asked twice");
        assert_eq!(host.grants("ann", APP).unwrap(), []);
        let required = Package { code: 2, ..Package::with(&["cart.write"]).required() };
        host.install(required.signed()).await.unwrap();
        let error = host.launch(APP, "ann").await.unwrap_err();
        assert!(
            matches!(error, LaunchError::PermissionDenied { denial: Denial::NotGranted, .. }),
            "a launch does not hang: {error}"
        );
    }
}

#[tokio::test]
async fn a_recorded_answer_reaches_instances_that_did_not_ask() {
    let a = asking(Decision::AllowAlways, Policy::default());
    let first = a.host.run(&Package::with(&["cart.write"])).await;
    let second = a.host.launch(APP, "ann").await.unwrap();
    let third = a.host.launch(APP, "bob").await.unwrap();
    a.answer.notify_one();
    assert_eq!(call(&first).await, Ok(()));
    assert_eq!(second.permissions(), ["cart.write"]);
    assert_eq!(third.permissions(), [""; 0]);
}

#[tokio::test]
async fn a_grant_runs_out_in_a_running_instance() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let provider = PromptPermissions::new(move |_| {
        let first = count.fetch_add(1, Ordering::SeqCst) == 0;
        // Long enough that a busy machine has looked before it runs out.
        async move { if first { Decision::AllowFor(Duration::from_secs(3)) } else { Decision::Deny } }
    });
    let host = host_with(|b| b.bridge(checkout()).permissions(provider));
    let app = host.run(&Package::with(&["cart.write"])).await;
    assert_eq!(call(&app).await, Ok(()));
    let grants = host.grants("ann", APP).unwrap();
    assert!(matches!(grants[0].decision, GrantDecision::Until { unix_ms } if unix_ms > grants[0].unix_ms));
    let runs_out = async {
        while call(&app).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, runs_out).await.expect("it does not run out");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "what has run out is asked about again");
    assert_eq!(call(&app).await, Err("denied".into()));
    let told = audit(&host);
    assert_eq!(
        told[1..],
        [(AuditOutcome::AskAgain, Decider::Expiry), (denied(Denial::Denied), Decider::Prompt)]
    );
}

#[tokio::test]
async fn the_audit_tells_every_decision_and_survives_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let provider = PromptPermissions::new(|_| async { Decision::Block });
        builder(folder.path()).bridge(checkout()).permissions(provider).build().unwrap()
    };
    let host = start();
    host.install(Package::with(&["cart.write"]).signed()).await.unwrap();
    let app = host.launch(APP, "ann").await.unwrap();
    assert_eq!(call(&app).await, Err("blocked".into()));
    assert!(host.grant("ann", APP, "cart.write").unwrap());
    host.revoke("ann", APP, "cart.write").unwrap();
    assert_eq!(host.grants("ann", APP).unwrap()[0].decision, GrantDecision::Revoked);
    assert!(host.forget("ann", APP, "cart.write").unwrap());
    assert!(!host.forget("ann", APP, "cart.write").unwrap());
    assert_eq!(host.grants("ann", APP).unwrap(), []);
    assert_eq!(
        call(&app).await,
        Err("blocked".into()),
        "forgotten: asked again, in the running instance too"
    );
    drop((app, host));

    let host = start();
    let app = host.launch(APP, "ann").await.unwrap();
    assert_eq!(call(&app).await, Err("blocked".into()));
    let told = audit(&host);
    assert_eq!(
        told,
        [
            (denied(Denial::Blocked), Decider::Prompt),
            (AuditOutcome::AllowedAlways, Decider::Host),
            (denied(Denial::Revoked), Decider::Host),
            (AuditOutcome::AskAgain, Decider::Host),
            (denied(Denial::Blocked), Decider::Prompt),
            (denied(Denial::Blocked), Decider::Recorded),
        ]
    );
    let page = host.audit(2, 2).unwrap();
    assert_eq!(page.records.iter().map(|r| r.seq).collect::<Vec<_>>(), [3, 4]);
    let record = &page.records[0];
    assert_eq!(
        (record.user.as_str(), record.app_id.as_str(), record.version.as_str()),
        ("ann", APP, "1.0.0")
    );
    assert_eq!((record.permission.as_str(), record.publisher.starts_with("mp1")), ("cart.write", true));
    assert_eq!((page.missed, host.audit(100, 9).unwrap().records.len()), (0, 0));
}

/// A guest decides how often it is denied, and must not decide what is left of the audit.
#[tokio::test]
async fn a_million_denied_calls_add_one_record() {
    let host = host_with(|b| b.bridge(checkout()).permissions(StaticPermissions::allow(["none"])));
    let app = host.run(&Package::with(&["cart.write"])).await;
    for _ in 0..1000 {
        app.call_json("loopcart.checkout", "{}").await.unwrap();
    }
    assert_eq!(app.metrics().bridge["cart.checkout"].denied, 1_000_000);
    assert_eq!(audit(&host), [(denied(Denial::Denied), Decider::Fixed)]);
    host.launch(APP, "ann").await.unwrap().authorize("cart.checkout").await.unwrap_err();
    assert_eq!(audit(&host).len(), 2, "another instance, another record");
}

#[tokio::test]
async fn policy_and_manifest_are_told_apart_in_the_audit() {
    let policy = Policy { denied_permissions: vec!["cart.write".into()], ..Policy::default() };
    let own =
        Bridge::new("host.wallet").method("wallet.drain", |_, _: Value| async { Ok::<_, RpcError>(()) });
    let host = host_with(|b| {
        b.bridge(checkout()).bridge(own).policy(policy).permissions(StaticPermissions::allow_all())
    });
    let app = host.run(&Package::with(&["cart.write"])).await;
    for _ in 0..3 {
        app.dispatch("cart.checkout", "{}").await.unwrap_err();
        app.dispatch("wallet.drain", "{}").await.unwrap_err();
    }
    let told = audit(&host);
    assert_eq!(
        told,
        [(denied(Denial::Policy), Decider::Policy), (denied(Denial::NotDeclared), Decider::Manifest)]
    );
}

/// A setting that allows is no user's act: one record a run, not one a launch.
#[tokio::test]
async fn a_fixed_allow_is_told_once() {
    let host = host_with(|b| b.bridge(checkout()).permissions(StaticPermissions::allow_all()));
    host.install(Package::with(&["cart.write"]).required().signed()).await.unwrap();
    for user in ["ann", "ann", "bob", "ann"] {
        host.launch(APP, user).await.unwrap();
    }
    assert_eq!(audit(&host), [(AuditOutcome::AllowedOnce, Decider::Fixed); 2]);
    assert_eq!(host.grants("ann", APP).unwrap(), []);
}

/// The audit's last word is what holds, also where nobody was asked.
#[tokio::test]
async fn a_fixed_allow_is_told_again_after_another_decision() {
    let host = host_with(|b| b.bridge(checkout()).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["cart.write"])).await;
    assert_eq!(call(&app).await, Ok(()));
    host.revoke("ann", APP, "cart.write").unwrap();
    assert!(host.forget("ann", APP, "cart.write").unwrap());
    assert_eq!(call(&app).await, Ok(()));
    let fixed = (AuditOutcome::AllowedOnce, Decider::Fixed);
    let by_host = [(denied(Denial::Revoked), Decider::Host), (AuditOutcome::AskAgain, Decider::Host)];
    assert_eq!(audit(&host), [fixed, by_host[0], by_host[1], fixed]);
    // Without a record to forget, too.
    assert!(!host.forget("ann", APP, "cart.write").unwrap());
    assert_eq!(call(&app).await, Ok(()));
    assert_eq!(audit(&host).last(), Some(&fixed));
}

#[tokio::test]
async fn a_permission_for_use_is_off_while_the_app_is_hidden() {
    let provider = PromptPermissions::new(|_| async { Decision::AllowWhileInUse });
    let policy = Policy { suspend_hidden: false, ..Policy::default() };
    let host = host_with(|b| b.bridge(checkout()).policy(policy).permissions(provider));
    let app = host.run(&Package::with(&["cart.write"])).await;
    assert_eq!(call(&app).await, Ok(()), "a launched app is in use");
    for _ in 0..2 {
        app.hide().await.unwrap();
        assert_eq!(call(&app).await, Err("not_in_use".into()));
        assert_eq!(app.permissions(), [""; 0]);
        app.show().await.unwrap();
        assert_eq!(call(&app).await, Ok(()));
    }
    assert_eq!(host.grants("ann", APP).unwrap()[0].decision, GrantDecision::WhileInUse);
}

/// A launch has read what is recorded when it asks for something else.
#[tokio::test]
async fn a_revocation_reaches_a_launch_that_is_under_way() {
    let a = asking(Decision::AllowOnce, Policy::default());
    a.host.install(Package::with(&["cart.write", "storage"]).required().signed()).await.unwrap();
    assert!(a.host.grant("ann", APP, "cart.write").unwrap());
    let launching = tokio::spawn({
        let host = a.host.host.clone();
        async move { host.launch(APP, "ann").await }
    });
    a.open.acquire().await.unwrap().forget();
    a.host.revoke("ann", APP, "cart.write").unwrap();
    a.answer.notify_one();
    let app = launching.await.unwrap().unwrap();
    assert_eq!(app.permissions(), ["storage"]);
    assert_eq!(call(&app).await, Err("revoked".into()));
}

#[tokio::test]
async fn a_call_that_was_authorized_is_finished_after_a_revocation() {
    let (parked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (p, g) = (parked.clone(), go.clone());
    let bridge = Bridge::new("cart.write").method("cart.checkout", move |_, _: Value| {
        let (parked, go) = (p.clone(), g.clone());
        async move {
            parked.notify_one();
            go.notified().await;
            Ok::<_, RpcError>(())
        }
    });
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["cart.write"])).await;
    let call_under_way = spawn_call(&app);
    parked.notified().await;
    host.revoke("ann", APP, "cart.write").unwrap();
    go.notify_one();
    assert_eq!(reason(call_under_way.await.unwrap()), Ok(()));
    assert_eq!(call(&app).await, Err("revoked".into()));
}

#[tokio::test]
async fn the_reason_is_told_in_the_users_language() {
    for (language, expected) in [("de-AT", "Zum Bezahlen"), ("fr", "A test needs it.")] {
        let provider = PromptPermissions::new(move |request| async move {
            assert_eq!(request.reason.as_deref(), Some(expected));
            assert_eq!(request.reason_language.is_some(), language == "de-AT");
            let german = "de".parse().unwrap();
            assert_eq!(request.reasons.pick(Some(&german)).unwrap().0, "Zum Bezahlen");
            Decision::AllowOnce
        });
        let host =
            host_with(|b| b.bridge(checkout()).permissions(provider).language(language.parse().unwrap()));
        let mpkg = json!({ "reasons": { "de": { "cart.write": "Zum Bezahlen" } } });
        let app = host.run(&Package { mpkg, ..Package::with(&["cart.write"]) }).await;
        assert_eq!(call(&app).await, Ok(()));
    }
}
