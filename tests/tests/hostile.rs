//! The hostile examples, as real components in a real host: each is stopped with its reason, and nobody else notices.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod arena;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arena::drip::Drip;
use arena::{PATIENCE, arena, arena_with, policy};
use futures_util::future::{join_all, poll_immediate};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{
    Bridge, CallError, Instance, Limit, Limits, NetworkPolicy, Notification, PAGE, Policy, StopReason,
};
use mpkg_tests::workspace::{mpkg, root};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_stopped_for_its_own_reason() {
    let arena = arena().await;
    for (name, expected) in [
        ("memory", "memory"),
        ("many-memories", "memory"),
        ("table-growth", "memory"),
        ("spin", "cpu"),
        ("flood", "cpu"),
        ("recursion", "stack"),
        ("panic", "crashed"),
    ] {
        // The neighbour is the same package as `panic`, for another user.
        assert_eq!(arena.stopped(name).await.label(), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_is_exact_to_the_page() {
    let arena = arena().await;
    let cap = Limits::PHONE.memory_bytes;
    for name in ["memory", "many-memories"] {
        let app = arena.launch(name).await;
        let filled: Value = app.call("fill", &json!({})).await.unwrap();
        let metrics = app.metrics();
        // Less than a page is left, the room that the call itself took.
        assert!(cap - metrics.memory_bytes <= PAGE, "{name}: {filled}, {metrics:?}");
        assert!(metrics.memory_peak <= cap);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_spins_when_called_back() {
    let arena = arena().await;
    let app = arena.launch("callback-spin").await;
    let _: Value = app.call("arm", &json!({})).await.unwrap();
    assert_eq!(app.publish("hostile.spin", &json!({})).unwrap().receivers, 1);
    let reason = app.stopped().await;
    assert!(matches!(reason, StopReason::Cpu { .. }), "{reason}");
    arena.neighbour_answers("a callback that spins").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_too_long_in_either_direction() {
    let arena = arena().await;
    let app = arena.launch("huge-message").await;
    let refused = arena.refused(&app, "send", json!({ "bytes": 3 << 20 })).await;
    assert_eq!(refused.code, code::TOO_LARGE, "to the host: refused, and the app goes on");
    let refused = arena.refused(&app, "answer", json!({ "bytes": 2 << 20 })).await;
    assert_eq!(refused.code, code::TOO_LARGE);
    assert!(app.call::<Value>("answer", &json!({ "bytes": 1000 })).await.is_ok());
    let stopped = arena.ends(app, "answer", json!({ "bytes": 6 << 20 })).await;
    assert!(matches!(stopped, StopReason::Message { .. }), "{stopped}");
    // What the guest needs to write so much is more than its cap already.
    assert_eq!(arena.stopped("huge-message").await.label(), "memory");
}

#[test]
fn an_import_that_is_not_declared_is_not_even_built() {
    let dir = root().join("examples/hostile/undeclared");
    let output = mpkg(&["build", dir.to_str().unwrap(), "--format", "json"]).unwrap().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(error["error"]["problems"][0]["code"], "MPKG-W08", "{error}");
}

/// An app whose host calls it back. Taken out when the test is over, or host and app would keep each other alive.
type CalledBack = Arc<Mutex<Option<Instance>>>;
type Crowd = Arc<Mutex<Option<JoinHandle<Vec<Result<String, CallError>>>>>>;

/// Bridges that call the app that calls them: one waits for the answer before it gives its own, one does not.
fn calling_back(app: &CalledBack, crowd: &Crowd) -> Bridge {
    let (of_crowd, of_wait, of_task, crowd) = (app.clone(), app.clone(), app.clone(), crowd.clone());
    let ping = |app: Instance| async move { app.call::<String>("ping", &json!({})).await };
    Bridge::new("host.arena")
        .method("arena.crowd", move |_, _: Value| {
            let (app, crowd) = (of_crowd.lock().unwrap().clone().unwrap(), crowd.clone());
            async move {
                let (asked, all_asked) = oneshot::channel();
                let calls = async move {
                    let mut calls = Box::pin(join_all((0..100).map(|_| ping(app.clone()))));
                    // Polled once: each of them has asked to be let in.
                    assert!(poll_immediate(&mut calls).await.is_none());
                    asked.send(()).unwrap();
                    calls.await
                };
                *crowd.lock().unwrap() = Some(tokio::spawn(calls));
                all_asked.await.unwrap();
                Ok::<_, RpcError>(true)
            }
        })
        .method("arena.wait", move |_, _: Value| {
            let app = of_wait.lock().unwrap().clone().unwrap();
            async move { ping(app).await.map(|_| true).map_err(CallError::into_rpc) }
        })
        .method("arena.task", move |_, _: Value| {
            let app = of_task.lock().unwrap().clone().unwrap();
            async move { tokio::spawn(ping(app)).await.unwrap().map(|_| true).map_err(CallError::into_rpc) }
        })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_not_entered_while_it_is_inside_of_its_host() {
    let (called, crowd) = (CalledBack::default(), Crowd::default());
    let wall = Duration::from_secs(2);
    let limits = Limits { wall_per_call: wall, ..policy().limits };
    let bridge = calling_back(&called, &crowd);
    let arena = arena_with(|b| b.bridge(bridge).policy(Policy { limits, ..policy() })).await;
    let app = arena.launch("reentrancy").await;
    *called.lock().unwrap() = Some(app.clone());

    // Calls from within queue behind the one that is inside, as many as may; the others are told so at once.
    assert_eq!(arena.attack(&app, "enter", json!({ "method": "arena.crowd" })).await.unwrap(), true);
    let calls = crowd.lock().unwrap().take().unwrap();
    let (answered, refused): (Vec<_>, Vec<_>) = calls.await.unwrap().into_iter().partition(Result::is_ok);
    assert_eq!(answered.len(), limits.calls_in_flight as usize - 1);
    assert_eq!(refused.len(), 100 - answered.len());
    for error in refused {
        assert!(matches!(&error, Err(CallError::Rpc(error)) if error.code == code::BUSY), "{error:?}");
    }
    assert_eq!(app.call::<Value>("report", &json!({})).await.unwrap()["deepest"], 1);

    // A host that waits inside of a call for another one of the same app would wait for good.
    let error = arena.refused(&app, "enter", json!({ "method": "arena.wait" })).await;
    assert_eq!((error.code, app.metrics().limits_met[&Limit::CallDepth]), (code::REFUSED, 1));
    // One that hides from itself that it does meets the wall.
    let reason = arena.ends(app, "enter", json!({ "method": "arena.task" })).await;
    assert_eq!(reason, StopReason::Wall { method: "enter".into(), limit: wall });
    called.lock().unwrap().take();
}

/// A host that passes events on to whoever listens tells this app each event that it makes of the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_begets_the_next_is_held_to_its_rate() {
    let rates = [("events.publish".to_owned(), NonZeroU32::new(50).unwrap())].into();
    let bridge = calling_back(&CalledBack::default(), &Crowd::default());
    let arena = arena_with(|b| b.bridge(bridge).policy(Policy { rates, ..policy() })).await;
    let app = arena.launch("reentrancy").await;
    let mut said = app.notifications();
    let echo = tokio::spawn({
        let app = app.clone();
        async move {
            while let Some(said) = said.recv().await {
                if let Notification::Event { topic, data, .. } = &*said {
                    let _ = app.publish(topic, data);
                }
            }
        }
    });
    arena.attack(&app, "attack", json!({})).await.unwrap();
    let held = async {
        while !app.metrics().limits_met.contains_key(&Limit::Rate) {
            arena.neighbour_answers("an event").await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.unwrap();
    let report: Value = app.call("report", &json!({})).await.unwrap();
    assert_eq!(report["deepest"], 1, "told while it was inside");
    assert!(report["told"].as_u64().unwrap() >= 50, "{report}");
    arena.clear(app).await;
    tokio::time::timeout(PATIENCE, echo).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_drips_is_given_up_on_in_time() {
    let server = Drip::start().await;
    let network = NetworkPolicy {
        timeout: Duration::from_millis(300),
        stream_time: Duration::from_secs(2),
        ..server.policy()
    };
    let arena = arena_with(|b| b.policy(Policy { network, ..policy() })).await;
    let app = arena.launch("slow-drip").await;
    // Each byte comes in time; the whole does not, neither the headers nor the body.
    for path in ["head", "body"] {
        let error = arena.refused(&app, "attack", json!({ "url": server.url(path) })).await;
        assert_eq!(error.code, code::TIMED_OUT, "{path}: {error}");
        server.closed(1).await;
    }
    let sipped = arena.attack(&app, "sip", json!({ "url": server.url("body") })).await.unwrap();
    assert!(sipped["count"].as_u64().unwrap() > 0, "{sipped}");
    // Closed in time while it was read from, or between two reads: it is not there any more then.
    let codes = [code::TIMED_OUT, code::INVALID_PARAMS];
    assert!(codes.contains(&(sipped["code"].as_i64().unwrap() as i32)), "{sipped}");
    server.closed(1).await;
    arena.clear(app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_closes_every_socket_that_drips() {
    let server = Drip::start().await;
    let long = Duration::from_secs(600);
    let network = NetworkPolicy {
        timeout: long,
        idle_timeout: long,
        stream_time: long,
        requests_per_instance: 5,
        ..server.policy()
    };
    let arena = arena_with(|b| b.policy(Policy { network, ..policy() })).await;
    let app = arena.launch("slow-drip").await;
    let held = arena.attack(&app, "hold", json!({ "url": server.url("body") })).await.unwrap();
    assert_eq!(held, json!({ "count": 5, "code": code::BUSY }));
    arena.clear(app).await;
    server.closed(5).await;

    let app = arena.launch("slow-drip").await;
    let parked = tokio::spawn({
        let (app, url) = (app.clone(), server.url("body"));
        async move { app.call::<Value>("attack", &json!({ "url": url })).await }
    });
    server.arrived(6).await;
    arena.clear(app).await;
    assert_eq!(parked.await.unwrap().unwrap_err().code(), "MPKG-H20");
    server.closed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_bombs_are_refused_and_cost_nobody_else() {
    // Few enough that an attack by writing spends its time being refused, however fast the disk is.
    let rates = [("storage.set".to_owned(), NonZeroU32::new(5).unwrap())].into();
    let arena = arena_with(|b| b.policy(Policy { rates, ..policy() })).await;
    let app = arena.launch("storage-bomb").await;
    let bob = arena.launch_for("storage-bomb", "bob").await;
    let small = json!({ "bytes": 100 });
    bob.call::<Value>("value", &small).await.unwrap();

    // As many keys as fit, though what they hold is next to nothing.
    let keys = loop {
        let outcome = arena.attack(&app, "keys", json!({})).await.unwrap();
        if outcome["code"] != code::BUSY {
            break outcome;
        }
    };
    assert_eq!(keys["code"], code::QUOTA_EXCEEDED, "{keys}");
    let usage: (u64, u64) = app.call("usage", &json!({})).await.unwrap();
    assert_eq!(usage.1, 65_536, "{usage:?}");
    assert!(usage.0 < 1 << 20, "the bytes were not what ended it: {usage:?}");
    bob.call::<Value>("value", &small).await.unwrap();

    for (method, params, expected) in [
        ("value", json!({ "bytes": 300_000 }), code::TOO_LARGE),
        ("value", json!({ "bytes": 3 << 20 }), code::TOO_LARGE),
        ("transaction", json!({ "steps": 257, "bytes": 1 }), code::TOO_LARGE),
        ("transaction", json!({ "steps": 10, "bytes": 200_000 }), code::TOO_LARGE),
        ("value", json!({ "bytes": 100 }), code::QUOTA_EXCEEDED),
    ] {
        let error = arena.refused(&app, method, params.clone()).await;
        assert_eq!(error.code, expected, "{method} {params}: {error}");
    }
    let watched = arena.attack(&app, "watch", json!({})).await.unwrap();
    assert_eq!(watched, json!({ "count": 16, "code": code::BUSY }));

    // What was refused has left nothing, and the other user's data is as it was.
    assert_eq!(app.call::<(u64, u64)>("usage", &json!({})).await.unwrap(), usage);
    assert_eq!(bob.call::<(u64, u64)>("usage", &json!({})).await.unwrap(), (4 + 102, 1));
    bob.kill("test");
    bob.stopped().await;
    assert!(matches!(arena.ends(app, "attack", json!({})).await, StopReason::Cpu { .. }));
    let app_id = bob.app_id().to_owned();
    assert!(arena.host.uninstall(&app_id).await.unwrap());
    let again = arena.launch("storage-bomb").await;
    assert_eq!(again.call::<(u64, u64)>("usage", &json!({})).await.unwrap(), (0, 0));
    arena.clear(again).await;
}
