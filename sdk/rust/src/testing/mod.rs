//! A host for tests: the bridges, without a sandbox around them.
//!
//! ```
//! use mpkg_sdk::testing::FakeHost;
//! use mpkg_sdk::{Denied, Error, storage};
//!
//! let host = FakeHost::new();
//! storage::set("colour", "green").unwrap();
//! assert_eq!(host.stored("colour"), Some("green".into()));
//!
//! host.deny("storage", Denied::Revoked);
//! let refused = storage::get::<String>("colour").unwrap_err();
//! assert!(matches!(refused, Error::PermissionDenied { reason: Denied::Revoked, .. }));
//! ```
//!
//! One host serves the thread that made it, so that tests do not meet. It answers `log`, `clock`, `random`,
//! `timers`, `storage`, `events`, `notifications`, `clipboard` and `files` by itself; what it does not know, [`FakeHost::on`]
//! teaches it.

mod bridges;
mod launched;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use crate::{Denied, Error, RpcError, log};

pub use launched::Launched;

/// 2026-01-01 00:00:00 UTC: where a fake host's clock stands at first.
pub const START_MS: i64 = 1_767_225_600_000;

type Answer = Rc<dyn Fn(&Value) -> Result<Value, Error>>;

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<State>>>> = const { RefCell::new(None) };
}

/// A message that the app published.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// Where.
    pub topic: String,
    /// What.
    pub data: Value,
}

struct State {
    /// `None` until a manifest says what is declared: everything is.
    declared: Option<BTreeSet<String>>,
    denied: BTreeMap<String, Denied>,
    taught: BTreeMap<String, Answer>,
    calls: Vec<(String, Value)>,
    clock_ms: i64,
    monotonic: Duration,
    random: u64,
    quota_bytes: u64,
    storage: BTreeMap<String, String>,
    logs: Vec<(log::Level, String)>,
    published: Vec<Published>,
    topics: BTreeSet<String>,
    watched: BTreeSet<String>,
    timers: BTreeMap<String, (u64, Option<u64>)>,
    notifications: Vec<(String, String)>,
    clipboard: String,
    files: BTreeMap<String, String>,
}

/// The fake host of this thread, until it is dropped.
pub struct FakeHost {
    state: Rc<RefCell<State>>,
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A host that grants every permission, with empty storage.
    pub fn new() -> Self {
        let state = Rc::new(RefCell::new(State {
            declared: None,
            denied: BTreeMap::new(),
            taught: BTreeMap::new(),
            calls: Vec::new(),
            clock_ms: START_MS,
            monotonic: Duration::ZERO,
            random: 0,
            quota_bytes: 1 << 20,
            storage: BTreeMap::new(),
            logs: Vec::new(),
            published: Vec::new(),
            topics: BTreeSet::new(),
            watched: BTreeSet::new(),
            timers: BTreeMap::new(),
            notifications: Vec::new(),
            clipboard: String::new(),
            files: BTreeMap::new(),
        }));
        CURRENT.set(Some(Rc::clone(&state)));
        Self { state }
    }

    /// A host that knows the app's manifest, so that a permission forgotten in it fails here as it will on a device.
    ///
    /// # Panics
    ///
    /// When the manifest is not JSON, or its permissions are not where they belong.
    #[allow(clippy::expect_used, reason = "a test helper: a test wants to stop here")]
    pub fn with_manifest(manifest: &str) -> Self {
        let manifest: Value = serde_json::from_str(manifest).expect("manifest.json is JSON");
        let host = Self::new();
        let names = match manifest.get("req_permissions") {
            None => BTreeSet::new(),
            Some(list) => list
                .as_array()
                .expect("req_permissions is a list")
                .iter()
                .map(|entry| {
                    let name = entry.get("name").and_then(Value::as_str);
                    name.expect("each of req_permissions has a name").to_owned()
                })
                .collect(),
        };
        let mut state = host.state.borrow_mut();
        state.declared = Some(names);
        if let Some(quota) = manifest.pointer("/mpkg/storage/quota_bytes").and_then(Value::as_u64) {
            state.quota_bytes = quota;
        }
        drop(state);
        host
    }

    /// From now on `permission` is refused.
    pub fn deny(&self, permission: &str, reason: Denied) {
        self.state.borrow_mut().denied.insert(permission.to_owned(), reason);
    }

    /// From now on `permission` is granted again.
    pub fn grant(&self, permission: &str) {
        self.state.borrow_mut().denied.remove(permission);
    }

    /// Answers `method` with `answer` from now on: for bridges that the fake has no idea of (`network.fetch`,
    /// `cart.get`, an embedder's own) or to make one fail. Permissions are checked before.
    pub fn on(&self, method: &str, answer: impl Fn(&Value) -> Result<Value, Error> + 'static) {
        self.state.borrow_mut().taught.insert(method.to_owned(), Rc::new(answer));
    }

    /// Every call that reached the host and was allowed, with its params.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.state.borrow().calls.clone()
    }

    /// Sets the wall clock.
    pub fn set_clock_ms(&self, unix_ms: i64) {
        self.state.borrow_mut().clock_ms = unix_ms;
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.borrow_mut();
        state.clock_ms += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        state.monotonic += by;
    }

    /// Random bytes are the same in every run; another seed gives others.
    pub fn seed(&self, seed: u64) {
        self.state.borrow_mut().random = seed;
    }

    /// How many bytes storage may hold.
    pub fn set_quota(&self, bytes: u64) {
        self.state.borrow_mut().quota_bytes = bytes;
    }

    /// What is stored under `key`.
    pub fn stored(&self, key: &str) -> Option<Value> {
        self.state.borrow().storage.get(key).and_then(|text| serde_json::from_str(text).ok())
    }

    /// The keys in storage.
    pub fn stored_keys(&self) -> Vec<String> {
        self.state.borrow().storage.keys().cloned().collect()
    }

    /// Puts a value into storage, as if an earlier run had.
    pub fn store(&self, key: &str, value: Value) {
        self.state.borrow_mut().storage.insert(key.to_owned(), value.to_string());
    }

    /// What the app logged.
    pub fn logs(&self) -> Vec<(log::Level, String)> {
        self.state.borrow().logs.clone()
    }

    /// What the app published.
    pub fn published(&self) -> Vec<Published> {
        self.state.borrow().published.clone()
    }

    /// The topics that the app listens to.
    pub fn topics(&self) -> Vec<String> {
        self.state.borrow().topics.iter().cloned().collect()
    }

    /// The prefixes of storage keys that the app watches.
    pub fn watched(&self) -> Vec<String> {
        self.state.borrow().watched.iter().cloned().collect()
    }

    /// The ids of the timers that the app has set. A test makes one fire with
    /// `launched.notify("timers.fired", json!({ "id": id }))`.
    pub fn timers(&self) -> Vec<String> {
        self.state.borrow().timers.keys().cloned().collect()
    }

    /// The notifications that the app showed: title and body.
    pub fn notifications(&self) -> Vec<(String, String)> {
        self.state.borrow().notifications.clone()
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| {
            // A later host may have taken this one's place.
            if current.as_ref().is_some_and(|current| Rc::ptr_eq(current, &self.state)) {
                *current = None;
            }
        });
    }
}

/// The permission that an interface stands for; `None` for those that need none.
fn permission(interface: &str, method: &str) -> Option<String> {
    match interface {
        "log" | "clock" | "random" | "timers" => None,
        "host" => Some(format!("host.{}", method.split('.').next().unwrap_or_default())),
        "user-profile" | "device-location" | "cart-read" | "cart-write" | "payments-request" => {
            Some(interface.replace('-', "."))
        }
        same => Some(same.to_owned()),
    }
}

/// Where the bridges end natively.
pub(crate) fn dispatch(interface: &str, method: &str, params: &str) -> Result<String, RpcError> {
    let answer = || -> Result<Value, Error> {
        let state = CURRENT.with_borrow(Option::clone).ok_or_else(|| {
            Error::Unavailable("no host in this thread: make a testing::FakeHost first".into())
        })?;
        let params: Value = serde_json::from_str(params)
            .map_err(|error| Error::InvalidParams { field: None, message: error.to_string() })?;
        if let Some(permission) = permission(interface, method) {
            check(&state.borrow(), permission)?;
        }
        let mut borrowed = state.borrow_mut();
        borrowed.calls.push((method.to_owned(), params.clone()));
        match borrowed.taught.get(method).cloned() {
            // An answer may look at the host, so it is not borrowed meanwhile.
            Some(answer) => {
                drop(borrowed);
                answer(&params)
            }
            None => bridges::answer(&mut borrowed, method, &params),
        }
    };
    answer().map(|value| value.to_string()).map_err(RpcError::from)
}

fn check(state: &State, permission: String) -> Result<(), Error> {
    let reason = match state.denied.get(&permission) {
        Some(reason) => *reason,
        None if state.declared.as_ref().is_some_and(|declared| !declared.contains(&permission)) => {
            Denied::NotDeclared
        }
        None => return Ok(()),
    };
    Err(Error::PermissionDenied {
        message: format!("permission `{permission}` is needed and was not given"),
        permission,
        reason,
    })
}
