//! One host of a group: a device, real or not, and the agent that decides for it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::{Mutex as Slot, PoisonError};
use std::time::Duration;

use miniapp_runtime::updates::{Agent, AgentError, Event, Settings, Way};
use mpkg_fleet::Context;
use mpkg_package::Trust;
use mpkg_registry_client::{Backoff, Client};
use semver::Version;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Mutex, broadcast};

use super::error::DemoError;
use super::message::{Look, Seed, Setup, Used};
use super::real::Real;
use super::simulated::{Common, Simulated};

/// The platform that all hosts say they are.
const PLATFORM: &str = "android";
/// How long a release that runs already may be compiled ahead.
const PREPARING: Duration = Duration::from_secs(60);

/// An agent, and what it told since it was last asked.
struct Running {
    agent: Agent,
    events: broadcast::Receiver<Event>,
}

impl Running {
    /// What it told next, if it did; or will tell.
    async fn next(&mut self, will: bool) -> Option<Event> {
        loop {
            match self.events.try_recv() {
                Ok(event) => return Some(event),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty) if will => return self.events.recv().await.ok(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }
}

enum Body {
    Simulated(Slot<Simulated>),
    /// None while it is restarted.
    Real(Mutex<Option<Arc<Real>>>),
}

/// A host.
pub(super) struct Member {
    setup: Arc<Setup>,
    seed: Seed,
    client: Client,
    body: Body,
    running: Mutex<Option<Running>>,
    /// The releases whose installation was told.
    came: Mutex<BTreeSet<u64>>,
}

impl Member {
    /// A host that has never run.
    pub(super) async fn start(
        setup: Arc<Setup>,
        seed: Seed,
        client: &Client,
        common: Option<Arc<Common>>,
    ) -> Result<Self, DemoError> {
        let client = client.with_token(&seed.token)?;
        let body = match common {
            Some(common) => Body::Simulated(Slot::new(Simulated::new(common))),
            None => {
                let folder = setup.folder.join(&seed.unit).join("host");
                Body::Real(Mutex::new(Some(Arc::new(Real::start(&seed.unit, &setup, &folder)?))))
            }
        };
        let member = Self { setup, seed, client, body, running: Mutex::default(), came: Mutex::default() };
        member.start_agent().await?;
        Ok(member)
    }

    fn folder(&self) -> PathBuf {
        self.setup.folder.join(&self.seed.unit)
    }

    fn settings(&self) -> Result<Settings, DemoError> {
        let token = |_| DemoError::host(&self.seed.unit, &"its platform has no name");
        let context = Context {
            unit: self.seed.unit.clone(),
            platform: PLATFORM.parse().map_err(token)?,
            host_version: Version::new(1, 0, 0),
            region: None,
            segments: Default::default(),
        };
        let trust = Trust::publisher(self.setup.registry);
        let pace = self.setup.pace;
        let mut settings = Settings::new(trust, context, self.folder().join("updates"));
        settings.look_every = pace.look_every;
        settings.spread = pace.spread;
        settings.backoff = Backoff { first: pace.backoff_first, most: pace.backoff_most };
        // Only when the story says so: then what gates see is known.
        settings.report_every = std::time::Duration::from_secs(24 * 3_600);
        // A thousand disks are one disk here.
        settings.durable = matches!(self.body, Body::Real(_));
        Ok(settings.registry(self.client.clone()))
    }

    async fn start_agent(&self) -> Result<(), DemoError> {
        let settings = self.settings()?;
        let agent = match &self.body {
            Body::Simulated(device) => Agent::start(settings, device_of(device)).await,
            Body::Real(real) => {
                let host = self.real(real).await?.host.clone();
                Agent::start(settings, host).await
            }
        };
        let agent = agent.map_err(|error| self.trouble(&error))?;
        let events = agent.events();
        if let Body::Real(real) = &self.body {
            self.real(real).await?.listen(agent.events());
        }
        *self.running.lock().await = Some(Running { agent, events });
        Ok(())
    }

    async fn real(&self, real: &Mutex<Option<Arc<Real>>>) -> Result<Arc<Real>, DemoError> {
        let real = real.lock().await.clone();
        real.ok_or_else(|| DemoError::host(&self.seed.unit, &"it did not come back from a restart"))
    }

    fn trouble(&self, error: &AgentError) -> DemoError {
        DemoError::agent(&self.seed.unit, error)
    }

    /// Whether it really runs apps.
    pub(super) fn is_real(&self) -> bool {
        matches!(self.body, Body::Real(_))
    }

    /// Has its agent want the app, and a real host the other one too.
    pub(super) async fn want(&self) -> Result<(), DemoError> {
        let running = self.running.lock().await;
        let Some(Running { agent, .. }) = &*running else { return Ok(()) };
        agent.want(self.setup.app.clone()).await.map_err(|error| self.trouble(&error))?;
        if self.is_real() {
            agent.want(self.setup.other.clone()).await.map_err(|error| self.trouble(&error))?;
        }
        Ok(())
    }

    /// Whether everything that it wants has come.
    pub(super) async fn has_all(&self) -> Result<bool, DemoError> {
        match &self.body {
            Body::Simulated(device) => Ok(device_of(device).look().ahead > 0),
            Body::Real(real) => {
                let real = self.real(real).await?;
                Ok(real.has_other() && real.ahead() > 0)
            }
        }
    }

    /// How it stands.
    pub(super) async fn look(&self) -> Result<Look, DemoError> {
        match &self.body {
            Body::Simulated(device) => Ok(device_of(device).look()),
            Body::Real(real) => Ok(self.real(real).await?.look().await),
        }
    }

    /// Its user opens the app anew and calls it; what was counted is reported, as far as there is a registry.
    pub(super) async fn use_app(&self, report: bool) -> Result<Used, DemoError> {
        let mut used = match &self.body {
            Body::Simulated(device) => device_of(device).use_app(),
            Body::Real(real) => self.real(real).await?.use_app().await?,
        };
        if report {
            self.report().await?;
        }
        let mut running = self.running.lock().await;
        let Some(running) = &mut *running else { return Ok(used) };
        let read = self.read(running, &mut used);
        // Without it, a number of the report is smaller.
        let _ = tokio::time::timeout(PREPARING, read).await;
        Ok(used)
    }

    /// Reports what was counted.
    pub(super) async fn report(&self) -> Result<(), DemoError> {
        match &*self.running.lock().await {
            Some(running) => running.agent.report().await.map_err(|error| self.trouble(&error)),
            None => Ok(()),
        }
    }

    /// Reads what the agent told. A release can be launched before it is compiled ahead, and its installation is told
    /// after that.
    async fn read(&self, running: &mut Running, used: &mut Used) {
        let mut came = self.came.lock().await;
        while let Some(event) = running.next(used.ran > 0 && !came.contains(&used.ran)).await {
            match event {
                Event::Installed { app, way, release } if app == self.setup.app => {
                    came.insert(release.release_seq);
                    match way {
                        Way::Delta(bytes) => used.deltas.push(bytes),
                        _ => used.whole += 1,
                    }
                }
                // A document that comes late or before the roots is refused, too, and does no harm.
                Event::Refused { code, message, alarm: true, .. } => {
                    used.alarms.push(format!("{code}: {message}"));
                }
                _ => {}
            }
        }
    }

    /// Calls the app that nobody switched off.
    pub(super) async fn use_other(&self) -> Result<(), DemoError> {
        match &self.body {
            Body::Simulated(_) => Ok(()),
            Body::Real(real) => self.real(real).await?.use_other().await,
        }
    }

    /// Ends agent and device, and starts both again with nothing but what is on the disk.
    pub(super) async fn restart(&self) -> Result<(), DemoError> {
        self.shutdown().await;
        match &self.body {
            Body::Simulated(device) => {
                let restarted = device_of(device).restarted();
                *device.lock().unwrap_or_else(PoisonError::into_inner) = restarted;
            }
            Body::Real(real) => {
                let mut real = real.lock().await;
                if let Some(before) = real.take().and_then(Arc::into_inner) {
                    let folder = self.folder().join("host");
                    *real = Some(Arc::new(before.restarted(&self.setup, &folder).await?));
                }
            }
        }
        self.start_agent().await
    }

    /// Ends the agent.
    pub(super) async fn shutdown(&self) {
        if let Some(Running { agent, .. }) = self.running.lock().await.take() {
            agent.shutdown().await;
        }
    }
}

fn device_of(slot: &Slot<Simulated>) -> Simulated {
    slot.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
