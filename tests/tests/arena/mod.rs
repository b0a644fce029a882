//! What the tests of hostile guests share: a host with a well-behaved app in it, which is to survive what comes.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod drip;

use std::fs;
use std::time::Duration;

use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{
    CallError, Compiler, Host, HostBuilder, Instance, Limits, Policy, StaticPermissions, StopReason,
};
use mpkg_package::{Root, SecretKey, Time, Trust, container, sign};
use mpkg_tests::workspace::{built, root};
use serde_json::{Value, json};

/// Far more than anything here takes, so that only what never happens is caught.
pub const PATIENCE: Duration = Duration::from_secs(120);

fn key() -> SecretKey {
    SecretKey::from_seed(&[9; 32])
}

/// Signs a hostile example: one built by `mpkg build`, or one written by hand as text.
pub fn package(name: &str) -> Vec<u8> {
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

pub struct Arena {
    _folder: tempfile::TempDir,
    pub host: Host,
    pub neighbour: Instance,
    /// What the host counts while there is nobody but the neighbour.
    quiet: u64,
}

/// The limits of a phone, but for an attack by computing that is over sooner; where guests are interpreted, what is none
/// takes ten times as long.
pub fn policy() -> Policy {
    let interpreted = Compiler::from_environment().unwrap() == Compiler::Pulley;
    let cpu_per_call = Duration::from_millis(if interpreted { 5000 } else { 500 });
    let limits = Limits { cpu_per_call, ..Limits::PHONE };
    Policy { limits, ..Policy::default() }
}

pub async fn arena() -> Arena {
    arena_with(|builder| builder).await
}

pub async fn arena_with(settings: impl FnOnce(HostBuilder) -> HostBuilder) -> Arena {
    let folder = tempfile::tempdir().unwrap();
    let builder = Host::builder(folder.path())
        .policy(policy())
        .compiler(Compiler::from_environment().unwrap())
        .trust(Trust::key(&key().public()))
        .permissions(StaticPermissions::allow_all());
    let host = settings(builder).build().unwrap();
    let app = host.install(package("panic")).await.unwrap();
    let neighbour = host.launch(&app.app_id, "neighbour").await.unwrap();
    let arena = Arena { _folder: folder, host, neighbour, quiet: 0 };
    arena.neighbour_answers("the start").await;
    Arena { quiet: arena.host.snapshot().memory_bytes, ..arena }
}

impl Arena {
    pub async fn launch(&self, name: &str) -> Instance {
        self.launch_for(name, "ann").await
    }

    pub async fn launch_for(&self, name: &str, user: &str) -> Instance {
        let app = self.host.install(package(name)).await.unwrap();
        let instance = self.host.launch(&app.app_id, user).await.unwrap();
        assert_eq!(instance.call::<String>("ping", &json!({})).await.unwrap(), "pong");
        instance
    }

    pub async fn neighbour_answers(&self, after: &str) {
        assert_eq!(self.neighbour.call::<String>("ping", &json!({})).await.unwrap(), "pong", "after {after}");
    }

    /// What became of a call; the neighbour answers afterwards in any case.
    pub async fn attack(&self, instance: &Instance, method: &str, params: Value) -> Result<Value, CallError> {
        let outcome = tokio::time::timeout(PATIENCE, instance.call(method, &params)).await.unwrap();
        self.neighbour_answers(method).await;
        outcome
    }

    /// An attack that the app survives, with the host's error.
    pub async fn refused(&self, instance: &Instance, method: &str, params: Value) -> RpcError {
        match self.attack(instance, method, params).await {
            Err(CallError::Rpc(error)) => error,
            other => panic!("{method}: {other:?}"),
        }
    }

    /// Why an attack ended its app, which left nothing behind.
    pub async fn ends(&self, instance: Instance, method: &str, params: Value) -> StopReason {
        let error = self.attack(&instance, method, params).await.unwrap_err();
        let CallError::Stopped { reason, .. } = error else { panic!("{method}: {error}") };
        assert_eq!(instance.stopped().await, reason);
        self.nothing_is_left(method);
        reason
    }

    /// The same of the attack that each guest has.
    pub async fn stopped(&self, name: &str) -> StopReason {
        let instance = self.launch(name).await;
        self.ends(instance, "attack", json!({})).await
    }

    /// Kills an app that survived; nothing of it is left then.
    pub async fn clear(&self, instance: Instance) {
        assert!(instance.kill("test"));
        tokio::time::timeout(PATIENCE, instance.stopped()).await.unwrap();
        self.nothing_is_left(instance.app_id());
        self.neighbour_answers(instance.app_id()).await;
    }

    /// Nobody but the neighbour lives, and the host counts what it counted before.
    pub fn nothing_is_left(&self, by: &str) {
        assert_eq!(self.host.instances().len(), 1, "{by} left an instance behind");
        assert_eq!(self.host.snapshot().memory_bytes, self.quiet, "{by} left memory behind");
    }
}
