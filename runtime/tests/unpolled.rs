//! What becomes of an instance does not depend on whoever called it going on to poll.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::parked::Parked;
use common::{APP, Package, TestHost, call, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, State, StaticPermissions, StopReason};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn host_that_waits(parked: &Parked) -> TestHost {
    let bridge = parked.bridge();
    host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()))
}

fn poll_once<T>(work: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    work.poll(&mut Context::from_waker(Waker::noop()))
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("nothing happens")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_frees_a_parked_instance_whose_caller_does_not_look() {
    let parked = Parked::default();
    let host = host_that_waits(&parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    let mut waiting = pin!(call(&app, "0slow.wait", json!({})));
    assert!(poll_once(waiting.as_mut()).is_pending());
    parked.inside(1).await;
    assert!(app.kill("test"));
    in_time(app.stopped()).await;
    assert_eq!(host.snapshot().memory_bytes, 0);
    assert_eq!(in_time(waiting).await, Err(code::CANCELLED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_turn_it_is_and_who_does_not_look_holds_nobody_up() {
    let parked = Parked::default();
    let host = host_that_waits(&parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    let first = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("0slow.wait", &json!({})).await }
    });
    parked.inside(1).await;
    let mut second = pin!(call(&app, "echo", json!([2])));
    assert!(poll_once(second.as_mut()).is_pending());
    let third = tokio::spawn({
        let app = app.clone();
        async move { call(&app, "echo", json!([3])).await }
    });
    parked.let_go(1);
    assert_eq!(in_time(third).await.unwrap(), Ok(json!([3])));
    assert_eq!(in_time(first).await.unwrap().unwrap(), json!({}));
    assert_eq!(in_time(second).await, Ok(json!([2])));
}

/// A caller who goes away while others are before it leaves its place: the app is never told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_given_up_before_its_turn_is_not_made() {
    let parked = Parked::default();
    let host = host_that_waits(&parked);
    let app = host.run(&Package::with(&["host.slow"])).await;
    let first = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("0slow.wait", &json!({})).await }
    });
    parked.inside(1).await;
    let calls = app.metrics().calls;
    {
        let mut second = pin!(call(&app, "echo", json!([2])));
        assert!(poll_once(second.as_mut()).is_pending());
    }
    parked.let_go(1);
    in_time(first).await.unwrap().unwrap();
    assert_eq!(call(&app, "echo", json!([3])).await, Ok(json!([3])));
    assert_eq!(app.metrics().calls, calls + 2);
}

/// What waits for its turn is the app's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_are_charged() {
    let parked = Parked::default();
    let host = host_that_waits(&parked);
    let pages = json!({ "limits": { "memory_bytes": 16 * miniapp_runtime::PAGE } });
    let app = host.run(&Package { mpkg: pages, ..Package::with(&["host.slow"]) }).await;
    let first = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("0slow.wait", &json!({})).await }
    });
    parked.inside(1).await;
    let before = app.metrics().memory_bytes;
    let long = json!("x".repeat(600 << 10));
    let mut second = pin!(call(&app, "echo", long.clone()));
    assert!(poll_once(second.as_mut()).is_pending());
    assert!(app.metrics().memory_bytes >= before + (600 << 10));
    assert_eq!(call(&app, "echo", long.clone()).await, Err(code::TOO_LARGE), "no room for a second one");
    parked.let_go(1);
    in_time(first).await.unwrap().unwrap();
}

/// The embedder's own fault must not leave an instance that neither runs nor ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_panics_ends_its_instance_and_nobody_elses() {
    let bridge = Bridge::new("host.bad")
        .immediate("bad.now", |_, _: Value| -> Result<(), RpcError> { panic!("a mistake") })
        .method("bad.later", |_, _: Value| async {
            tokio::task::yield_now().await;
            if true {
                panic!("a mistake");
            }
            Ok::<_, RpcError>(())
        });
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let neighbour = host.run(&Package { app_id: "com.example.neighbour".into(), ..Package::default() }).await;
    host.install(Package::with(&["host.bad"]).signed()).await.unwrap();
    for method in ["0bad.now", "0bad.later"] {
        let app = host.launch(APP, "ann").await.unwrap();
        let calling = tokio::spawn({
            let app = app.clone();
            async move { app.call::<Value>(method, &json!({})).await }
        });
        let reason = in_time(app.stopped()).await;
        assert!(matches!(&reason, StopReason::Crashed { method: m, .. } if m == method), "{reason:?}");
        // The caller is told, or gets the panic where it happened on its own thread.
        assert!(in_time(calling).await.is_err() || app.state() == State::Error);
    }
    assert_eq!(call(&neighbour, "echo", json!([1])).await, Ok(json!([1])));
    assert_eq!(host.instances().len(), 1);
}

/// Errors are for people to read; a guest that makes them long gets no more memory of its host's for it.
#[tokio::test]
async fn errors_are_cut() {
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["clock"])).await;
    let name = format!("0{}", "\u{1}".repeat(500_000));
    let error = app.call::<Value>(&name, &json!({})).await;
    // The guest passes the host's answer on, which names what was asked for.
    let error = error.unwrap_err().into_rpc();
    assert_eq!(error.code, code::METHOD_NOT_FOUND);
    assert!(error.message.len() < 8 << 10, "{} bytes", error.message.len());
}
