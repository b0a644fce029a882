//! The hostile examples, as real components in a real host: each is stopped with its reason, and nobody else notices.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::time::Duration;

use miniapp_runtime::rpc::code;
use miniapp_runtime::{CallError, Host, Instance, Limits, PAGE, Policy, StaticPermissions, StopReason};
use mpkg_package::{Root, SecretKey, Time, Trust, container, sign};
use mpkg_tests::workspace::{built, mpkg, root};
use serde_json::{Value, json};

fn key() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

/// Signs a hostile example: one built by `mpkg build`, or one written by hand as text.
fn package(name: &str) -> Vec<u8> {
    let dir = root().join("examples/hostile").join(name);
    let unsigned = if dir.join("Cargo.toml").exists() {
        fs::read(built(&format!("examples/hostile/{name}")).unwrap()).unwrap()
    } else {
        let component = wat::parse_file(dir.join("component.wat")).unwrap();
        let icon = fs::read(dir.join("assets/icon.svg")).unwrap();
        let manifest = fs::read(dir.join("manifest.json")).unwrap();
        container::write(&[("manifest.json", manifest), ("app.wasm", component), ("assets/icon.svg", icon)])
            .unwrap()
    };
    let root = Root::single(&key().public());
    let created = Time::from_unix(1_767_225_600).unwrap();
    sign(&unsigned, &key(), &root, created).unwrap().embed(&unsigned).unwrap()
}

struct Arena {
    _folder: tempfile::TempDir,
    host: Host,
    neighbour: Instance,
}

/// A host with a well-behaved app in it, which is to survive what comes.
async fn arena() -> Arena {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { cpu_per_call: Duration::from_millis(500), ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = Host::builder(folder.path())
        .policy(policy)
        .trust(Trust::key(&key().public()))
        .permissions(StaticPermissions::allow_all())
        .build()
        .unwrap();
    let app = host.install(package("panic")).await.unwrap();
    let neighbour = host.launch(&app.app_id, "neighbour").await.unwrap();
    Arena { _folder: folder, host, neighbour }
}

impl Arena {
    async fn launch(&self, name: &str) -> Instance {
        let app = self.host.install(package(name)).await.unwrap();
        let instance = self.host.launch(&app.app_id, "ann").await.unwrap();
        assert_eq!(instance.call::<String>("ping", &json!({})).await.unwrap(), "pong");
        instance
    }

    /// What became of a call; the neighbour answers afterwards in any case.
    async fn attack(&self, instance: &Instance, method: &str, params: Value) -> Result<Value, CallError> {
        let outcome = instance.call(method, &params).await;
        assert_eq!(
            self.neighbour.call::<String>("ping", &json!({})).await.unwrap(),
            "pong",
            "after {method}"
        );
        outcome
    }

    async fn stopped(&self, name: &str) -> StopReason {
        let instance = self.launch(name).await;
        let error = self.attack(&instance, "attack", json!({})).await.unwrap_err();
        let CallError::Stopped { reason, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(instance.stopped().await, reason);
        assert_eq!(self.host.instances().len(), 1, "{name} left something behind");
        reason
    }
}

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
    assert_eq!(arena.neighbour.call::<String>("ping", &json!({})).await.unwrap(), "pong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_too_long_in_either_direction() {
    let arena = arena().await;
    let app = arena.launch("huge-message").await;
    let refused = arena.attack(&app, "send", json!({ "bytes": 3 << 20 })).await.unwrap_err();
    let CallError::Rpc(error) = refused else { panic!("{refused}") };
    assert_eq!(error.code, code::TOO_LARGE, "to the host: refused, and the app goes on");
    let refused = arena.attack(&app, "answer", json!({ "bytes": 2 << 20 })).await.unwrap_err();
    assert!(matches!(&refused, CallError::Rpc(error) if error.code == code::TOO_LARGE), "{refused}");
    assert!(app.call::<Value>("answer", &json!({ "bytes": 1000 })).await.is_ok());
    let stopped = arena.attack(&app, "answer", json!({ "bytes": 6 << 20 })).await.unwrap_err();
    assert!(matches!(stopped, CallError::Stopped { reason: StopReason::Message { .. }, .. }), "{stopped}");
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
