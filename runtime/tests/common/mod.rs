//! What the runtime's tests share: a signed package around a hand-written guest, and a host that trusts its key.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod fleet;
pub mod listener;
pub mod loud;
pub mod parked;
pub mod puppet;

use miniapp_runtime::{Compiler, Host, HostBuilder, Instance, StaticPermissions};
use mpkg_package::{Root, SecretKey, Time, Trust, container, sign};
use serde_json::{Value, json};

pub const APP: &str = "com.example.puppet";

/// A package to be; the fields are what tests vary.
pub struct Package {
    pub app_id: String,
    pub code: u64,
    pub permissions: Vec<&'static str>,
    pub optional: Vec<&'static str>,
    pub mpkg: Value,
    pub component: Vec<u8>,
    pub seed: u8,
}

impl Default for Package {
    fn default() -> Self {
        Self {
            app_id: APP.into(),
            code: 1,
            permissions: vec![],
            optional: vec![],
            mpkg: json!({}),
            component: wat(&[]),
            seed: 1,
        }
    }
}

/// The hand-written guest with these interfaces, as bytes.
pub fn wat(interfaces: &[&str]) -> Vec<u8> {
    wat::parse_str(puppet::component(interfaces)).unwrap()
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

impl Package {
    /// A guest that imports what these permissions open, in their order; all optional unless `required` is called.
    pub fn with(permissions: &[&'static str]) -> Self {
        let interfaces: Vec<_> =
            permissions.iter().map(|p| mpkg_manifest::permission::interface_for(p).unwrap()).collect();
        let mut interfaces_once = interfaces.clone();
        interfaces_once.dedup();
        let declared: Vec<_> = permissions
            .iter()
            .copied()
            .filter(|p| !mpkg_manifest::permission::by_name(p).is_some_and(|spec| spec.free))
            .collect();
        Self {
            permissions: declared.clone(),
            optional: declared,
            component: wat(&interfaces_once),
            ..Self::default()
        }
    }

    pub fn required(mut self) -> Self {
        self.optional.clear();
        self
    }

    pub fn unsigned(&self) -> Vec<u8> {
        let mut mpkg = json!({ "component": "app.wasm", "abi": 1 });
        if !self.optional.is_empty() {
            mpkg["optional_permissions"] = json!(self.optional);
        }
        mpkg.as_object_mut().unwrap().extend(self.mpkg.as_object().unwrap().clone());
        let wanted: Vec<_> =
            self.permissions.iter().map(|p| json!({ "name": p, "reason": "A test needs it." })).collect();
        let manifest = json!({
            "app_id": self.app_id,
            "name": "Puppet",
            "icons": [{ "src": "icon.svg" }],
            "pages": ["pages/main"],
            "platform_version": { "min_code": 1 },
            "version": { "code": self.code, "name": "1.0.0" },
            "req_permissions": wanted,
            "mpkg": mpkg,
        });
        container::write(&[
            ("manifest.json", manifest.to_string().as_bytes()),
            ("app.wasm", &self.component),
            ("icon.svg", b"<svg/>"),
        ])
        .unwrap()
    }

    pub fn signed(&self) -> Vec<u8> {
        let (unsigned, key) = (self.unsigned(), key(self.seed));
        let root = Root::single(&key.public());
        let created = Time::from_unix(1_767_225_600).unwrap();
        sign(&unsigned, &key, &root, created).unwrap().embed(&unsigned).unwrap()
    }
}

/// A host in a folder of its own that trusts key 1.
pub struct TestHost {
    pub folder: tempfile::TempDir,
    pub host: Host,
}

impl std::ops::Deref for TestHost {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

pub fn host() -> TestHost {
    host_with(|builder| builder.permissions(StaticPermissions::allow_all()))
}

pub fn host_with(settings: impl FnOnce(HostBuilder) -> HostBuilder) -> TestHost {
    let folder = tempfile::tempdir().unwrap();
    let host = settings(builder(folder.path())).build().unwrap();
    TestHost { folder, host }
}

pub fn builder(folder: &std::path::Path) -> HostBuilder {
    let compiler = Compiler::from_environment().unwrap();
    Host::builder(folder).compiler(compiler).trust(Trust::key(&key(1).public()))
}

/// The compiler that the environment names, or else the one that compiles once and for all.
pub fn one_compiler() -> Compiler {
    match std::env::var("MPKG_ENGINE") {
        Ok(name) if name != "tiered" => name.parse().unwrap(),
        _ => "cranelift".parse().unwrap(),
    }
}

impl TestHost {
    pub async fn run(&self, package: &Package) -> Instance {
        self.host.install(package.signed()).await.unwrap();
        self.host.launch(&package.app_id, "ann").await.unwrap()
    }
}

/// Calls a method with raw JSON and gives the raw answer, or the error's code.
pub async fn call(instance: &Instance, method: &str, params: Value) -> Result<Value, i32> {
    match instance.call::<Value>(method, &params).await {
        Ok(value) => Ok(value),
        Err(error) => Err(error.into_rpc().code),
    }
}

/// Compiles that have come to their end.
pub fn compiled(host: &Host) -> u64 {
    let metrics = host.open_metrics();
    let total = metrics.lines().find_map(|line| line.strip_prefix("miniapp_compiles_total "));
    total.unwrap().parse().unwrap()
}
