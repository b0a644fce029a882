//! Bridges: what a Mini App can ask of its host.
//!
//! A [`Bridge`] is the methods behind one permission. The built-in ones are made in the same way as an embedder's
//! own, and are reached through the same gate.

mod clock;
mod events;
mod files;
mod log;
mod network;
mod params;
mod random;
mod storage;
mod timers;
mod user;

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mpkg_manifest::permission;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::meter::thread_cpu_time;
use crate::nesting;
use crate::policy::Policy;
use crate::rpc::RpcError;
use crate::session::Session;

pub(crate) use network::Connections;
pub use network::{Lookup, NetworkPolicy, Resolve, ResolveFuture, Resolver};
pub(crate) use user::Profiles;
pub use user::UserProfile;

/// What writing costs a disk besides what is written, in bytes.
const WRITE: usize = 256;

type Answer = Result<String, RpcError>;
type AnswerFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;
type Immediate = dyn Fn(&Caller, &str) -> Answer + Send + Sync;
type Deferred = dyn Fn(Caller, String) -> AnswerFuture + Send + Sync;

/// How a method is carried out.
pub(crate) enum Handler {
    /// Answers at once, on the guest's thread. It must not block.
    Ready(Box<Immediate>),
    /// Answers later. Dropped where it waits when the guest is killed.
    Later(Box<Deferred>),
}

/// The methods behind one permission.
///
/// ```
/// use miniapp_runtime::{Bridge, rpc::RpcError};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct Query { shop: String }
/// #[derive(Serialize)]
/// struct Points { points: u32 }
///
/// let loyalty = Bridge::new("host.loyalty").method("loyalty.points", |caller, query: Query| async move {
///     if query.shop.is_empty() {
///         return Err(RpcError::invalid_params("`shop` must not be empty."));
///     }
///     Ok(Points { points: caller.user().len() as u32 })
/// });
/// assert_eq!(loyalty.permission(), "host.loyalty");
/// ```
pub struct Bridge {
    permission: String,
    methods: BTreeMap<String, Arc<Handler>>,
    rates: BTreeMap<String, NonZeroU32>,
    misplaced: Option<String>,
}

impl std::fmt::Debug for Bridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bridge")
            .field("permission", &self.permission)
            .field("methods", &self.methods.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl Bridge {
    /// A bridge behind `permission`: one of the vocabulary, or an embedder's own, `host.<name>`.
    pub fn new(permission: impl Into<String>) -> Self {
        Self {
            permission: permission.into(),
            methods: BTreeMap::new(),
            rates: BTreeMap::new(),
            misplaced: None,
        }
    }

    /// The permission that every method here needs.
    pub fn permission(&self) -> &str {
        &self.permission
    }

    /// Adds a method that may wait. Parameters that are not a `P` never reach it: the guest gets
    /// [`INVALID_PARAMS`](crate::rpc::code::INVALID_PARAMS).
    ///
    /// When the guest is killed the future is dropped at the await it has reached, so hold only what cleans up
    /// after itself; blocking work belongs on `tokio::task::spawn_blocking`.
    ///
    /// It may call apps, within [`Limits::call_depth`](crate::Limits::call_depth), but for those that wait for it; and may
    /// spawn a task that does, which nobody waits for.
    #[must_use]
    pub fn method<P, R, F, Fut>(self, name: impl Into<String>, handler: F) -> Self
    where
        P: DeserializeOwned + Send + 'static,
        R: Serialize,
        F: Fn(Caller, P) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, RpcError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.add(
            name.into(),
            Handler::Later(Box::new(move |caller, params| {
                let handler = handler.clone();
                Box::pin(async move { to_json(&handler(caller, from_json(&params)?).await?) })
            })),
        )
    }

    /// Adds a method that answers at once, without waiting for anything: it runs on the guest's thread, and while
    /// it runs the guest cannot be stopped.
    #[must_use]
    pub fn immediate<P, R, F>(self, name: impl Into<String>, handler: F) -> Self
    where
        P: DeserializeOwned,
        R: Serialize,
        F: Fn(&Caller, P) -> Result<R, RpcError> + Send + Sync + 'static,
    {
        self.add(
            name.into(),
            Handler::Ready(Box::new(move |caller, params| to_json(&handler(caller, from_json(params)?)?))),
        )
    }

    /// Lets an instance call `method`, which is one of this bridge, so many times a second and no more: it is answered
    /// [`BUSY`](crate::rpc::code::BUSY) then. A host's [`Policy::rates`](crate::Policy::rates) outranks this.
    #[must_use]
    pub fn rate(mut self, method: impl Into<String>, per_second: NonZeroU32) -> Self {
        self.rates.insert(method.into(), per_second);
        self
    }

    fn add(mut self, name: String, handler: Handler) -> Self {
        let fits = if self.permission.starts_with("host.") {
            permission::host_permission_for_method(&name).as_deref() == Some(self.permission.as_str())
        } else {
            permission::method(&name).is_some_and(|spec| spec.name == self.permission)
        };
        if !fits || self.methods.contains_key(&name) {
            self.misplaced.get_or_insert_with(|| name.clone());
        }
        self.methods.insert(name, Arc::new(handler));
        self
    }

    /// A method that was added twice or does not belong under this permission.
    pub(crate) fn misplaced(&self) -> Option<&str> {
        self.misplaced.as_deref()
    }

    /// A method that a rate was set for and that was never added: its rate would hold for nothing.
    pub(crate) fn rates_nothing(&self) -> Option<&str> {
        self.rates.keys().find(|method| !self.methods.contains_key(*method)).map(String::as_str)
    }

    pub(crate) fn into_methods(self) -> impl Iterator<Item = (String, Arc<Handler>, Option<NonZeroU32>)> {
        let rates = self.rates;
        self.methods.into_iter().map(move |(method, handler)| {
            let rate = rates.get(&method).copied();
            (method, handler, rate)
        })
    }
}

fn from_json<P: DeserializeOwned>(params: &str) -> Result<P, RpcError> {
    serde_json::from_str(params)
        .map_err(|e| RpcError::invalid_params(format!("The parameters do not fit: {e}.")))
}

fn to_json<R: Serialize>(result: &R) -> Answer {
    serde_json::to_string(result).map_err(|error| {
        tracing::error!(%error, "a bridge's result does not serialize");
        RpcError::internal()
    })
}

/// Who calls a bridge: one instance of one app for one user.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) session: Arc<Session>,
}

impl Caller {
    /// The app's id, such as `com.example.shop`.
    pub fn app_id(&self) -> &str {
        &self.session.identity.app_id
    }

    /// The publisher that signed the app.
    pub fn publisher(&self) -> &str {
        &self.session.identity.publisher
    }

    /// The version of the app that calls, as its manifest names it.
    pub fn version(&self) -> &str {
        &self.session.identity.version
    }

    /// The user the app runs for.
    pub fn user(&self) -> &str {
        &self.session.identity.user
    }

    /// The id of the instance, unique within this host's run.
    pub fn instance(&self) -> u64 {
        self.session.life.id
    }
}

/// Pieces of one instance's work that may wait for the disk at a time.
pub(crate) const BLOCKING: usize = 4;

/// Does `work` on one of `threads`, where it may wait for the disk: a guest cannot be stopped while the host blocks on its
/// thread. What it computes is on the account of the guest or page that waits for it. `None` if it panicked, or the runtime
/// ends.
///
/// What has begun runs to its end, whoever has given up waiting for it, and so keeps its place until then: calls that
/// are made and dropped do not fill the threads that all apps share.
async fn blocking<T: Send + 'static>(
    caller: &Caller,
    threads: &Handle,
    work: impl FnOnce(&Caller) -> T + Send + 'static,
) -> Option<T> {
    let place = caller.session.blocking.clone().acquire_owned().await.ok()?;
    let caller = caller.clone();
    let is_guest = nesting::is_waiting(caller.instance());
    let done = threads.spawn_blocking(move || {
        let _place = place;
        let began = thread_cpu_time();
        let done = work(&caller);
        if let (Some(began), Some(ended)) = (began, thread_cpu_time()) {
            let took = Duration::from_nanos(ended.saturating_sub(began));
            let Session { meter, page_time, .. } = &*caller.session;
            if is_guest { meter.charge_aside(took) } else { page_time.charge(took) }
        }
        done
    });
    done.await.ok()
}

/// The bridges every host has.
pub(crate) fn builtin(policy: &Policy) -> Vec<Bridge> {
    vec![
        log::bridge(),
        clock::bridge(),
        random::bridge(),
        timers::bridge(),
        storage::bridge(),
        network::bridge(&policy.network),
        events::bridge(),
        files::bridge(),
        user::bridge(),
    ]
}
