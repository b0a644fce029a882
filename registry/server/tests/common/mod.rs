//! What the registry's tests share: a registry in a folder of its own, people with tokens, and signed packages.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mpkg_fleet::{Fleet, FleetHead, SignedDocument, StreamEvent};
use mpkg_package::{PublisherId, Root, RootChain, RootFile, SecretKey, Time, Trust, container, sign};
use mpkg_registry::{Config, Opened, Registry, Role, Running, TokenView, serve};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const APP: &str = "org.example.app";

pub struct TestRegistry {
    pub registry: Arc<Registry>,
    pub folder: TempDir,
    pub base: String,
    pub admin: String,
    pub http: reqwest::Client,
    running: Option<Running>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub etag: Option<String>,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("{self:?}"))
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(self.status.is_success(), "{} {}", self.status, String::from_utf8_lossy(&self.bytes));
        self
    }

    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        let text = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status.as_u16(), status, "{text}");
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{text}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
}

pub async fn read(request: RequestBuilder) -> Got {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let etag = headers.get("etag").map(|etag| etag.to_str().unwrap().to_owned());
    Got { status, etag, headers, bytes: response.bytes().await.unwrap().to_vec() }
}

/// Another idempotency key each time.
pub fn fresh() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("key-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn config(folder: &std::path::Path) -> Config {
    let hour = Duration::from_secs(3_600);
    Config {
        listen: ([127, 0, 0, 1], 0).into(),
        requests_per_second: 100_000,
        // What happens by itself every so often, tests do when they want it.
        sign_every: hour,
        gates_every: hour,
        heartbeat_every: hour,
        ..Config::new(folder)
    }
}

/// Requests without the client, for what it would never send.
fn http() -> reqwest::Client {
    // Somebody else may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub async fn start() -> TestRegistry {
    start_with(|config| config).await
}

pub async fn start_with(settings: impl FnOnce(Config) -> Config) -> TestRegistry {
    let folder = tempfile::tempdir().unwrap();
    let Opened { registry, first_token } = Registry::open(settings(config(folder.path()))).await.unwrap();
    let running = serve(Arc::clone(&registry)).await.unwrap();
    TestRegistry {
        registry,
        folder,
        base: format!("http://{}", running.address),
        admin: first_token.unwrap(),
        http: http(),
        running: Some(running),
    }
}

impl TestRegistry {
    pub async fn stop(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    /// Stops, and starts again in the same folder.
    pub async fn restart(self) -> Self {
        self.restart_with(|config| config).await
    }

    pub async fn restart_with(mut self, settings: impl FnOnce(Config) -> Config) -> Self {
        self.stop().await;
        self.started_with(settings).await
    }

    /// Starts again in the same folder, once it was stopped.
    pub async fn started(self) -> Self {
        self.started_with(|config| config).await
    }

    /// What is left of one that was stopped.
    pub fn closed(self) -> TempDir {
        self.folder
    }

    async fn started_with(self, settings: impl FnOnce(Config) -> Config) -> Self {
        let Self { folder, admin, http, registry, .. } = self;
        drop(registry);
        let Opened { registry, first_token } = Registry::open(settings(config(folder.path()))).await.unwrap();
        assert_eq!(first_token, None);
        let running = serve(Arc::clone(&registry)).await.unwrap();
        let base = format!("http://{}", running.address);
        Self { registry, folder, base, admin, http, running: Some(running) }
    }

    pub fn request(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(token)
    }

    pub async fn get(&self, token: &str, path: &str) -> Got {
        read(self.request(token, Method::GET, path)).await
    }

    /// A change with a fresh key.
    pub async fn post(&self, token: &str, path: &str, body: &Value) -> Got {
        let request = self.request(token, Method::POST, path).header("idempotency-key", fresh());
        read(request.body(body.to_string())).await
    }

    /// A change at a version.
    pub async fn go(&self, token: &str, path: &str, etag: &str, body: &Value) -> Got {
        let request = self.request(token, Method::POST, path).header("idempotency-key", fresh());
        read(request.header("if-match", etag).body(body.to_string())).await
    }

    pub async fn token(&self, role: Role) -> String {
        self.token_of(&format!("a {role}"), &[role]).await
    }

    pub async fn token_of(&self, owner: &str, roles: &[Role]) -> String {
        self.scoped(owner, roles, &[], &[]).await
    }

    pub async fn scoped(
        &self,
        owner: &str,
        roles: &[Role],
        apps: &[&str],
        publishers: &[PublisherId],
    ) -> String {
        let body = json!({ "owner": owner, "roles": roles, "apps": apps, "publishers": publishers });
        let made = self.post(&self.admin, "/v1/tokens", &body).await.ok().json();
        made["secret"].as_str().unwrap().to_owned()
    }

    /// Many hosts at once, without a request for each.
    pub async fn host(&self, owner: &str) -> String {
        let view = TokenView {
            id: String::new(),
            owner: owner.into(),
            roles: [Role::Host].into(),
            apps: Default::default(),
            publishers: Default::default(),
            created: Time::from_unix(1_767_225_600).unwrap(),
            created_by: "test".into(),
            expires: None,
            revoked: None,
        };
        self.registry.make_token(view).await.unwrap()
    }

    pub async fn put_roots(&self, chain: &RootChain) -> Got {
        let path = format!("/v1/publishers/{}/roots", chain.publisher());
        let request = self.request(&self.admin, Method::PUT, &path).header("idempotency-key", fresh());
        read(request.body(RootFile::new(chain.clone()).to_bytes())).await
    }

    /// Registers key 1's publisher and claims the app for it.
    pub async fn claim(&self) {
        let chain = chain(1);
        self.put_roots(&chain).await.ok();
        let body = json!({ "app_id": APP, "publisher": chain.publisher() });
        self.post(&self.admin, "/v1/apps", &body).await.ok();
    }

    pub async fn upload(&self, token: &str, app: &str, package: Vec<u8>) -> Got {
        let path = format!("/v1/apps/{app}/releases");
        let request = self.request(token, Method::POST, &path).header("idempotency-key", fresh());
        read(request.body(package)).await
    }

    pub async fn publish(&self, code: u64) -> Value {
        self.upload(&self.admin, APP, Package::new(code).signed()).await.ok().json()
    }

    /// A rollout of a release, running on its first step.
    pub async fn roll_out(&self, body: &Value) -> (i64, String) {
        let draft = self.post(&self.admin, &format!("/v1/apps/{APP}/rollouts"), body).await.ok();
        let id = draft.json()["id"].as_i64().unwrap();
        let path = format!("/v1/rollouts/{id}/start");
        let started = self.go(&self.admin, &path, &draft.etag.unwrap(), &json!({})).await.ok();
        (id, started.etag.unwrap())
    }

    /// A release rolled out to everybody.
    pub async fn everywhere(&self, release_seq: u64) -> i64 {
        let plan = json!([{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
        let (id, etag) = self.roll_out(&json!({ "release_seq": release_seq, "plan": plan })).await;
        self.go(&self.admin, &format!("/v1/rollouts/{id}/complete"), &etag, &json!({})).await.ok();
        id
    }

    /// A host that pins this registry.
    pub fn fleet(&self) -> Fleet {
        Fleet::new(Trust::publisher(self.registry.id()))
    }

    pub async fn head(&self) -> FleetHead {
        let got = self.get(&self.admin, "/v1/state/head").await.ok();
        let signed = SignedDocument::<FleetHead>::parse(&got.bytes).unwrap();
        signed.verify(self.registry.roots().last()).unwrap();
        signed.document().clone()
    }

    pub async fn state(&self) -> mpkg_fleet::AppState {
        let got = self.get(&self.admin, &format!("/v1/state/apps/{APP}")).await.ok();
        let signed = SignedDocument::<mpkg_fleet::AppState>::parse(&got.bytes).unwrap();
        signed.verify(self.registry.roots().last()).unwrap();
        signed.document().clone()
    }

    /// A unit that the app's rollout has not reached. Each has a salt of its own, so a fixed name is in the first five
    /// percent once in twenty runs.
    pub async fn unreached(&self) -> String {
        let state = self.state().await;
        let bucket = |unit: &String| mpkg_fleet::bucket_of(state.salt.as_str(), unit);
        let mut units = (0..1_000).map(|number| format!("unit-{number}"));
        units.find(|unit| bucket(unit) >= u32::from(state.percent.get())).expect("somebody is not reached")
    }

    pub async fn stream(&self, last: Option<&str>) -> Events {
        self.stream_of(&self.admin, last).await
    }

    pub async fn stream_of(&self, token: &str, last: Option<&str>) -> Events {
        let mut request = self.request(token, Method::GET, "/v1/stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Events { response: request.send().await.unwrap(), buffer: String::new() }
    }
}

/// Server-sent events as they come.
pub struct Events {
    response: reqwest::Response,
    buffer: String,
}

impl Events {
    /// The next event; none at the end.
    pub async fn next(&mut self) -> Option<(Option<String>, StreamEvent)> {
        loop {
            if let Some(end) = self.buffer.find("\n\n") {
                let event: String = self.buffer.drain(..end + 2).collect();
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let data = field("data: ").unwrap();
                return Some((field("id: "), serde_json::from_str(&data).unwrap()));
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk()).await;
            let chunk = chunk.expect("an event in a minute").ok()??;
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub fn chain(seed: u8) -> RootChain {
    RootChain::first(Root::single(&key(seed).public())).unwrap()
}

/// A package to be.
pub struct Package {
    pub app: String,
    pub code: u64,
    pub seed: u8,
    pub name: String,
    /// Bytes of a file of no use.
    pub filler: usize,
    /// Bytes of another one, which do not compress.
    pub noise: usize,
    /// Which ones.
    pub seed_of_noise: u64,
}

impl Package {
    pub fn new(code: u64) -> Self {
        Self {
            app: APP.into(),
            code,
            seed: 1,
            name: "Stock Alert".into(),
            filler: 0,
            noise: 0,
            seed_of_noise: 1,
        }
    }

    pub fn unsigned(&self) -> Vec<u8> {
        let component =
            wat::parse_str(r#"(component (instance $app) (export "mpkg:bridge/app@1.0.0" (instance $app)))"#)
                .unwrap();
        let manifest = json!({
            "app_id": self.app,
            "name": self.name,
            "icons": [{ "src": "icon.svg" }],
            "pages": ["pages/main"],
            "platform_version": { "min_code": 1 },
            "version": { "code": self.code, "name": format!("1.0.{}", self.code) },
            "mpkg": { "component": "app.wasm", "abi": 1 },
        });
        let manifest = manifest.to_string();
        let filler = vec![7; self.filler];
        let mut files: Vec<(&str, &[u8])> =
            vec![("manifest.json", manifest.as_bytes()), ("app.wasm", &component), ("icon.svg", b"<svg/>")];
        if self.filler > 0 {
            files.push(("filler", &filler));
        }
        let mut state = self.seed_of_noise;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let noise: Vec<u8> = std::iter::repeat_with(next).take(self.noise).collect();
        if self.noise > 0 {
            files.push(("noise", &noise));
        }
        container::write(&files).unwrap()
    }

    pub fn signed(&self) -> Vec<u8> {
        let (unsigned, key) = (self.unsigned(), key(self.seed));
        let root = Root::single(&key.public());
        let created = Time::from_unix(1_767_225_600).unwrap();
        sign(&unsigned, &key, &root, created).unwrap().embed(&unsigned).unwrap()
    }
}
