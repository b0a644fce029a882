//! Shows that hostile apps on a host with an embedder's own bridges are kept apart.
//!
//! [`Isolation`] builds hosts as the embedder does, puts hostile apps of several publishers and users side by side in
//! them, and looks at three things:
//!
//! - **Data**: nobody is told, asked or not, what another app or user has written; nobody can name it, change it or
//!   take it away. A permission that one has is not another's.
//! - **Gate**: every method that an app can reach is refused, on every transport, until its own permission is granted.
//! - **Fairness**: with a neighbour that spins, grows, floods, hammers every bridge and is killed all the time, an app is answered as it is
//!   alone. How long it takes is measured and reported; what fails is never a time.
//!
//! The apps are real ones, signed, with a component that is written by hand: no guest toolchain is needed.

mod data;
mod fairness;
mod gate;
mod party;
#[allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared with the runtime's own tests, which use all of it"
)]
#[path = "../../common/puppet.rs"]
mod puppet;
mod report;

use miniapp_runtime::{CallError, DataError, HostBuilder, HostError, InstallError, LaunchError};
use serde_json::{Value, json};

pub use report::{Attack, Distribution, Finding, Method, Party, Pressure, Report, Transport};

/// In parameters: a name of the caller's own, such as a key; in those of [`Isolation::attack`], another's.
pub const NAME: &str = "$name";
/// In parameters: what nobody but the caller may ever see.
pub const SECRET: &str = "$secret";
/// The same as base64, for methods that take bytes.
pub const SECRET_BASE64: &str = "$secret_base64";

/// Why nothing could be said about a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The host was not built.
    #[error("The host cannot be built: {0}")]
    Host(#[from] HostError),
    /// Its folder failed.
    #[error("A folder for the host cannot be made: {0}.")]
    Folder(#[from] std::io::Error),
    /// An app of the kit's was not installed.
    #[error("An app of the kit cannot be installed: {0}")]
    Install(#[from] InstallError),
    /// An app of the kit's was not launched.
    #[error("An app of the kit cannot be launched: {0}")]
    Launch(#[from] LaunchError),
    /// An app of the kit's did not answer, on a host with nobody else.
    #[error("An app of the kit does not answer: {0}")]
    Call(#[from] CallError),
    /// A decision on a permission could not be recorded.
    #[error("A permission cannot be decided on: {0}")]
    Data(#[from] DataError),
    /// The kit itself is wrong.
    #[error("The kit cannot make its apps: {0}.")]
    Kit(String),
}

/// A call, with placeholders in its parameters.
#[derive(Debug, Clone)]
struct Sample {
    method: String,
    params: Value,
}

impl Sample {
    fn new(method: &str, params: Value) -> Self {
        Self { method: method.to_owned(), params }
    }
}

/// A check of a host's isolation; made from how the embedder builds its host.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
///
/// use miniapp_isolation::{Isolation, SECRET};
/// use miniapp_runtime::{Bridge, Caller, rpc::RpcError};
/// use serde_json::{Value, json};
///
/// // A bridge that keeps notes, of each user's app by itself.
/// fn notes() -> Bridge {
///     let notes = Arc::new(Mutex::new(HashMap::<(String, String), Vec<Value>>::new()));
///     let of = |caller: &Caller| (caller.app_id().to_owned(), caller.user().to_owned());
///     let (adding, listing) = (notes.clone(), notes);
///     Bridge::new("host.notes")
///         .immediate("notes.add", move |caller, note: Value| {
///             adding.lock().unwrap().entry(of(caller)).or_default().push(note);
///             Ok::<_, RpcError>(())
///         })
///         .immediate("notes.list", move |caller, _: Value| {
///             Ok::<_, RpcError>(listing.lock().unwrap().get(&of(caller)).cloned())
///         })
/// }
///
/// let report = Isolation::new(|host| host.bridge(notes()))
///     .call("notes.add", json!({ "text": SECRET }))
///     .call("notes.list", json!({}))
///     .data()
///     .await
///     .unwrap();
/// assert!(report.holds(), "{report}");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Isolation<B> {
    build: B,
    calls: Vec<Sample>,
    attacks: Vec<Sample>,
}

impl<B: Fn(HostBuilder) -> HostBuilder> Isolation<B> {
    /// `build` adds bridges, a policy and so on, anew for each host. Permissions are the kit's to decide on; it adds its
    /// own publishers to those that are trusted, and a bridge `host.isolation` that tells it what its apps hear.
    pub fn new(build: B) -> Self {
        Self { build, calls: own_calls(), attacks: attacks() }
    }

    /// A call that each app makes for itself, writing or reading, in this order and after those to the built-in bridges.
    /// [`NAME`], [`SECRET`] and [`SECRET_BASE64`] stand for what is the caller's own.
    ///
    /// A method that no call is given for is still shown to be gated, but not to keep data apart:
    /// [`Report::methods`] tells which.
    #[must_use]
    pub fn call(mut self, method: &str, params: Value) -> Self {
        self.calls.push(Sample::new(method, params));
        self
    }

    /// A call by which an app tries to get at what is another's, or to take it away: [`NAME`] is the other's, the
    /// secrets are the caller's.
    #[must_use]
    pub fn attack(mut self, method: &str, params: Value) -> Self {
        self.attacks.push(Sample::new(method, params));
        self
    }

    /// Everything: [`data`](Self::data), [`gate`](Self::gate) and [`fairness`](Self::fairness). Takes about a
    /// minute.
    ///
    /// # Errors
    /// [`Error`], if nothing can be said.
    pub async fn check(&self) -> Result<Report, Error> {
        let mut report = self.data().await?;
        let Report { methods: _, findings, pressures } = self.gate().await?.and(self.fairness().await?);
        report.findings.extend(findings);
        report.pressures = pressures;
        Ok(report)
    }

    /// Whether anybody is told, can name, change or take away what is another's.
    ///
    /// # Errors
    /// [`Error`], if nothing can be said.
    pub async fn data(&self) -> Result<Report, Error> {
        data::check(self).await
    }

    /// Whether every method is behind its permission, on every transport.
    ///
    /// # Errors
    /// [`Error`], if nothing can be said.
    pub async fn gate(&self) -> Result<Report, Error> {
        gate::check(self).await
    }

    /// Whether an app is served while another one does its worst, and how long that takes.
    ///
    /// # Errors
    /// [`Error`], if nothing can be said.
    pub async fn fairness(&self) -> Result<Report, Error> {
        fairness::check(self).await
    }
}

/// What each app does for itself with the bridges that every host has.
fn own_calls() -> Vec<Sample> {
    [
        ("storage.watch", json!({ "prefix": "" })),
        ("storage.set", json!({ "key": NAME, "value": SECRET })),
        ("storage.transaction", json!({ "ops": [{ "set": { "key": "both", "value": SECRET } }] })),
        ("storage.get", json!({ "key": NAME })),
        ("storage.get", json!({ "key": "both" })),
        ("storage.list", json!({})),
        ("storage.usage", json!({})),
        ("files.write", json!({ "path": NAME, "base64": SECRET_BASE64 })),
        ("files.write", json!({ "path": "both/same", "base64": SECRET_BASE64 })),
        ("files.read", json!({ "path": NAME })),
        ("files.read", json!({ "path": "both/same" })),
        ("files.stat", json!({ "path": NAME })),
        ("files.list", json!({})),
        ("files.usage", json!({})),
        ("timers.set", json!({ "id": NAME, "after_ms": 86_400_000 })),
        ("timers.list", json!({})),
        ("events.subscribe", json!({ "topic": data::TOPIC })),
        ("events.publish", json!({ "topic": data::TOPIC, "data": SECRET })),
        ("user.profile", json!({})),
        ("clock.now", json!({})),
        ("random.bytes", json!({ "length": 8 })),
        ("log.write", json!({ "level": "debug", "message": SECRET })),
    ]
    .map(|(method, params)| Sample::new(method, params))
    .into()
}

/// What each app tries with another's name.
fn attacks() -> Vec<Sample> {
    [
        ("storage.get", json!({ "key": NAME })),
        ("storage.list", json!({ "prefix": NAME })),
        ("storage.list", json!({ "after": "", "limit": 1000 })),
        ("storage.set", json!({ "key": NAME, "value": SECRET })),
        ("storage.set", json!({ "key": "both", "value": SECRET })),
        ("storage.delete", json!({ "key": NAME })),
        ("storage.clear", json!({})),
        ("storage.unwatch", json!({ "prefix": "" })),
        ("files.read", json!({ "path": NAME })),
        ("files.read", json!({ "path": format!("../{NAME}") })),
        ("files.write", json!({ "path": NAME, "base64": SECRET_BASE64 })),
        ("files.delete", json!({ "path": NAME })),
        ("files.delete", json!({ "path": "both/same" })),
        ("files.stat", json!({ "path": format!("../../{NAME}") })),
        ("timers.clear", json!({ "id": NAME })),
        ("timers.set", json!({ "id": NAME, "after_ms": 86_400_000 })),
        ("events.unsubscribe", json!({ "topic": data::TOPIC })),
        ("events.subscribe", json!({ "topic": data::TOPIC })),
        ("network.read", json!({ "stream": 1 })),
        ("network.close", json!({ "stream": 1 })),
    ]
    .map(|(method, params)| Sample::new(method, params))
    .into()
}
