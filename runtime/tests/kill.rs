//! A kill ends an instance whatever it is doing.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{APP, Package, call, host, host_with};
use futures_util::FutureExt;
use miniapp_runtime::{
    Bridge, CallError, Compiler, Limits, Notification, Policy, StaticPermissions, StopReason, rpc::RpcError,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A kill has this long: far more than it takes, so that only a kill that does not work is caught.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host whose `host.wait` bridge parks every call for good, and tells when one has arrived and when one is dropped.
struct Parking {
    host: common::TestHost,
    arrived: Arc<Notify>,
    left: Arc<Notify>,
}

/// No limit that a call could meet here.
fn patient() -> Policy {
    let long = Duration::from_secs(600);
    let limits = Limits { cpu_per_call: long, cpu_per_second: long, wall_per_call: long, ..Limits::PHONE };
    Policy { limits, ceilings: limits, ..Policy::default() }
}

fn parking() -> Parking {
    struct Leave(Arc<Notify>);
    impl Drop for Leave {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (arrived, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (a, l) = (arrived.clone(), left.clone());
    let bridge = Bridge::new("host.wait").method("wait.forever", move |_, _: Value| {
        let (arrived, leave) = (a.clone(), Leave(l.clone()));
        async move {
            arrived.notify_one();
            std::future::pending::<()>().await;
            drop(leave);
            Ok::<_, RpcError>(())
        }
    });
    let host = host_with(|b| b.policy(patient()).bridge(bridge).permissions(StaticPermissions::allow_all()));
    Parking { host, arrived, left }
}

async fn killed(call: tokio::task::JoinHandle<Result<Value, CallError>>) {
    let error =
        tokio::time::timeout(PATIENCE, call).await.expect("the kill did not work").unwrap().unwrap_err();
    assert!(
        matches!(&error, CallError::Stopped { reason: StopReason::Killed { why }, .. } if why == "test"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spinning() {
    // Each makes code with checks of its own.
    for compiler in [Compiler::Winch, Compiler::Cranelift, Compiler::Pulley] {
        let host = host_with(|b| b.policy(patient()).compiler(compiler));
        let app = host.run(&Package::default()).await;
        let spinning = tokio::spawn({
            let app = app.clone();
            async move { app.call("spin", &json!({})).await }
        });
        // Until the guest is inside, a second call cannot be told to wait for its turn.
        while app.metrics().memory_bytes == 0 || !spinning_now(&app).await {
            tokio::task::yield_now().await;
        }
        assert!(app.kill("test"));
        killed(spinning).await;
        assert_eq!(host.instances().len(), 0);
    }
}

/// Where the host's own code waits for a guest, not one of its bridges.
#[tokio::test]
async fn parked_in_wasi() {
    let host = host_with(|b| b.policy(patient()));
    let component = wat::parse_str(common::puppet::dozing()).unwrap();
    let app = host.run(&Package { component, ..Package::default() }).await;
    let parked = app.clone();
    let mut parked = Box::pin(async move { parked.call("doze", &json!({})).await });
    // The guest runs until it has to wait.
    assert!(parked.as_mut().now_or_never().is_none());
    assert!(app.kill("test"));
    killed(tokio::spawn(parked)).await;
    tokio::time::timeout(PATIENCE, app.stopped()).await.expect("the guest is still there");
}

/// True once a call is inside the guest: the message it brought is charged.
async fn spinning_now(app: &miniapp_runtime::Instance) -> bool {
    !app.metrics().memory_bytes.is_multiple_of(65536)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_in_a_host_call() {
    let Parking { host, arrived, left } = parking();
    let app = host.run(&Package::with(&["host.wait"])).await;
    let parked = tokio::spawn({
        let app = app.clone();
        async move { app.call("0wait.forever", &json!({})).await }
    });
    arrived.notified().await;
    assert!(app.kill("test"));
    killed(parked).await;
    tokio::time::timeout(PATIENCE, left.notified()).await.expect("the host function was not dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_and_out_of_time() {
    let bridge = Bridge::new("host.wait").method("wait.forever", |_, _: Value| async {
        std::future::pending::<()>().await;
        Ok::<_, RpcError>(())
    });
    let wall = Duration::from_millis(50);
    let limits = Limits { wall_per_call: wall, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.wait"])).await;
    let error = app.call::<Value>("0wait.forever", &json!({})).await.unwrap_err();
    let CallError::Stopped { reason, .. } = error else { panic!("{error}") };
    assert_eq!(reason, StopReason::Wall { method: "0wait.forever".into(), limit: wall });
}

#[tokio::test]
async fn idle() {
    let host = host();
    let app = host.run(&Package::default()).await;
    let mut notifications = app.notifications();
    assert!(app.kill("test"));
    assert!(!app.kill("again"));
    assert_eq!(app.stopped().await, StopReason::Killed { why: "test".into() });
    let last = notifications.recv().await.unwrap();
    assert!(matches!(&*last, Notification::Stopped { reason: StopReason::Killed { .. } }));
}

#[tokio::test]
async fn by_app_for_all_its_users_and_nobody_else() {
    let host = host();
    let ann = host.run(&Package::default()).await;
    let bob = host.launch(APP, "bob").await.unwrap();
    let other = host.run(&Package { app_id: "com.example.other".into(), ..Package::default() }).await;
    assert_eq!(host.kill(APP, "bad release"), 2);
    assert!(ann.stop_reason().is_some() && bob.stop_reason().is_some());
    assert_eq!(call(&other, "echo", json!(1)).await, Ok(json!(1)));
}

/// A caller that goes away leaves the guest to finish, not in the middle of something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_call_is_no_kill() {
    let gate = Arc::new(Notify::new());
    let (arrived, for_bridge, for_arrival) = (Arc::new(Notify::new()), gate.clone(), Arc::new(Notify::new()));
    let at = for_arrival.clone();
    let bridge = Bridge::new("host.wait").method("wait.once", move |_, _: Value| {
        let (gate, at) = (for_bridge.clone(), at.clone());
        async move {
            at.notify_one();
            gate.notified().await;
            Ok::<_, RpcError>("done")
        }
    });
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.wait"])).await;
    let waiting = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("0wait.once", &json!({})).await }
    });
    for_arrival.notified().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    gate.notify_one();
    assert_eq!(call(&app, "echo", json!("next")).await, Ok(json!("next")));
    drop(arrived);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_ends_everything() {
    let Parking { host, arrived, .. } = parking();
    let app = host.run(&Package::with(&["host.wait"])).await;
    let parked = tokio::spawn({
        let app = app.clone();
        async move { app.call::<Value>("0wait.forever", &json!({})).await }
    });
    arrived.notified().await;
    host.shutdown();
    let error = parked.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "MPKG-H22");
}
