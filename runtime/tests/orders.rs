//! What a fleet's signed state says is done at once: to what runs, to what is being launched, and to permissions.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::fleet::{Registry, offer, shelve};
use common::{APP, Package, TestHost, call, host, host_with};
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::updates::{Device, Switch};
use miniapp_runtime::{
    AuditOutcome, Bridge, CallError, Decider, Decision, Instance, LaunchError, PromptPermissions,
    StaticPermissions, StopReason,
};
use mpkg_fleet::{Cause, Level, SeqRange};
use serde_json::{Value, json};
use tokio::sync::Notify;

fn release(code: u64) -> Package {
    Package { code, ..Package::with(&["storage"]) }
}

fn counters(host: &TestHost, release_seq: u64) -> mpkg_fleet::Counters {
    let counted = host.counted().into_iter().find(|it| it.release_seq == release_seq);
    counted.map(|it| it.counters).unwrap_or_default()
}

#[tokio::test]
async fn a_stop_ends_the_instances_of_the_releases_that_it_names() {
    let host = host();
    let old = host.run(&release(1)).await;
    host.install(release(2).signed()).await.unwrap();
    let new = host.launch(APP, "bob").await.unwrap();
    let mut registry = Registry::default();
    let kill = registry.kill(Level::Stop, |scope| scope.releases = Some(SeqRange { from: 1, to: Some(1) }));
    assert_eq!(host.obey(&registry.orders()), 1);
    let reason = old.stop_reason().unwrap();
    assert_eq!(reason, StopReason::SwitchedOff { kill, why: "it steals".into() });
    assert_eq!((reason.code(), new.stop_reason()), ("MPKG-H35", None));
    assert_eq!((counters(&host, 1).kills, counters(&host, 2).kills), (1, 0));
    assert_eq!(host.obey(&registry.orders()), 0);
}

#[tokio::test]
async fn a_spinning_guest_is_stopped_too() {
    let host = host();
    let app = host.run(&release(1)).await;
    let spinning = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("spin", &json!({})).await }
    });
    while app.metrics().memory_bytes == 0 || !host.snapshot().instances.iter().any(|it| it.id == app.id()) {
        tokio::task::yield_now().await;
    }
    let mut registry = Registry::default();
    registry.kill(Level::Stop, |_| {});
    host.obey(&registry.orders());
    let error = spinning.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Stopped { reason: StopReason::SwitchedOff { .. }, .. }), "{error}");
}

#[tokio::test]
async fn a_block_lets_run_what_runs_and_launches_nothing() {
    let host = host();
    let app = host.run(&release(1)).await;
    let mut registry = Registry::default();
    let kill = registry.kill(Level::Block, |_| {});
    assert_eq!(host.obey(&registry.orders()), 0);
    assert_eq!(call(&app, "echo", json!(1)).await, Ok(json!(1)));
    let error = host.launch(APP, "bob").await.unwrap_err();
    assert_eq!(error.code(), "MPKG-H40");
    let LaunchError::Killed { kill: by, reason, .. } = error else { panic!("{error}") };
    assert_eq!((by, reason.as_str()), (kill, "it steals"));
    registry.lift(kill);
    host.obey(&registry.orders());
    host.launch(APP, "bob").await.unwrap();
}

#[tokio::test]
async fn what_is_disabled_or_below_the_floor_is_not_launched() {
    let host = host();
    host.install(release(3).signed()).await.unwrap();
    let mut registry = Registry::default();
    registry.state(|state| state.disabled = [offer(&release(3)).release.package.sha256].into());
    host.obey(&registry.orders());
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(matches!(error, LaunchError::NotAllowed { cause: Cause::Disabled, .. }), "{error}");
    assert_eq!(error.code(), "MPKG-H41");
    registry.state(|state| state.min_seq = 4);
    host.obey(&registry.orders());
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(matches!(error, LaunchError::NotAllowed { cause: Cause::BelowFloor, .. }), "{error}");
    assert_eq!(error.code(), "MPKG-H42");
}

/// A host that asks before a launch, and waits for the answer until it is told to.
fn asking() -> (TestHost, Arc<Notify>, Arc<Notify>) {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (asked.clone(), answer.clone());
    let host = host_with(|b| {
        b.permissions(PromptPermissions::new(move |_| {
            let (tell, wait) = (tell.clone(), wait.clone());
            async move {
                tell.notify_one();
                wait.notified().await;
                Decision::AllowOnce
            }
        }))
    });
    (host, asked, answer)
}

#[tokio::test]
async fn a_kill_that_comes_during_a_launch_counts() {
    for level in [Level::Block, Level::Stop] {
        let (host, asked, answer) = asking();
        host.install(release(1).required().signed()).await.unwrap();
        let launching = tokio::spawn({
            let host = host.host.clone();
            async move { host.launch(APP, "ann").await }
        });
        asked.notified().await;
        let mut registry = Registry::default();
        registry.kill(level, |_| {});
        host.obey(&registry.orders());
        answer.notify_one();
        let error = launching.await.unwrap().unwrap_err();
        let code = if level == Level::Block { "MPKG-H40" } else { "MPKG-H35" };
        assert_eq!(error.code(), code, "{error}");
    }
}

fn reason(outcome: Result<Value, CallError>) -> String {
    let Err(CallError::Rpc(error)) = outcome else { panic!("not denied: {outcome:?}") };
    error.data.unwrap()["reason"].as_str().unwrap().to_owned()
}

async fn get(app: &Instance) -> Result<Value, CallError> {
    app.call("0storage.get", &json!({ "key": "k" })).await
}

#[tokio::test]
async fn a_permission_is_taken_from_what_runs_and_what_will_and_given_back() {
    let host = host();
    let app = host.run(&release(1).required()).await;
    get(&app).await.unwrap();
    let mut registry = Registry::default();
    let kill = registry.kill(Level::Revoke, |scope| scope.permission = Some("storage".parse().unwrap()));
    host.obey(&registry.orders());
    assert_eq!(reason(get(&app).await), "killed");
    assert_eq!(reason(get(&app).await), "killed");
    assert!(app.permissions().is_empty());
    // Its level says what a kill does: it takes a permission, and keeps no app from being launched.
    let bob = host.launch(APP, "bob").await.unwrap();
    assert_eq!(reason(get(&bob).await), "killed");
    let audit = host.audit(0, 100).unwrap().records;
    let by_fleet: Vec<_> = audit.iter().filter(|record| record.by == Decider::Fleet).collect();
    assert_eq!(by_fleet.len(), 2, "once for each instance: {audit:?}");
    assert!(by_fleet.iter().all(|record| matches!(record.outcome, AuditOutcome::Denied { .. })));

    registry.lift(kill);
    host.obey(&registry.orders());
    get(&app).await.unwrap();
    get(&bob).await.unwrap();
    assert_eq!(app.permissions(), ["storage"]);
}

#[tokio::test]
async fn one_method_is_taken_and_the_others_go_on() {
    let host = host();
    let app = host.run(&release(1)).await;
    let mut registry = Registry::default();
    registry.kill(Level::Revoke, |scope| {
        scope.permission = Some("storage".parse().unwrap());
        scope.method = Some("storage.set".parse().unwrap());
    });
    host.obey(&registry.orders());
    let set = app.call("0storage.set", &json!({ "key": "k", "value": 1 })).await;
    assert_eq!(reason(set), "killed");
    get(&app).await.unwrap();
    assert_eq!(app.permissions(), ["storage"]);
    assert_eq!(app.metrics().bridge["storage.set"].denied, 1);
}

#[tokio::test]
async fn what_the_user_refused_is_not_told_as_a_kill() {
    let host = host_with(|b| b);
    let app = host.run(&release(1)).await;
    let mut registry = Registry::default();
    assert_eq!(reason(get(&app).await), "denied");
    registry.kill(Level::Revoke, |scope| scope.permission = Some("storage".parse().unwrap()));
    host.obey(&registry.orders());
    assert_eq!(reason(get(&app).await), "denied");
}

const DAY: i64 = 24 * 3600;

/// A host with an answer for every method that the tests use, and how often its user was asked.
fn with_bridges(decision: Decision) -> (TestHost, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let bridge = |permission, method| {
        Bridge::new(permission).method(method, |_, _: Value| async { Ok::<_, RpcError>(1) })
    };
    let host = host_with(|b| {
        b.bridge(bridge("payments.request", "payments.request"))
            .bridge(bridge("cart.read", "cart.get"))
            .permissions(PromptPermissions::new(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                async move { decision }
            }))
    });
    (host, asked)
}

#[tokio::test]
async fn without_news_what_is_of_high_risk_is_withdrawn() {
    let (host, asked) = with_bridges(Decision::AllowAlways);
    let app = host.run(&Package::with(&["payments.request", "storage"])).await;
    let pay = async || app.call::<Value>("0payments.request", &json!({})).await;
    let mut registry = Registry::default();
    registry.news();
    host.obey(&registry.orders());
    pay().await.unwrap();
    registry.clock.store(DAY, Ordering::Relaxed);
    host.obey(&registry.orders());
    assert_eq!(reason(pay().await), "stale");
    app.call::<Value>("1storage.get", &json!({ "key": "k" })).await.unwrap();
    registry.news();
    host.obey(&registry.orders());
    pay().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "as it stood: nobody was asked again");
}

#[tokio::test]
async fn what_is_sensitive_asks_the_registry_and_then_the_user() {
    let (host, asked) = with_bridges(Decision::AllowAlways);
    let app = host.run(&Package::with(&["cart.read"])).await;
    let read = async || app.call::<Value>("0cart.get", &json!({})).await;
    let mut registry = Registry::default();
    registry.news();
    host.obey(&registry.orders());
    read().await.unwrap();
    registry.clock.store(8 * DAY, Ordering::Relaxed);
    host.obey(&registry.orders());

    // There is news: nobody is asked.
    let (answer, ()) = tokio::join!(read(), async {
        let done = registry.asked.recv().await.unwrap();
        registry.news();
        host.obey(&registry.orders());
        done.send(()).unwrap();
    });
    answer.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // There is none: the user is asked, once until there is.
    registry.clock.store(16 * DAY, Ordering::Relaxed);
    host.obey(&registry.orders());
    let (answer, ()) = tokio::join!(read(), async { drop(registry.asked.recv().await.unwrap()) });
    answer.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    read().await.unwrap();
    registry.clock.store(17 * DAY, Ordering::Relaxed);
    host.obey(&registry.orders());
    read().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_user_who_says_no_without_news_is_heard() {
    let (host, asked) = with_bridges(Decision::Deny);
    assert!({
        host.install(Package::with(&["cart.read"]).signed()).await.unwrap();
        host.grant("ann", APP, "cart.read").unwrap()
    });
    let app = host.launch(APP, "ann").await.unwrap();
    let mut registry = Registry::default();
    registry.news();
    registry.clock.store(8 * DAY, Ordering::Relaxed);
    host.obey(&registry.orders());
    // There is nobody to ask for news.
    registry.asked.close();
    assert_eq!(reason(app.call("0cart.get", &json!({})).await), "denied");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_supervised_host_launches_nothing_before_its_first_orders() {
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()).supervised(true));
    host.install(release(1).signed()).await.unwrap();
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(matches!(&error, LaunchError::Unsupervised { app_id } if app_id == APP), "{error}");
    assert_eq!(error.code(), "MPKG-H44");
    host.obey(&Registry::default().orders());
    host.launch(APP, "ann").await.unwrap();
}

#[tokio::test]
async fn without_orders_nothing_is_old() {
    let (host, _) = with_bridges(Decision::AllowOnce);
    let app = host.run(&Package::with(&["payments.request"])).await;
    app.call::<Value>("0payments.request", &json!({})).await.unwrap();
}

#[tokio::test]
async fn what_was_begun_under_a_permission_that_is_taken_ends() {
    let host = host();
    let app = host.run(&Package::with(&["events"])).await;
    app.call::<Value>("0events.subscribe", &json!({ "topic": "t" })).await.unwrap();
    let mut registry = Registry::default();
    let kill = registry.kill(Level::Revoke, |scope| scope.permission = Some("events".parse().unwrap()));
    host.obey(&registry.orders());
    registry.lift(kill);
    host.obey(&registry.orders());
    assert_eq!(host.publish(None, "t", &json!(1)).unwrap().receivers, 0, "it has to subscribe anew");
}

#[tokio::test]
async fn counters_never_fall_and_tell_what_happened() {
    let host = host();
    host.install(release(1).signed()).await.unwrap();
    let mut before = mpkg_fleet::Counters::default();
    let mut check = |host: &TestHost| {
        let after = counters(host, 1);
        assert!(mpkg_fleet::grows(&before, &after), "{before:?} then {after:?}");
        before = after;
        after
    };
    let app = host.launch(APP, "ann").await.unwrap();
    assert_eq!(check(&host).launches, 0, "its outcome is not known");
    call(&app, "echo", json!(1)).await.unwrap();
    let now = check(&host);
    assert_eq!((now.launches, now.beacons, now.errors), (1, 1, 0), "{now:?}");
    call(&app, "nothing", json!(1)).await.unwrap_err();
    let now = check(&host);
    // The app has no handler for `lifecycle.launched`, which is no error of it.
    assert_eq!((now.calls, now.errors), (3, 1), "{now:?}");
    app.kill("done");
    app.stopped().await;
    check(&host);
    let app = host.launch(APP, "ann").await.unwrap();
    check(&host);
    app.call::<Value>("crash", &json!({})).await.unwrap_err();
    app.stopped().await;
    let now = check(&host);
    assert_eq!((now.launches, now.beacons, now.crashes, now.errors), (2, 1, 1, 2), "{now:?}");
    let app = host.launch(APP, "ann").await.unwrap();
    app.unload().await;
    assert_eq!(check(&host).launches, 2, "whoever closes an app at once has seen nothing go wrong");
}

#[tokio::test]
async fn orders_hold_for_what_comes_over_the_air_too() {
    let host = host();
    let second = shelve(&*host, &release(2)).await;
    assert!(host.switch(&APP.parse().unwrap(), &second, Switch::AtOnce).await.unwrap());
    let mut registry = Registry::default();
    registry.kill(Level::Stop, |_| {});
    host.obey(&registry.orders());
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H40");
}
