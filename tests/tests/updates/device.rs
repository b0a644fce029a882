//! A device without a sandbox: it verifies and keeps packages as a host does, and notes what it was ordered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use miniapp_runtime::updates::{Agent, Counted, Device, Event, Offer, Orders, Settings, Shelf, Switch};
use miniapp_runtime::{DataError, InstallError};
use mpkg_fleet::{Context, Counters, ReleaseRef};
use mpkg_manifest::AppId;
use mpkg_package::{Trust, verify_any};
use mpkg_registry_client::{Backoff, Client};
use tempfile::TempDir;
use tokio::sync::{Notify, broadcast};

use crate::common::{APP, TestRegistry};

#[derive(Default)]
pub struct Held {
    pub shelf: Shelf,
    pub packages: Vec<(ReleaseRef, Vec<u8>)>,
    pub orders: Option<Arc<Orders>>,
    /// Whether an instance of what is current runs.
    pub runs: bool,
    pub stops: usize,
    pub counters: BTreeMap<u64, Counters>,
    /// Releases that it says did not start.
    pub reject: Vec<ReleaseRef>,
    /// How often it was told to remove the app.
    pub removals: usize,
    /// Where it waits before it switches.
    pub switching: Option<Hold>,
    /// Where it waits before it keeps a package that it has verified.
    pub keeping: Option<Hold>,
}

/// Something that takes until a test says so.
#[derive(Clone, Default)]
pub struct Hold {
    pub reached: Arc<Notify>,
    pub over: Arc<Notify>,
}

impl Hold {
    async fn pass(hold: Option<Self>) {
        if let Some(hold) = hold {
            hold.reached.notify_one();
            hold.over.notified().await;
        }
    }
}

/// Clones are the same device.
#[derive(Clone, Default)]
pub struct Noting(Arc<Mutex<Held>>);

impl Noting {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    pub fn current(&self) -> Option<u64> {
        self.held().shelf.current.as_ref().map(|release| release.release_seq)
    }

    /// Whether what is current may be launched.
    pub fn launches(&self) -> bool {
        let held = self.held();
        let (Some(orders), Some(current)) = (&held.orders, &held.shelf.current) else { return false };
        orders.causes(&app(), current).is_empty()
    }

    pub fn orders(&self) -> Arc<Orders> {
        self.held().orders.clone().unwrap()
    }
}

pub fn app() -> AppId {
    APP.parse().unwrap()
}

impl Device for Noting {
    fn apps(&self) -> Result<Vec<AppId>, DataError> {
        Ok(self.held().shelf.current.iter().map(|_| app()).collect())
    }

    fn shelf(&self, app: &AppId) -> Result<Shelf, DataError> {
        let held = self.held();
        let shelf = Shelf { rejected: held.reject.clone(), ..held.shelf.clone() };
        Ok(if app.as_str() == APP { shelf } else { Shelf::default() })
    }

    fn obey(&self, orders: &Arc<Orders>) -> usize {
        let mut held = self.held();
        held.orders = Some(orders.clone());
        let stop = held.shelf.current.as_ref().is_some_and(|it| !orders.effects(&app(), it).stop.is_empty());
        let stopped = usize::from(stop && held.runs);
        held.runs &= !stop;
        held.stops += stopped;
        stopped
    }

    fn package(&self, release: &ReleaseRef) -> Option<Vec<u8>> {
        let held = self.held();
        held.packages.iter().find(|(it, _)| it == release).map(|(_, package)| package.clone())
    }

    async fn install(&self, offer: Offer, package: Vec<u8>, signature: Vec<u8>) -> Result<(), InstallError> {
        let trust = [Trust::publisher(offer.publisher)];
        let verified = verify_any(package, Some(&signature), &trust).map_err(Box::new)?;
        assert_eq!(verified.digest(), offer.release.package);
        let device = self.clone();
        // As on a thread that waits for the disk: it goes on when nobody waits for it any more.
        let keeping = tokio::spawn(async move {
            let hold = device.held().keeping.clone();
            Hold::pass(hold).await;
            let mut held = device.held();
            held.packages.push((offer.release.clone(), verified.package().to_vec()));
            held.shelf.releases.push(offer.release);
            held.shelf.releases.sort_by_key(|release| release.release_seq);
        });
        keeping.await.unwrap();
        Ok(())
    }

    async fn prepare(&self, _: &AppId, _: &ReleaseRef) {}

    async fn switch(&self, _: &AppId, release: &ReleaseRef, _: Switch) -> Result<bool, DataError> {
        let hold = self.held().switching.clone();
        Hold::pass(hold).await;
        let mut held = self.held();
        held.shelf.current = Some(release.clone());
        held.runs = true;
        Ok(true)
    }

    fn collect(&self, bytes: u64) -> Result<u64, DataError> {
        let mut held = self.held();
        let size = |held: &Held| held.packages.iter().map(|(it, _)| it.package.size).sum::<u64>();
        while held.packages.len() > 2 && size(&held) > bytes {
            let (release, _) = held.packages.remove(0);
            held.shelf.releases.retain(|it| *it != release);
        }
        Ok(size(&held))
    }

    async fn remove(&self, _: &AppId) -> Result<(), InstallError> {
        let mut held = self.held();
        *held = Held { removals: held.removals + 1, ..Held::default() };
        Ok(())
    }

    fn counted(&self) -> Vec<Counted> {
        let held = self.held();
        let row = |(seq, counters): (&u64, &Counters)| Counted {
            app: app(),
            release_seq: *seq,
            counters: *counters,
        };
        held.counters.iter().map(row).collect()
    }
}

/// A device with its agent, and the folder that outlives both.
pub struct Host {
    pub device: Noting,
    pub agent: Agent,
    pub events: broadcast::Receiver<Event>,
    pub folder: TempDir,
    pub settings: Settings,
}

pub fn context(unit: &str) -> Context {
    serde_json::from_value(
        serde_json::json!({ "unit": unit, "platform": "android", "host_version": "3.1.0" }),
    )
    .unwrap()
}

/// Settings of a host that is told everything at once.
pub fn settings(registry: &TestRegistry, unit: &str, folder: &TempDir) -> Settings {
    Settings {
        spread: Duration::ZERO,
        look_every: Duration::from_millis(200),
        report_every: Duration::from_secs(3_600),
        backoff: Backoff { first: Duration::from_millis(10), most: Duration::from_millis(200) },
        ..Settings::new(
            Trust::publisher(registry.registry.id()),
            context(unit),
            folder.path().join("updates"),
        )
    }
}

impl Host {
    /// A host that reaches the registry at this address, which need not be its own.
    pub async fn at(registry: &TestRegistry, address: &str, unit: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = registry.host(unit).await;
        let client = Client::new(address, Some(&token)).unwrap();
        let settings = settings(registry, unit, &folder).registry(client);
        Self::with(settings, Noting::default(), folder).await
    }

    pub async fn new(registry: &TestRegistry, unit: &str) -> Self {
        Self::at(registry, &registry.base, unit).await
    }

    pub async fn with(settings: Settings, device: Noting, folder: TempDir) -> Self {
        let agent = Agent::start(settings.clone(), device.clone()).await.unwrap();
        let events = agent.events();
        agent.want(app()).await.unwrap();
        Self { device, agent, events, folder, settings }
    }

    /// The same host after its process ended, with other settings.
    pub async fn restart(self, settings: Settings) -> Self {
        let Self { device, agent, folder, .. } = self;
        agent.shutdown().await;
        // They begin anew with each run.
        device.held().counters.clear();
        Self::with(settings, device, folder).await
    }

    /// The first event from now on that is one of these.
    pub async fn event(&mut self, what: &str, is: impl Fn(&Event) -> bool) -> Event {
        let found = async {
            loop {
                match self.events.recv().await {
                    Ok(event) if is(&event) => return event,
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => panic!("no {what}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    pub async fn refused(&mut self, code: &str) -> Event {
        let refused = |event: &Event| matches!(event, Event::Refused { code: found, .. } if *found == code);
        self.event(&format!("refusal by {code}"), refused).await
    }

    pub async fn runs(&mut self, release_seq: u64) {
        let device = self.device.clone();
        until(&format!("release {release_seq}"), || device.current() == Some(release_seq)).await;
    }

    /// Until it has obeyed the registry's newest head.
    pub async fn caught_up(&self, registry: &TestRegistry) {
        let reached = self.agent.reached(registry.registry.head());
        tokio::time::timeout(Duration::from_secs(60), reached).await.expect("the newest head").unwrap();
    }
}

/// Waits for something that comes about without being told.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited a minute for {what}");
}
