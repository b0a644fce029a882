//! A host at one moment: what a task manager shows.

use std::time::Duration;

use serde::Serialize;

use crate::host::Host;
use crate::instance::Shared;
use crate::life::State;
use crate::metrics::InstanceMetrics;

/// A host at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct HostSnapshot {
    /// What instances have resident together, in bytes.
    pub memory_bytes: u64,
    /// What they may have, in bytes.
    pub memory_budget: u64,
    /// Components being compiled now.
    pub compiling: usize,
    /// What lives or has not given its memory back, in the order in which it was launched.
    pub instances: Vec<InstanceSnapshot>,
}

/// An instance at one moment. Texts in it may come from the app: escape them before a terminal sees them.
#[derive(Debug, Clone, Serialize)]
pub struct InstanceSnapshot {
    /// The instance's id.
    pub id: u64,
    /// The app's id.
    pub app_id: String,
    /// The user it runs for.
    pub user: String,
    /// Where it is in its life.
    pub state: State,
    /// How long ago its launch began.
    pub age: Duration,
    /// The rest, once it has started.
    #[serde(flatten)]
    pub running: Option<RunningSnapshot>,
}

/// What there is to see of an instance that has started.
#[derive(Debug, Clone, Serialize)]
pub struct RunningSnapshot {
    /// The app's name, as its manifest has it.
    pub app_name: String,
    /// Its version.
    pub version: String,
    /// Whether it runs on optimized code: an app that was never seen starts on code that is made faster.
    pub optimized: bool,
    /// What it is counted at in the host's memory, in bytes.
    pub resident_bytes: u64,
    /// The permissions that are effective.
    pub permissions: Vec<String>,
    /// What it has done.
    pub metrics: InstanceMetrics,
}

impl From<&Shared> for RunningSnapshot {
    fn from(shared: &Shared) -> Self {
        let session = &shared.session;
        Self {
            app_name: session.identity.app_name.clone(),
            version: session.identity.version.clone(),
            optimized: session.optimized,
            resident_bytes: session.seat.bytes(),
            permissions: session.permissions.effective_names(),
            metrics: session.figures(),
        }
    }
}

impl Host {
    /// All that lives here now, for a task manager, and what has ended and not given its memory back yet.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// let snapshot = host.snapshot();
    /// println!("{} of {} bytes", snapshot.memory_bytes, snapshot.memory_budget);
    /// for instance in snapshot.instances {
    ///     println!("{} {} for {}: {:?}", instance.id, instance.app_id, instance.user, instance.state);
    /// }
    /// # });
    /// ```
    pub fn snapshot(&self) -> HostSnapshot {
        let inner = &self.inner;
        let instances = inner.living.with_memory().into_iter().map(|life| InstanceSnapshot {
            id: life.id,
            app_id: life.app_id.clone(),
            user: life.user.clone(),
            state: life.state(),
            age: life.age(),
            running: life.shared().as_deref().map(RunningSnapshot::from),
        });
        HostSnapshot {
            memory_bytes: inner.memory.used(),
            memory_budget: inner.memory.budget(),
            compiling: inner.compiles.running(),
            instances: instances.collect(),
        }
    }
}
