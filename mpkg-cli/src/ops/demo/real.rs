//! A host that really runs the app, in its sandbox.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use miniapp_runtime::updates::{Device, Event};
use miniapp_runtime::{Host, Instance, LaunchError, StaticPermissions};
use mpkg_manifest::AppId;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast};

use super::error::DemoError;
use super::message::{Look, Setup, Used, seq};
use super::system::now_us;

/// Launches until an app counts as not coming up.
const LAUNCHES: usize = 6;
/// Who uses the apps.
const USER: &str = "demo";
/// How long a host may take to let go of its folder.
const CLOSING: Duration = Duration::from_secs(10);

/// An app as its user has it open.
#[derive(Debug, Default)]
struct Open {
    instance: Option<Instance>,
    /// When an instance that was ended was gone, its memory freed.
    gone_us: Arc<AtomicU64>,
    /// When a launch was refused first since one was allowed.
    refused_us: Option<u64>,
}

impl Open {
    fn take(&mut self, instance: Instance) {
        let (handle, gone) = (instance.kill_handle(), self.gone_us.clone());
        gone.store(0, Ordering::Relaxed);
        tokio::spawn(async move {
            handle.stopped().await;
            gone.store(now_us(), Ordering::Relaxed);
        });
        self.instance = Some(instance);
        self.refused_us = None;
    }

    /// Since when there is nothing of the app; none while it runs, or was closed by its user.
    fn ended_us(&self) -> Option<u64> {
        let gone_us = self.gone_us.load(Ordering::Relaxed);
        let was_ended = self.instance.as_ref().is_some_and(|instance| instance.stop_reason().is_some());
        if was_ended { (gone_us > 0).then_some(gone_us) } else { self.refused_us }
    }

    async fn close(&mut self) {
        if let Some(instance) = self.instance.take()
            && instance.stop_reason().is_none()
        {
            instance.unload().await;
        }
    }
}

/// A real host, with the apps that its user has open.
#[derive(Debug)]
pub(super) struct Real {
    unit: String,
    app: AppId,
    other: AppId,
    pub(super) host: Host,
    open: Mutex<Open>,
    other_open: Mutex<Open>,
    /// When the app could be launched again.
    free_us: AtomicU64,
    /// When the agent heard last that a kill is over.
    lifted_us: Arc<AtomicU64>,
}

impl Real {
    pub(super) fn start(unit: &str, setup: &Setup, folder: &Path) -> Result<Self, DemoError> {
        let host = Host::builder(folder)
            .supervised(true)
            .permissions(StaticPermissions::allow(["storage", "events"]))
            .build()
            .map_err(|error| DemoError::host(unit, &error))?;
        Ok(Self {
            unit: unit.to_owned(),
            app: setup.app.clone(),
            other: setup.other.clone(),
            host,
            open: Mutex::default(),
            other_open: Mutex::default(),
            free_us: AtomicU64::new(0),
            lifted_us: Arc::default(),
        })
    }

    /// The same host after a restart of its process: everything that is not on the disk is gone.
    pub(super) async fn restarted(self, setup: &Setup, folder: &Path) -> Result<Self, DemoError> {
        let Self { unit, host, open, other_open, .. } = self;
        open.into_inner().close().await;
        other_open.into_inner().close().await;
        host.shutdown();
        drop(host);
        // What still holds the folder are tasks that see that their host is gone.
        let until = Instant::now() + CLOSING;
        loop {
            match Self::start(&unit, setup, folder) {
                Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(10)).await,
                outcome => return outcome,
            }
        }
    }

    /// The release that the next launch runs; 0 for none.
    pub(super) fn ahead(&self) -> u64 {
        self.host.shelf(&self.app).map_or(0, |shelf| seq(shelf.ahead()))
    }

    /// Listens to its agent for the end of kills.
    pub(super) fn listen(&self, mut events: broadcast::Receiver<Event>) {
        let lifted_us = self.lifted_us.clone();
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(Event::Lifted { .. }) => lifted_us.store(now_us(), Ordering::Relaxed),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    pub(super) async fn look(&self) -> Look {
        let ahead = self.ahead();
        let mut open = self.open.lock().await;
        if let Some(ended_us) = open.ended_us() {
            // Who knows whether it may be launched is who would have to do it.
            match self.host.launch(self.app.as_str(), USER).await {
                Ok(instance) => {
                    let lifted_us = self.lifted_us.load(Ordering::Relaxed);
                    let free_us = if lifted_us > ended_us { lifted_us } else { now_us() };
                    self.free_us.store(free_us, Ordering::Relaxed);
                    open.take(instance);
                }
                Err(error) if is_refusal(&error) => return Look { ahead, barred: true, since_us: ended_us },
                Err(_) => {}
            }
        }
        Look { ahead, barred: false, since_us: self.free_us.load(Ordering::Relaxed) }
    }

    /// The user closes the app, opens it until it comes up, and calls it.
    pub(super) async fn use_app(&self) -> Result<Used, DemoError> {
        let mut used = Used::default();
        let mut open = self.open.lock().await;
        open.close().await;
        for _ in 0..LAUNCHES {
            let before = self.ahead();
            match self.host.launch(self.app.as_str(), USER).await {
                Ok(instance) => {
                    sell(&instance).await.map_err(|error| DemoError::host(&self.unit, &error))?;
                    used.ran = self.current_seq()?;
                    open.take(instance);
                    break;
                }
                Err(error) if is_refusal(&error) => {
                    used.refused = true;
                    open.refused_us.get_or_insert_with(now_us);
                    break;
                }
                Err(LaunchError::Stopped { .. }) => used.crashed.push(before),
                Err(error) => return Err(DemoError::host(&self.unit, &error)),
            }
        }
        Ok(used)
    }

    fn current_seq(&self) -> Result<u64, DemoError> {
        let shelf = self.host.shelf(&self.app).map_err(|error| DemoError::host(&self.unit, &error))?;
        Ok(seq(shelf.current.as_ref()))
    }

    /// Whether the other app is here.
    pub(super) fn has_other(&self) -> bool {
        self.host.shelf(&self.other).is_ok_and(|shelf| shelf.ahead().is_some())
    }

    /// Calls the app that nobody switched off, in the same instance as before as long as that lives.
    pub(super) async fn use_other(&self) -> Result<(), DemoError> {
        let failed = |error: &dyn std::fmt::Display| {
            DemoError::host(&self.unit, &format!("the app that nobody switched off: {error}"))
        };
        let mut open = self.other_open.lock().await;
        if open.instance.is_none() {
            let launched = self.host.launch(self.other.as_str(), USER).await;
            open.take(launched.map_err(|error| failed(&error))?);
        }
        let Some(instance) = &open.instance else { return Ok(()) };
        sell(instance).await.map_err(|error| failed(&error))
    }
}

/// Whether the host says no by order of the registry, rather than that it tried and failed.
fn is_refusal(error: &LaunchError) -> bool {
    matches!(error, LaunchError::Killed { .. } | LaunchError::NotAllowed { .. })
}

/// What a shop does with the example.
async fn sell(instance: &Instance) -> Result<(), miniapp_runtime::CallError> {
    let _: serde_json::Value = instance.call("inventory.set", &json!({ "sku": "tea", "stock": 120 })).await?;
    let _: serde_json::Value = instance.call("stock.status", &json!({ "sku": "tea" })).await?;
    Ok(())
}
