//! What hosts tell apps: at least once, in order, bounded, and to nobody else.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::listener::{CRASH, Probe, package};
use common::{APP, TestHost, builder, call, host_with};
use miniapp_runtime::rpc::code;
use miniapp_runtime::{
    Bridge, Decision, Instance, Limits, Policy, PromptPermissions, PublishError, StaticPermissions,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

fn host(probe: &Probe) -> TestHost {
    host_with(|b| b.bridge(probe.bridge()).permissions(StaticPermissions::allow_all()))
}

async fn subscribed(host: &TestHost, user: &str) -> Instance {
    host.install(package(&["events", "storage", "timers"]).signed()).await.unwrap();
    let app = host.launch(APP, user).await.unwrap();
    call(&app, "1events.subscribe", json!({ "topic": "orders" })).await.unwrap();
    app
}

fn data(heard: &[Value]) -> Vec<Value> {
    heard.iter().map(|message| message["data"].clone()).collect()
}

#[tokio::test]
async fn events_arrive_in_order_and_each_has_an_id() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    for n in 0..20 {
        assert_eq!(host.publish(None, "orders", &n).unwrap().receivers, 1);
    }
    assert_eq!(host.publish(Some("bob"), "orders", &0).unwrap().receivers, 0);
    assert_eq!(host.publish(None, "weather", &0).unwrap().receivers, 0);
    let heard = probe.wait(20).await;
    assert_eq!(data(&heard), (0..20).map(|n| json!(n)).collect::<Vec<_>>());
    let ids: BTreeSet<_> = heard.iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 20, "{ids:?}");
    assert!(heard.iter().all(|m| m["topic"] == "orders" && m["redelivered"] == false));
    call(&app, "1events.unsubscribe", json!({ "topic": "orders" })).await.unwrap();
    assert_eq!(host.publish(None, "orders", &0).unwrap().receivers, 0);
}

/// An app may remember what it has taken, in its storage, for longer than its host runs.
#[tokio::test]
async fn no_event_has_the_id_of_one_of_an_earlier_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids = BTreeSet::new();
    for _run in 0..3 {
        let host = builder(folder.path()).build().unwrap();
        assert!(ids.insert(host.publish(None, "orders", &1).unwrap().id), "{ids:?}");
    }
}

/// Four times, with pauses; then it makes room for the next one.
#[tokio::test]
async fn an_error_brings_an_event_again_a_few_times() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    probe.answer(7);
    host.publish(None, "orders", &1).unwrap();
    let heard = probe.wait(4).await;
    assert!(heard.iter().all(|m| m["id"] == heard[0]["id"]));
    let again: Vec<_> = heard.iter().map(|m| m["redelivered"].as_bool().unwrap()).collect();
    assert_eq!(again, [false, true, true, true]);
    probe.answer(0);
    host.publish(None, "orders", &2).unwrap();
    assert_eq!(data(&probe.wait(5).await)[4], json!(2));
    assert_eq!(app.metrics().inbox_dropped, 1);
}

/// What waits for an app is in its memory's account, as long as it waits.
#[tokio::test]
async fn events_that_wait_are_charged_to_their_app() {
    const PAGES: u64 = 3;
    let probe = Probe::default();
    let limits = Limits { memory_bytes: PAGES << 16, ..Limits::PHONE };
    let policy = Policy { limits, ceilings: limits, ..Policy::default() };
    let host =
        host_with(|b| b.policy(policy).bridge(probe.bridge()).permissions(StaticPermissions::allow_all()));
    let app = subscribed(&host, "ann").await;
    app.hide().await.unwrap();
    let used = || app.metrics().memory_bytes;
    let (before, text) = (used(), "x".repeat(10_000));
    // With what surrounds an event when it is told.
    let each = ("orders".len() + text.len() + 2 + 128) as u64;
    let mut sent = 0;
    let full = loop {
        match host.publish(None, "orders", &text) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
        assert_eq!(used(), before + sent * each);
    };
    assert!(matches!(full, PublishError::Full { .. }), "{full}");
    assert_eq!(sent, ((PAGES << 16) - before) / each, "as much as fits, and nothing more");
    assert_eq!(app.stop_reason(), None);
    // It has no memory left to hand one on, which is its own affair; what waited for it goes with it.
    app.kill("test");
    app.stopped().await;
    assert_eq!(host.snapshot().memory_bytes, 0);
}

/// Names of topics, prefixes, keys and timers are too; changed keys that there is no memory for are told as such.
#[tokio::test]
async fn names_that_are_kept_for_an_app_are_charged_to_it() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    let used = || app.metrics().memory_bytes;
    let before = used();
    for (set, params, cleared, bytes) in [
        ("1events.subscribe", json!({ "topic": "weather" }), "1events.unsubscribe", 7),
        ("2storage.watch", json!({ "prefix": "a/" }), "2storage.unwatch", 2),
    ] {
        call(&app, set, params.clone()).await.unwrap();
        assert_eq!(used(), before + bytes, "{set}");
        call(&app, cleared, params).await.unwrap();
        assert_eq!(used(), before, "{cleared}");
    }
    call(&app, "3timers.set", json!({ "id": "later", "after_ms": 60_000 })).await.unwrap();
    assert_eq!(used(), before + 5);
    call(&app, "3timers.clear", json!({ "id": "later" })).await.unwrap();
    assert_eq!(used(), before);
}

#[tokio::test]
async fn an_app_without_a_handler_is_told_once() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    probe.answer(code::METHOD_NOT_FOUND);
    host.publish(None, "orders", &1).unwrap();
    host.publish(None, "orders", &2).unwrap();
    assert_eq!(data(&probe.wait(2).await), [json!(1), json!(2)]);
    while app.metrics().inbox_delivered < 2 {
        tokio::task::yield_now().await;
    }
}

/// A guest that says it is busy is asked later, for as long as it says so.
#[tokio::test]
async fn busy_is_no_failure() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    probe.answer(code::BUSY);
    host.publish(None, "orders", &1).unwrap();
    probe.wait(10).await;
    probe.answer(0);
    while app.metrics().inbox_delivered == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(app.metrics().inbox_dropped, 0);
}

#[tokio::test]
async fn what_an_instance_left_is_told_to_the_next_of_its_app_and_user() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    let bob = subscribed(&host, "bob").await;
    call(&bob, "1events.unsubscribe", json!({ "topic": "orders" })).await.unwrap();
    probe.answer(CRASH);
    host.publish(None, "orders", &1).unwrap();
    host.publish(None, "orders", &2).unwrap();
    assert_eq!(app.stopped().await.label(), "crashed");
    assert_eq!(data(&probe.heard()), [json!(1)]);
    // Nobody runs now; the subscription stands.
    while host.publish(Some("ann"), "orders", &3).unwrap().receivers == 0 {
        tokio::task::yield_now().await;
    }
    probe.answer(0);
    let _next = host.launch(APP, "ann").await.unwrap();
    let heard = probe.wait(4).await;
    assert_eq!(data(&heard[1..]), [json!(1), json!(2), json!(3)]);
    let again: Vec<_> = heard.iter().map(|m| m["redelivered"].as_bool().unwrap()).collect();
    assert_eq!(&again[..3], [false, true, true], "{heard:?}");
    assert_eq!(heard[0]["id"], heard[1]["id"]);
    assert!(bob.stop_reason().is_none());
}

/// An event that crashes its app would otherwise crash it at every launch.
#[tokio::test]
async fn a_poisonous_event_is_given_up() {
    let probe = Probe::default();
    let host = host(&probe);
    let mut app = subscribed(&host, "ann").await;
    probe.answer(CRASH);
    host.publish(None, "orders", &1).unwrap();
    for _ in 0..4 {
        app.stopped().await;
        app = host.launch(APP, "ann").await.unwrap();
    }
    probe.answer(0);
    host.publish(None, "orders", &2).unwrap();
    assert_eq!(data(&probe.wait(5).await), [json!(1), json!(1), json!(1), json!(1), json!(2)]);
}

#[tokio::test]
async fn a_kill_a_revocation_and_an_uninstallation_forget() {
    let probe = Probe::default();
    let host = host(&probe);
    for how in ["kill", "revoke", "revoke when nobody runs", "uninstall"] {
        let app = subscribed(&host, "ann").await;
        let hold = Arc::new(Notify::new());
        probe.park(Some(hold.clone()));
        let before = probe.heard().len();
        host.publish(None, "orders", &how).unwrap();
        host.publish(None, "orders", &how).unwrap();
        probe.wait(before + 1).await;
        match how {
            "kill" => drop(app.kill("test")),
            "revoke" => host.revoke("ann", APP, "events").unwrap(),
            "revoke when nobody runs" => {
                drop(tokio::spawn({
                    let app = app.clone();
                    async move { app.unload().await }
                }));
                hold.notify_one();
                app.stopped().await;
                host.revoke("ann", APP, "events").unwrap();
            }
            _ => drop(host.uninstall(APP).await.unwrap()),
        }
        probe.park(None);
        hold.notify_one();
        app.kill("test");
        app.stopped().await;
        let heard = probe.heard().len();
        host.install(package(&["events", "storage", "timers"]).signed()).await.unwrap();
        host.grant("ann", APP, "events").unwrap();
        let next = host.launch(APP, "ann").await.unwrap();
        assert_eq!(host.publish(None, "orders", &0).unwrap().receivers, 0, "{how}");
        call(&next, "1events.subscribe", json!({ "topic": "orders" })).await.unwrap();
        host.publish(None, "orders", &"new").unwrap();
        assert_eq!(data(&probe.wait(heard + 1).await)[heard], json!("new"), "{how}");
        next.kill("test");
        next.stopped().await;
    }
}

/// However the permission went, what was asked for under it is no reason to refuse an event.
#[tokio::test]
async fn who_lost_the_permission_is_told_nothing_and_fills_up_nowhere() {
    for way in ["forgotten", "forgotten when nobody runs", "an update asks for more"] {
        let probe = Probe::default();
        let always = PromptPermissions::new(|_| async { Decision::AllowAlways });
        let host = host_with(|b| b.bridge(probe.bridge()).permissions(always));
        let app = subscribed(&host, "ann").await;
        assert_eq!(host.publish(None, "orders", &0).unwrap().receivers, 1, "{way}");
        let unload = async || {
            app.unload().await;
            app.stopped().await;
        };
        match way {
            "forgotten" => assert!(host.forget("ann", APP, "events").unwrap()),
            "forgotten when nobody runs" => {
                unload().await;
                assert_eq!(host.publish(None, "orders", &0).unwrap().receivers, 1, "it stands");
                assert!(host.forget("ann", APP, "events").unwrap());
            }
            _ => {
                unload().await;
                let more = package(&["events", "storage", "timers", "user.profile"]);
                host.install(common::Package { code: 2, ..more }.signed()).await.unwrap();
            }
        }
        for _ in 0..300 {
            assert_eq!(host.publish(None, "orders", &0).unwrap().receivers, 0, "{way}");
        }
    }
}

#[tokio::test]
async fn a_full_queue_refuses_by_name_and_holds_up_nobody_else() {
    let probe = Probe::default();
    let host = host(&probe);
    let slow = subscribed(&host, "ann").await;
    let quick = subscribed(&host, "bob").await;
    let hold = Arc::new(Notify::new());
    probe.park(Some(hold));
    host.publish(Some("ann"), "orders", &0).unwrap();
    probe.wait(1).await;
    probe.park(None);
    let mut sent = 0;
    let error = loop {
        sent += 1;
        match host.publish(None, "orders", &sent) {
            Ok(published) => assert_eq!(published.receivers, 2),
            Err(error) => break error,
        }
        probe.wait(1 + sent).await;
    };
    let PublishError::Full { full, receivers, .. } = &error else { panic!("{error}") };
    assert_eq!((full.len(), full[0].user.as_str(), full[0].app_id.as_str(), *receivers), (1, "ann", APP, 1));
    assert!(error.to_string().contains(APP) && error.code() == "MPKG-H50", "{error}");
    assert!(sent <= 257, "{sent}");
    drop((slow, quick));
}

/// What its manifest says is too long for it is never told to an app; the longest that is taken is.
#[tokio::test]
async fn an_event_that_could_not_be_told_is_refused_by_name() {
    const SHORT: usize = 1024;
    let probe = Probe::default();
    let host = host(&probe);
    let short =
        common::Package { mpkg: json!({ "limits": { "message_bytes": SHORT } }), ..package(&["events"]) };
    host.install(short.signed()).await.unwrap();
    let app = host.launch(APP, "ann").await.unwrap();
    // The longest topic, so that all that surrounds the data counts.
    let topic = "t".repeat(128);
    call(&app, "1events.subscribe", json!({ "topic": topic })).await.unwrap();
    let mut bytes = SHORT;
    loop {
        match host.publish(None, &topic, &"x".repeat(bytes)) {
            Ok(published) => break assert_eq!(published.receivers, 1),
            Err(PublishError::Full { full, receivers: 0, .. }) => assert_eq!(full[0].app_id, APP),
            Err(error) => panic!("{error}"),
        }
        bytes -= 1;
    }
    assert!(bytes > SHORT / 2, "{bytes}");
    assert_eq!(data(&probe.wait(1).await), [json!("x".repeat(bytes))]);
    while app.metrics().inbox_delivered == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.metrics().inbox_dropped, 0);
}

#[tokio::test]
async fn topics_and_sizes_are_checked() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    assert!(matches!(host.publish(None, "a b", &0), Err(PublishError::BadTopic { .. })));
    let big = "x".repeat(2 << 20);
    assert!(matches!(app.publish("orders", &big), Err(PublishError::TooLarge { .. })));
    assert_eq!(app.publish("weather", &0).unwrap().receivers, 0);
}

/// A guest whose handler makes the host publish to it: no reentry, no deadlock, and an end.
#[tokio::test]
async fn a_guest_that_publishes_to_itself_in_its_handler() {
    let probe = Probe::default();
    let slot: Arc<std::sync::OnceLock<miniapp_runtime::Host>> = Arc::default();
    let (s, p) = (slot.clone(), probe.clone());
    let inside = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let echo = Bridge::new("host.probe").method("probe.heard", move |caller, params: Value| {
        let (slot, probe, inside) = (s.clone(), p.clone(), inside.clone());
        async move {
            use std::sync::atomic::Ordering::SeqCst;
            assert_eq!(inside.fetch_add(1, SeqCst), 0, "one delivery at a time");
            let n = params["data"].as_u64().unwrap();
            if n < 50 {
                slot.get().unwrap().publish(Some(caller.user()), "orders", &(n + 1)).unwrap();
            }
            tokio::task::yield_now().await;
            inside.fetch_sub(1, SeqCst);
            probe.hear(params);
            Ok(Value::Null)
        }
    });
    let host = host_with(|b| b.bridge(echo).permissions(StaticPermissions::allow_all()));
    slot.set(host.host.clone()).unwrap();
    let _app = subscribed(&host, "ann").await;
    host.publish(None, "orders", &0).unwrap();
    assert_eq!(data(&probe.wait(51).await), (0..=50).map(|n| json!(n)).collect::<Vec<_>>());
}

/// Tasks, lanes and timers go with the instance, however it ends.
#[tokio::test]
async fn nothing_is_left_behind() {
    let probe = Probe::default();
    let host = host(&probe);
    let app = subscribed(&host, "ann").await;
    app.kill("warm");
    app.stopped().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for round in 0..200 {
        let app = host.launch(APP, "ann").await.unwrap();
        call(&app, "1events.subscribe", json!({ "topic": "orders" })).await.unwrap();
        call(&app, "3timers.set", json!({ "after_ms": 60_000, "every_ms": 100 })).await.unwrap();
        call(&app, "2storage.watch", json!({})).await.unwrap();
        host.publish(None, "orders", &round).unwrap();
        if round % 2 == 0 {
            app.kill("test");
            app.stopped().await;
        }
        drop(app);
    }
    let settled = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), settled).await.expect("tasks are left");
    assert_eq!(host.instances().len(), 0);
}
