//! The host: what an embedder builds once and keeps.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mpkg_package::Trust;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use wasmtime::Engine;

use crate::app::App;
use crate::bridge::{self, Bridge, Profiles, UserProfile};
use crate::data::{Data, DataError, Installed, Namespace, StoredDecision, StoredGrant};
use crate::engine::{self, Compiler, Ticker};
use crate::error::HostError;
use crate::instance::{Instance, Shared};
use crate::link::{RegisterError, Registry};
use crate::local::Locals;
use crate::native::NativeCache;
use crate::policy::Policy;
use crate::provider::{DenyPermissions, PermissionProvider};
use crate::stop::StopReason;

/// Settings for a [`Host`]; made by [`Host::builder`].
pub struct HostBuilder {
    folder: PathBuf,
    policy: Policy,
    compiler: Compiler,
    provider: Arc<dyn PermissionProvider>,
    bridges: Vec<Bridge>,
    trust: Vec<Trust>,
    profiles: Option<Arc<Profiles>>,
}

impl std::fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostBuilder").field("folder", &self.folder).field("policy", &self.policy).finish()
    }
}

impl HostBuilder {
    /// Ceilings over what apps may ask for.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How guest code is executed.
    #[must_use]
    pub fn compiler(mut self, compiler: Compiler) -> Self {
        self.compiler = compiler;
        self
    }

    /// Who decides on permissions. Without one, all are denied.
    #[must_use]
    pub fn permissions(mut self, provider: impl PermissionProvider) -> Self {
        self.provider = Arc::new(provider);
        self
    }

    /// Adds a bridge. One for a built-in permission takes the built-in bridge's place.
    #[must_use]
    pub fn bridge(mut self, bridge: Bridge) -> Self {
        self.bridges.push(bridge);
        self
    }

    /// Accepts packages of this publisher.
    #[must_use]
    pub fn trust(mut self, publisher: Trust) -> Self {
        self.trust.push(publisher);
        self
    }

    /// Answers `user.profile` with what `lookup` tells of the user with that id of yours. The app never sees the id: it
    /// gets one of its own in its place. Without a lookup that one is all there is.
    #[must_use]
    pub fn profiles<F, Fut>(mut self, lookup: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = UserProfile> + Send + 'static,
    {
        self.profiles = Some(Arc::new(move |user| Box::pin(lookup(user))));
        self
    }

    /// Opens the data folder and starts the engine. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`HostError`], such as a data folder that another host has open.
    pub fn build(self) -> Result<Host, HostError> {
        let runtime = Handle::try_current().map_err(|_| HostError::NoRuntime)?;
        let engine =
            engine::config(self.compiler).and_then(|c| Engine::new(&c)).map_err(HostError::Engine)?;
        let ticker = Arc::new(Ticker::start(&engine).map_err(HostError::Ticker)?);
        let mut registry = Registry::default();
        for bridge in bridge::builtin().into_iter().chain(self.bridges) {
            registry.add(bridge).map_err(|error| match error {
                RegisterError::UnknownPermission { permission } => {
                    HostError::UnknownPermission { permission }
                }
                RegisterError::Misplaced { permission, method } => {
                    HostError::MisplacedMethod { permission, method }
                }
            })?;
        }
        let data = Arc::new(Data::open(&self.folder)?);
        let local = Locals::new(&data, self.profiles)?;
        let native = NativeCache::open(data.clone(), &engine)?;
        let methods = registry.names();
        let inner = Inner {
            engine,
            ticker,
            registry,
            methods,
            data,
            native,
            policy: self.policy,
            provider: self.provider,
            trust: self.trust,
            runtime,
            apps: Mutex::default(),
            live: Mutex::default(),
            next_instance: AtomicU64::new(1),
            local,
        };
        Ok(Host { inner: Arc::new(inner) })
    }
}

/// The app version behind a digest, being prepared or ready.
pub(crate) type AppCell = Arc<OnceCell<Arc<App>>>;

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) registry: Registry,
    pub(crate) methods: Arc<[String]>,
    pub(crate) data: Arc<Data>,
    pub(crate) native: NativeCache,
    pub(crate) policy: Policy,
    pub(crate) provider: Arc<dyn PermissionProvider>,
    pub(crate) trust: Vec<Trust>,
    pub(crate) runtime: Handle,
    pub(crate) apps: Mutex<HashMap<String, AppCell>>,
    live: Mutex<HashMap<u64, Weak<Shared>>>,
    pub(crate) next_instance: AtomicU64,
    pub(crate) local: Locals,
}

impl Inner {
    /// The instances that have not ended.
    fn instances(&self) -> Vec<Instance> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.retain(|_, weak| weak.strong_count() > 0);
        live.values()
            .filter_map(Weak::upgrade)
            .map(|shared| Instance { shared })
            .filter(|instance| instance.stop_reason().is_none())
            .collect()
    }

    pub(crate) fn live_count(&self) -> usize {
        self.instances().len()
    }

    pub(crate) fn enlist(&self, instance: &Instance) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.insert(instance.id(), Arc::downgrade(&instance.shared));
    }

    pub(crate) fn instances_of(&self, app_id: &str) -> Vec<Instance> {
        let mut instances = self.instances();
        instances.retain(|instance| instance.app_id() == app_id);
        instances
    }
}

/// Verifies, installs and runs Mini Apps. Clones share everything.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use miniapp_runtime::{Host, Policy, StaticPermissions};
/// let folder = tempfile::tempdir().unwrap();
/// let host = Host::builder(folder.path())
///     .policy(Policy { instances: 8, ..Policy::default() })
///     .permissions(StaticPermissions::allow(["storage"]))
///     .build()
///     .unwrap();
/// assert!(host.installed().unwrap().is_empty());
/// # });
/// ```
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("data", &self.inner.data).finish()
    }
}

impl Host {
    /// Starts the settings of a host that keeps its data in `folder`, which is made if it is missing and is this
    /// host's alone.
    pub fn builder(folder: impl AsRef<Path>) -> HostBuilder {
        HostBuilder {
            folder: folder.as_ref().to_owned(),
            policy: Policy::default(),
            compiler: Compiler::default(),
            provider: Arc::new(DenyPermissions),
            bridges: Vec::new(),
            trust: Vec::new(),
            profiles: None,
        }
    }

    /// The apps that are installed.
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn installed(&self) -> Result<Vec<Installed>, DataError> {
        self.inner.data.all_installed()
    }

    /// The instances that run now.
    pub fn instances(&self) -> Vec<Instance> {
        self.inner.instances()
    }

    /// Ends every instance of an app, launching ones included; returns how many.
    pub fn kill(&self, app_id: &str, why: &str) -> usize {
        self.inner.instances_of(app_id).iter().filter(|instance| instance.kill(why)).count()
    }

    /// Ends every instance.
    pub fn shutdown(&self) {
        for instance in self.inner.instances() {
            instance.shared.stop(StopReason::HostShutdown);
        }
    }

    /// Gives an app a permission that its manifest declares, for one user, until it is revoked; running instances
    /// have it at once. False if the installed version does not declare it.
    ///
    /// # Errors
    /// If the decision cannot be recorded; it does not take effect then.
    pub fn grant(&self, user: &str, app_id: &str, permission: &str) -> Result<bool, DataError> {
        let Some((of, manifest)) = self.namespace(user, app_id)? else { return Ok(false) };
        let declared = crate::app::declared(&manifest);
        let Some(wanted) = declared.iter().find(|d| d.name.as_str() == permission) else { return Ok(false) };
        let grant = StoredGrant { decision: StoredDecision::Allow, scope: wanted.scope_set() };
        self.inner.data.set_grant(&of, permission, &grant)?;
        self.apply(user, app_id, permission, true);
        Ok(true)
    }

    /// Takes a permission back, at once, from running instances too. It stays so until it is granted.
    ///
    /// # Errors
    /// If the decision cannot be recorded. Running instances have lost the permission even then.
    pub fn revoke(&self, user: &str, app_id: &str, permission: &str) -> Result<(), DataError> {
        self.apply(user, app_id, permission, false);
        let Some((of, _)) = self.namespace(user, app_id)? else { return Ok(()) };
        self.inner.local.revoked(&of, permission);
        let grant = StoredGrant { decision: StoredDecision::Revoked, scope: Default::default() };
        self.inner.data.set_grant(&of, permission, &grant)
    }

    fn apply(&self, user: &str, app_id: &str, permission: &str, allowed: bool) {
        for instance in self.inner.instances_of(app_id) {
            if instance.user() == user {
                instance.shared.session.permissions.apply(permission, allowed);
            }
        }
    }

    fn namespace(
        &self,
        user: &str,
        app_id: &str,
    ) -> Result<Option<(Namespace, mpkg_manifest::Manifest)>, DataError> {
        let Some(app) = self.inner.data.installed(app_id)? else { return Ok(None) };
        let manifest = serde_json::from_str(&app.manifest)?;
        Ok(Some((Namespace { user: user.to_owned(), owner: app.owner() }, manifest)))
    }
}
