//! The host: what an embedder builds once and keeps.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mpkg_manifest::Language;
use mpkg_package::{PublicKey, Trust};
use tokio::runtime::Handle;

use crate::bridge::{self, Bridge, Profiles, UserProfile};
use crate::broker::{Broker, Settings};
use crate::data::{Data, DataError, Installed};
use crate::engine::{Compiler, Tiers};
use crate::error::HostError;
use crate::heavy::HeavyThreads;
use crate::instance::Instance;
use crate::life::{KillHandle, Life, Living, unload};
use crate::link::{RegisterError, Registry};
use crate::local::Locals;
use crate::memory::HostMemory;
use crate::policy::Policy;
use crate::prepare::{Compiles, Prepared};
use crate::provider::{DenyPermissions, PermissionProvider};
use crate::senses::{Clock, Senses};
use crate::stop::StopReason;
use crate::sweep::sweep;
use crate::ticker::Ticker;
use crate::updates::{Gates, InForce};

/// Settings for a [`Host`]; made by [`Host::builder`].
pub struct HostBuilder {
    folder: PathBuf,
    policy: Policy,
    compiler: Compiler,
    provider: Arc<dyn PermissionProvider>,
    language: Option<Language>,
    bridges: Vec<Bridge>,
    trust: Vec<Trust>,
    profiles: Option<Arc<Profiles>>,
    senses: Senses,
    code_from: Vec<PublicKey>,
    supervised: bool,
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

    /// The language in which questions about permissions give the manifest's reason, where it has one. A provider
    /// whose users read different languages picks from [`PermissionRequest::reasons`](crate::PermissionRequest).
    #[must_use]
    pub fn language(mut self, language: Language) -> Self {
        self.language = Some(language);
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

    /// Runs code that was compiled elsewhere and is signed with this key, which is the embedder's own and for nothing else:
    /// who has it can do in this process what the host can. See [`Host::add_code`].
    #[must_use]
    pub fn code_from(mut self, key: PublicKey) -> Self {
        self.code_from.push(key);
        self
    }

    /// Launches nothing before an agent has given its first orders: what is switched off must be known. For every host
    /// that starts an [`Agent`](crate::updates::Agent), or one whose agent does not start would run what was killed.
    /// Default: false, since a host without an agent waits for nobody.
    #[must_use]
    pub fn supervised(mut self, supervised: bool) -> Self {
        self.supervised = supervised;
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

    /// Tells apps this time instead of the system's: a fixed one in a test, the one of a session that is played again.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// struct Stopped;
    /// impl miniapp_runtime::Clock for Stopped {
    ///     fn now(&self) -> SystemTime {
    ///         SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    ///     }
    ///     fn monotonic(&self) -> Duration {
    ///         Duration::ZERO
    ///     }
    /// }
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let host = miniapp_runtime::Host::builder(folder.path()).clock(Stopped).build().unwrap();
    /// # });
    /// ```
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.senses.clock = Arc::new(clock);
        self
    }

    /// Gives apps these random bytes instead of the system's: `fill` fills all of a buffer. Apps may make keys of them,
    /// so what can be foretold is for tests alone. A call to `random` fails where `fill` does; an app that asks through
    /// WASI, which knows no failure, is ended.
    #[must_use]
    pub fn randomness(
        mut self,
        fill: impl Fn(&mut [u8]) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.senses.random = Arc::new(fill);
        self
    }

    /// Opens the data folder and starts the engine. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// [`HostError`], such as a data folder that another host has open.
    pub fn build(self) -> Result<Host, HostError> {
        let runtime = Handle::try_current().map_err(|_| HostError::NoRuntime)?;
        let mut registry = Registry::default();
        for bridge in bridge::builtin(&self.policy).into_iter().chain(self.bridges) {
            if let Some(method) = bridge.rates_nothing() {
                return Err(HostError::UnknownMethod { method: method.to_owned() });
            }
            registry.add(bridge).map_err(|error| match error {
                RegisterError::UnknownPermission { permission } => {
                    HostError::UnknownPermission { permission }
                }
                RegisterError::Misplaced { permission, method } => {
                    HostError::MisplacedMethod { permission, method }
                }
            })?;
        }
        self.policy.check_names(|method| registry.methods().any(|(name, _)| name == method))?;
        let data = Arc::new(Data::open(&self.folder)?);
        let tiers = Arc::new(Tiers::open(self.compiler, &self.policy, &data)?);
        sweep(&data, &tiers)?;
        let local = Locals::new(&data, self.profiles)?;
        registry.limit_rates(&self.policy.rates);
        let interrupted = data.restarted()?;
        let ticker = Arc::new(Ticker::start(tiers.engines()).map_err(HostError::Ticker)?);
        let broker = Broker::new(Settings {
            data: data.clone(),
            provider: self.provider,
            prompt_timeout: self.policy.prompt_timeout,
            language: self.language,
            runtime: runtime.clone(),
        });
        let inner = Inner {
            methods: registry.names(),
            memory: HostMemory::new(self.policy.memory_bytes),
            compiles: Compiles::new(self.policy.compiles),
            tiers,
            ticker,
            registry: Arc::new(registry),
            data,
            policy: Arc::new(self.policy),
            broker,
            trust: self.trust,
            code_from: self.code_from,
            runtime,
            apps: Mutex::default(),
            living: Arc::default(),
            heavy: Arc::default(),
            local,
            senses: self.senses,
            orders: Arc::new(InForce::new(self.supervised)),
            gates: Gates::default(),
            shelving: Mutex::default(),
        };
        let inner = Arc::new(inner);
        inner.living.starts.bind(&inner, &interrupted);
        Ok(Host { inner })
    }
}

pub(crate) struct Inner {
    pub(crate) tiers: Arc<Tiers>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) methods: Arc<[String]>,
    pub(crate) data: Arc<Data>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) trust: Vec<Trust>,
    pub(crate) code_from: Vec<PublicKey>,
    pub(crate) runtime: Handle,
    pub(crate) apps: Mutex<HashMap<String, Arc<Prepared>>>,
    pub(crate) living: Arc<Living>,
    pub(crate) heavy: Arc<HeavyThreads>,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) compiles: Compiles,
    pub(crate) local: Locals,
    pub(crate) senses: Senses,
    /// What a fleet's signed state says, if this host is part of one.
    pub(crate) orders: Arc<InForce>,
    pub(crate) gates: Gates,
    /// Held while packages and the records of them change together.
    pub(crate) shelving: Mutex<()>,
}

impl Inner {
    /// What has not ended of an app, launches under way included.
    pub(crate) fn lives_of(&self, app_id: &str) -> Vec<Arc<Life>> {
        let mut lives = self.living.all();
        lives.retain(|life| life.app_id == app_id);
        lives
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
            language: None,
            bridges: Vec::new(),
            trust: Vec::new(),
            profiles: None,
            senses: Senses::default(),
            code_from: Vec::new(),
            supervised: false,
        }
    }

    /// Every method that an app can reach here, by name, each with the permission that it is behind.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// assert!(host.methods().any(|method| method == ("files.read", "files")));
    /// # });
    /// ```
    pub fn methods(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner.registry.methods()
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
        self.inner.living.all().iter().filter_map(|life| life.instance()).collect()
    }

    /// Ends every instance of an app, launching ones included; returns how many.
    pub fn kill(&self, app_id: &str, why: &str) -> usize {
        let killed = |life: &&Arc<Life>| life.stop(StopReason::Killed { why: why.to_owned() });
        self.inner.lives_of(app_id).iter().filter(killed).count()
    }

    /// What ends one instance, by the id that [`Host::snapshot`] shows; `None` if it has ended.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// for instance in host.snapshot().instances {
    ///     if let Some(handle) = host.handle(instance.id) {
    ///         handle.kill("the user swiped it away");
    ///     }
    /// }
    /// # });
    /// ```
    pub fn handle(&self, id: u64) -> Option<KillHandle> {
        self.inner.living.all().into_iter().find(|life| life.id == id).map(KillHandle)
    }

    /// Ends every instance in good order: each is told `lifecycle.unloaded` and what it leaves behind is kept, for as long
    /// as [`Policy::grace`] allows; launches under way are ended, and none begins any more (`MPKG-H19`). Then as
    /// [`Host::shutdown`]. To be awaited before the process ends.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// host.close().await;
    /// assert_eq!(host.launch("com.example.shop", "ann").await.unwrap_err().code(), "MPKG-H19");
    /// # });
    /// ```
    pub async fn close(&self) {
        self.inner.living.close();
        unload(self.inner.living.all(), StopReason::HostShutdown).await;
        let host = self.clone();
        // It fails only if the runtime is gone already.
        let _ = self.inner.runtime.spawn_blocking(move || host.shutdown()).await;
    }

    /// Ends every instance, and records that they ended in good order: a release that was starting is not taken for one
    /// that takes its host down. To be called before the process ends. Waits for the disk.
    pub fn shutdown(&self) {
        for life in self.inner.living.all() {
            life.stop(StopReason::HostShutdown);
        }
        self.inner.living.starts.record(&self.inner);
    }
}
