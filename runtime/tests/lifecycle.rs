//! An app is told of its life, held still while nobody looks, and given back what it left behind.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::parked::Parked;
use common::{APP, Package, TestHost, call, host_with, puppet};
use miniapp_runtime::{
    Bridge, CallError, Instance, Limits, Policy, State, StaticPermissions, StopReason, rpc::RpcError,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

type Seen = Arc<Mutex<Vec<String>>>;

/// A host that hears of every lifecycle event its apps hear of.
fn watching(
    settings: impl FnOnce(miniapp_runtime::HostBuilder) -> miniapp_runtime::HostBuilder,
) -> (TestHost, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let bridge = Bridge::new("host.seen").immediate("seen.event", move |_, event: String| {
        log.lock().unwrap().push(event.trim_start_matches("lifecycle.").to_owned());
        Ok::<_, RpcError>(())
    });
    let host = host_with(|b| settings(b.permissions(StaticPermissions::allow_all()).bridge(bridge)));
    (host, seen)
}

fn watched(permissions: &[&'static str]) -> Package {
    let interfaces: Vec<_> =
        permissions.iter().map(|p| mpkg_manifest::permission::interface_for(p).unwrap()).collect();
    Package { component: wat::parse_str(puppet::watched(&interfaces)).unwrap(), ..Package::with(permissions) }
        .required()
}

/// A call that waits in a bridge.
async fn waiting(app: &Instance, parked: &Parked) -> JoinHandle<Result<Value, CallError>> {
    let app = app.clone();
    let waiting = tokio::spawn(async move { app.call("0slow.wait", &json!("done")).await });
    parked.inside(1).await;
    waiting
}

fn events(seen: &Seen) -> Vec<String> {
    std::mem::take(&mut *seen.lock().unwrap())
}

#[tokio::test]
async fn every_state_is_told_once_and_in_order() {
    let (host, seen) = watching(|b| b);
    let app = host.run(&watched(&["host.seen"])).await;
    assert_eq!((app.state(), events(&seen)), (State::Launched, vec!["launched".into()]));
    app.show().await.unwrap();
    app.show().await.unwrap();
    assert_eq!((app.state(), events(&seen)), (State::Shown, vec!["shown".into()]));
    app.hide().await.unwrap();
    app.hide().await.unwrap();
    assert_eq!((app.state(), events(&seen)), (State::Hidden, vec!["hidden".into()]));
    app.show().await.unwrap();
    assert_eq!((app.state(), events(&seen)), (State::Shown, vec!["shown".into()]));
    app.unload().await;
    assert_eq!((app.state(), events(&seen)), (State::Unloaded, vec!["unloaded".into()]));
    assert_eq!(app.show().await.unwrap_err().code(), "MPKG-H21");
}

#[tokio::test]
async fn a_hidden_app_is_not_called_unless_the_host_says_so() {
    let (host, _) = watching(|b| b);
    let app = host.run(&watched(&["host.seen"])).await;
    app.hide().await.unwrap();
    let refused = app.call::<Value>("echo", &json!({})).await.unwrap_err();
    assert!(matches!(refused, CallError::Suspended { .. }), "{refused}");
    app.show().await.unwrap();
    assert_eq!(call(&app, "echo", json!([1])).await, Ok(json!([1])));

    let (host, _) = watching(|b| b.policy(Policy { suspend_hidden: false, ..Policy::default() }));
    let app = host.run(&watched(&["host.seen"])).await;
    app.hide().await.unwrap();
    assert_eq!(call(&app, "echo", json!([2])).await, Ok(json!([2])));
}

/// A call that is under way when its app is hidden is held where it is, its clock with it, and goes on when shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_call_is_held_still_and_goes_on() {
    let parked = Parked::default();
    let (bridge, grace) = (parked.bridge(), Duration::from_millis(20));
    let (host, _) = watching(|b| b.bridge(bridge).policy(Policy { grace, ..Policy::default() }));
    let app = host.run(&Package::with(&["host.slow"])).await;
    let waiting = waiting(&app, &parked).await;
    app.hide().await.unwrap();
    parked.let_go(1);
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "a hidden guest went on");
    app.show().await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), json!("done"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_guest_is_held_still_and_can_be_killed_there() {
    let long = Duration::from_secs(600);
    let limits = Limits { cpu_per_call: long, cpu_per_second: long, wall_per_call: long, ..Limits::PHONE };
    let grace = Duration::from_millis(20);
    let (host, _) = watching(|b| b.policy(Policy { limits, ceilings: limits, grace, ..Policy::default() }));
    let app = host.run(&Package::default()).await;
    let spinning = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("spin", &json!({})).await }
    });
    while app.metrics().memory_bytes.is_multiple_of(65536) {
        tokio::task::yield_now().await;
    }
    app.hide().await.unwrap();
    assert!(app.kill("test"));
    let error = spinning.await.unwrap().unwrap_err();
    assert!(matches!(error, CallError::Stopped { reason: StopReason::Killed { .. }, .. }), "{error}");
}

#[tokio::test]
async fn what_an_app_leaves_behind_comes_back_at_its_next_launch() {
    let (host, _) = watching(|b| b);
    let package = watched(&["host.seen", "storage"]);
    let app = host.run(&package).await;
    app.hide().await.unwrap();
    app.kill("the phone was dropped");
    app.stopped().await;
    // Kept with the app's own data: another user's instance does not see it.
    let own = host.launch(APP, "ann").await.unwrap();
    let kept = call(&own, "1storage.get", json!({ "key": "lifecycle.state" })).await.unwrap();
    assert_eq!(kept, json!({ "found": true, "value": { "n": 17 } }));
    let other = host.launch(APP, "bob").await.unwrap();
    let none = call(&other, "1storage.get", json!({ "key": "lifecycle.state" })).await.unwrap();
    assert_eq!(none["found"], json!(false));
}

#[tokio::test]
async fn the_next_instance_is_told_why_the_last_one_failed() {
    let (host, seen) = watching(|b| b);
    let app = host.run(&watched(&["host.seen"])).await;
    app.call::<Value>("crash", &json!({})).await.unwrap_err();
    assert_eq!(app.state(), State::Error);
    events(&seen);
    let next = host.launch(APP, "ann").await.unwrap();
    assert_eq!(events(&seen), ["launched", "error"]);
    next.kill("an order is no failure");
    host.launch(APP, "ann").await.unwrap();
    assert_eq!(events(&seen), ["launched"]);
}

/// What the app is told besides the event's name.
#[tokio::test]
async fn an_app_is_told_for_whom_it_runs_what_it_left_and_how_it_failed() {
    let told = Arc::new(Mutex::new(Vec::<Value>::new()));
    let log = told.clone();
    let bridge = Bridge::new("host.seen").immediate("seen.event", move |_, params: Value| {
        log.lock().unwrap().push(params);
        Ok::<_, RpcError>(())
    });
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()).bridge(bridge));
    let package = Package {
        component: wat::parse_str(puppet::confiding(&["host", "storage"])).unwrap(),
        ..Package::with(&["host.seen", "storage"])
    }
    .required();
    let app = host.run(&package).await;
    app.hide().await.unwrap();
    app.unload().await;
    let next = host.launch(APP, "ann").await.unwrap();
    next.call::<Value>("crash", &json!({})).await.unwrap_err();
    host.launch(APP, "ann").await.unwrap();
    let told = std::mem::take(&mut *told.lock().unwrap());
    let [first, hidden, unloaded, second, third, failure] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&first["reason"], first.get("state")), (&json!("launch"), None));
    assert!(first["user"].as_str().is_some_and(|user| !user.is_empty() && user != "ann"), "{first}");
    assert_eq!((hidden, unloaded), (&json!({}), &json!({ "reason": "unloaded" })));
    for launched in [second, third] {
        assert_eq!((&launched["reason"], &launched["state"]), (&json!("restore"), &json!({ "n": 17 })));
        assert_eq!(launched["user"], first["user"]);
    }
    assert_eq!(failure["code"], json!("MPKG-H28"));
    assert!(failure["message"].as_str().is_some_and(|text| text.contains("crash")), "{failure}");
}

/// A host that stops waiting has hidden the app all the same: whenever it stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hiding_goes_on_when_nobody_waits_for_it() {
    let (host, _) = watching(|b| b);
    host.install(watched(&["host.seen"]).signed()).await.unwrap();
    for polls in 0..4 {
        let app = host.launch(APP, "ann").await.unwrap();
        app.show().await.unwrap();
        {
            let mut hiding = std::pin::pin!(app.hide());
            for _ in 0..=polls {
                let mut quiet = std::task::Context::from_waker(std::task::Waker::noop());
                if hiding.as_mut().poll(&mut quiet).is_ready() {
                    break;
                }
            }
        }
        // Asked as its page: a call of the app itself that is under way in that moment would be held still with it.
        let held = async {
            while app.dispatch("clock.now", "{}").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), held).await.expect("it is never held still");
        assert_eq!(app.state(), State::Hidden);
        assert!(matches!(app.call::<Value>("echo", &json!({})).await, Err(CallError::Suspended { .. })));
    }
}

/// An app that does not come back from an event is shown, hidden and unloaded all the same, each after the grace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_never_answers_its_events_holds_nobody_up() {
    let long = Duration::from_secs(600);
    let limits = Limits { cpu_per_call: long, cpu_per_second: long, wall_per_call: long, ..Limits::PHONE };
    let policy = Policy { limits, ceilings: limits, grace: Duration::from_millis(50), ..Policy::default() };
    for event in ['s', 'h', 'u'] {
        let (host, _) = watching(|b| b.policy(policy.clone()));
        let component = wat::parse_str(puppet::spinning_when(event)).unwrap();
        let app = host.run(&Package { component, ..Package::default() }).await;
        let through = async {
            app.show().await.unwrap();
            assert_eq!(app.state(), State::Shown);
            app.hide().await.unwrap();
            assert_eq!(app.state(), State::Hidden);
            app.unload().await;
            app.stopped().await
        };
        let ended = tokio::time::timeout(Duration::from_secs(20), through).await.expect("it is waited for");
        assert_eq!(ended, StopReason::Unloaded, "{event}");
        assert_eq!(host.snapshot().memory_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_held_still_goes_with_its_last_handle_whatever_it_was_doing() {
    let long = Duration::from_secs(600);
    let limits = Limits { cpu_per_call: long, cpu_per_second: long, wall_per_call: long, ..Limits::PHONE };
    let policy = Policy { limits, ceilings: limits, grace: Duration::from_millis(50), ..Policy::default() };
    let (host, _) = watching(|b| b.policy(policy));
    let component = wat::parse_str(puppet::spinning_when('h')).unwrap();
    let app = host.run(&Package { component, ..Package::default() }).await;
    app.show().await.unwrap();
    app.hide().await.unwrap();
    let handle = app.kill_handle();
    assert_eq!(handle.stop_reason(), None);
    drop(app);
    let ended = tokio::time::timeout(Duration::from_secs(20), handle.stopped()).await;
    assert_eq!(ended.expect("it goes on"), StopReason::Unloaded);
    assert_eq!(host.snapshot().memory_bytes, 0);
}

/// However long it is hidden: waiting while nobody looks is no fault of an app's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_a_call_stands_still_while_its_app_is_hidden() {
    let parked = Parked::default();
    let (bridge, grace, wall) = (parked.bridge(), Duration::from_millis(20), Duration::from_secs(2));
    let limits = Limits { wall_per_call: wall, ..Limits::PHONE };
    let policy = Policy { limits, grace, ..Policy::default() };
    let (host, _) = watching(|b| b.bridge(bridge).policy(policy));
    let app = host.run(&Package::with(&["host.slow"])).await;
    let waiting = waiting(&app, &parked).await;
    app.hide().await.unwrap();
    tokio::time::sleep(wall + wall / 2).await;
    app.show().await.unwrap();
    // Longer than what the wall would have left if its clock had begun to stand still when it ran out.
    tokio::time::sleep(wall / 4).await;
    parked.let_go(1);
    assert_eq!(waiting.await.unwrap().unwrap(), json!("done"));
}

/// An app in the midst of something hears of its life when it comes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_app_is_told_when_it_is_done() {
    let parked = Parked::default();
    let (bridge, grace) = (parked.bridge(), Duration::from_millis(20));
    let limits = Limits { calls_in_flight: 1, ..Limits::PHONE };
    let policy = Policy { limits, grace, suspend_hidden: false, ..Policy::default() };
    let (host, seen) = watching(|b| b.bridge(bridge).policy(policy));
    let permissions = vec!["host.seen", "host.slow", "storage"];
    let app = host.run(&Package { permissions, ..watched(&["host.seen", "storage"]) }).await;
    let waiting = waiting(&app, &parked).await;
    app.show().await.unwrap();
    app.hide().await.unwrap();
    assert_eq!(events(&seen), ["launched"]);
    parked.let_go(1);
    assert_eq!(waiting.await.unwrap().unwrap(), json!("done"));
    let kept = async {
        loop {
            match call(&app, "1storage.get", json!({ "key": "lifecycle.state" })).await {
                Ok(kept) if kept["found"] == json!(true) => return kept,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    let kept = tokio::time::timeout(Duration::from_secs(20), kept).await.expect("no state is kept");
    assert_eq!(kept["value"], json!({ "n": 17 }));
    assert_eq!(events(&seen), ["shown", "hidden"]);
}
