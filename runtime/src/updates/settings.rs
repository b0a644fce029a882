//! What an agent is started with.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mpkg_fleet::Context;
use mpkg_package::{Time, Trust};
use mpkg_registry_client::{Backoff, Client};

use super::device::Switch;
use super::orders::Clock;

/// Settings of an [`Agent`](super::Agent).
#[derive(Clone)]
pub struct Settings {
    /// The registry, with this host's token. Without one the agent takes in what [`Agent::import`](super::Agent::import)
    /// is given.
    pub registry: Option<Client>,
    /// Whose state to believe: the id of the registry's first root, which a host has built in.
    pub trust: Trust,
    /// Who this host is: what buckets, targeting and kills of platforms and host versions go by.
    pub context: Context,
    /// Where the agent keeps what it knows. Its alone.
    pub folder: PathBuf,
    /// When a release takes a running one's place. Default: at the next launch.
    pub switch: Switch,
    /// Packages of all apps together, in bytes. Older releases go first; two of each app stay. Default 512 MiB.
    pub disk_bytes: u64,
    /// How often telemetry is sent, give or take. Default a minute.
    pub report_every: Duration,
    /// How often the agent looks for what changes by time alone: how old its knowledge is, what to try again. Default half
    /// a minute.
    pub look_every: Duration,
    /// Requests that many hosts would make in the same moment are spread over this time: what follows a step of a rollout.
    /// Kills come with the stream and never wait. Default 30 s.
    pub spread: Duration,
    /// The waits between tries.
    pub backoff: Backoff,
    /// Whether what must not be lost is waited for until it is on the disk. Only simulations do without. Default true.
    pub durable: bool,
    /// What tells the time: the system, unless [`Settings::clock`] was called.
    pub clock: Clock,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, context, folder, .. } = self;
        f.debug_struct("Settings")
            .field("registry", registry)
            .field("context", context)
            .field("folder", folder)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The defaults, with nothing to talk to.
    ///
    /// ```
    /// use miniapp_runtime::updates::Settings;
    /// use mpkg_package::{Root, SecretKey, Trust};
    /// let registry = Root::single(&SecretKey::from_seed(&[1; 32]).public());
    /// let context = serde_json::from_str(
    ///     r#"{"unit": "device-1", "platform": "android", "host_version": "3.1.0"}"#,
    /// ).unwrap();
    /// let settings = Settings::new(Trust::root(&registry).unwrap(), context, "/data/updates");
    /// assert!(settings.registry.is_none());
    /// ```
    pub fn new(trust: Trust, context: Context, folder: impl Into<PathBuf>) -> Self {
        Self {
            registry: None,
            trust,
            context,
            folder: folder.into(),
            switch: Switch::default(),
            disk_bytes: 512 << 20,
            report_every: Duration::from_secs(60),
            look_every: Duration::from_secs(30),
            spread: Duration::from_secs(30),
            backoff: Backoff { first: Duration::from_secs(2), ..Backoff::default() },
            durable: true,
            clock: Arc::new(system_time),
        }
    }

    /// Follows this registry.
    #[must_use]
    pub fn registry(mut self, client: Client) -> Self {
        self.registry = Some(client);
        self
    }

    /// Tells the time in place of the system's clock. `None` means that it is not known: then nothing is known to be old.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> Option<Time> + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

fn system_time() -> Option<Time> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Time::from_unix(since.as_secs().try_into().ok()?)
}
