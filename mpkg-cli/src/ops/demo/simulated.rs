//! A host that only acts as if: it verifies packages, keeps releases and obeys orders as a real one does, and counts
//! launches of apps that it has not got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miniapp_runtime::updates::{Counted, Device, Offer, Orders, Shelf, Switch};
use miniapp_runtime::{DataError, InstallError};
use mpkg_fleet::{Counters, ReleaseRef};
use mpkg_manifest::AppId;
use mpkg_package::{Hash, Trust, verify_detached};

use super::message::{Look, Used, seq};
use super::system::now_us;

/// Abnormal starts after which a release is given up, as a real host does.
const STRIKES: u64 = 3;
/// Calls of a user who opens the app.
const CALLS: u64 = 20;

/// The packages that were verified in this process, once each: a thousand hosts have the same ones.
#[derive(Debug, Default)]
pub(super) struct Library(Mutex<BTreeMap<Hash, Arc<[u8]>>>);

impl Library {
    fn books(&self) -> MutexGuard<'_, BTreeMap<Hash, Arc<[u8]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, sha256: Hash, package: &[u8]) {
        self.books().entry(sha256).or_insert_with(|| package.into());
    }

    fn get(&self, sha256: Hash) -> Option<Vec<u8>> {
        self.books().get(&sha256).map(|package| package.to_vec())
    }
}

/// What is the same for all of them.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) app: AppId,
    /// The release that does not come up.
    pub(super) crashes: Hash,
    pub(super) library: Library,
}

/// What such a host knows.
#[derive(Debug, Default)]
struct State {
    orders: Option<Arc<Orders>>,
    shelf: Shelf,
    running: Option<ReleaseRef>,
    strikes: u64,
    counters: BTreeMap<u64, Counters>,
    barred: bool,
    since_us: u64,
}

impl State {
    fn count(&mut self, release: &ReleaseRef, count: impl FnOnce(&mut Counters)) {
        count(self.counters.entry(release.release_seq).or_default());
    }

    /// Whether the orders forbid a launch of what would be launched.
    fn judge(&mut self, app: &AppId) {
        let barred = match (&self.orders, self.shelf.ahead()) {
            (Some(orders), Some(release)) => {
                self.running.is_none() && !orders.causes(app, release).is_empty()
            }
            // Nothing is here, or nothing is known: there is nothing to be launched.
            _ => false,
        };
        if barred != self.barred {
            (self.barred, self.since_us) = (barred, now_us());
        }
    }

    /// What takes the running one's place does so now, since nothing runs.
    fn turn(&mut self) {
        if let Some(next) = self.shelf.next.take() {
            self.shelf.current = Some(next);
            self.strikes = 0;
        }
    }

    /// Gives the release up that has failed too often, for the newest that has not.
    fn revert(&mut self, failed: ReleaseRef) {
        self.count(&failed, |counters| counters.crash_loops += 1);
        self.shelf.rejected.push(failed);
        let Shelf { releases, rejected, .. } = &self.shelf;
        let good = releases.iter().rev().find(|release| !rejected.contains(release));
        self.shelf.current = good.cloned();
        self.strikes = 0;
    }
}

/// A host that only acts as if. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Simulated {
    common: Arc<Common>,
    state: Arc<Mutex<State>>,
}

impl Simulated {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self { common, state: Arc::default() }
    }

    /// The same host after a restart: what was on its disk is there, what was in its memory is not.
    pub(super) fn restarted(&self) -> Self {
        let before = self.state();
        let Shelf { releases, current, next, rejected } = before.shelf.clone();
        let shelf = Shelf { releases, current: next.or(current), next: None, rejected };
        let state = State { shelf, ..State::default() };
        Self { common: self.common.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look(&self) -> Look {
        let state = self.state();
        Look { ahead: seq(state.shelf.ahead()), barred: state.barred, since_us: state.since_us }
    }

    /// The user closes the app, opens it until it comes up, and calls it.
    pub(super) fn use_app(&self) -> Used {
        let mut state = self.state();
        let mut used = Used::default();
        state.running = None;
        for _ in 0..=STRIKES {
            state.turn();
            let Some(release) = state.shelf.current.clone() else { break };
            let refused = |orders: &Arc<Orders>| !orders.causes(&self.common.app, &release).is_empty();
            // Without orders nothing is known of the app, and no release of it is here either.
            if state.orders.as_ref().is_none_or(refused) {
                used.refused = true;
                break;
            }
            state.count(&release, |counters| counters.launches += 1);
            if release.package.sha256 == self.common.crashes {
                used.crashed.push(release.release_seq);
                state.count(&release, |counters| counters.crashes += 1);
                state.strikes += 1;
                if state.strikes >= STRIKES {
                    state.revert(release);
                }
                continue;
            }
            state.count(&release, |counters| {
                counters.beacons += 1;
                counters.calls += CALLS;
            });
            state.strikes = 0;
            used.ran = release.release_seq;
            state.running = Some(release);
            break;
        }
        state.judge(&self.common.app);
        used
    }

    fn of_app(&self, app: &AppId) -> bool {
        *app == self.common.app
    }
}

impl Device for Simulated {
    fn apps(&self) -> Result<Vec<AppId>, DataError> {
        Ok(self.state().shelf.current.iter().map(|_| self.common.app.clone()).collect())
    }

    fn shelf(&self, app: &AppId) -> Result<Shelf, DataError> {
        Ok(if self.of_app(app) { self.state().shelf.clone() } else { Shelf::default() })
    }

    fn obey(&self, orders: &Arc<Orders>) -> usize {
        let mut state = self.state();
        state.orders = Some(orders.clone());
        let app = &self.common.app;
        let stopped = state.running.take_if(|release| !orders.effects(app, release).stop.is_empty());
        if let Some(release) = &stopped {
            state.count(release, |counters| counters.kills += 1);
        }
        state.judge(app);
        usize::from(stopped.is_some())
    }

    fn package(&self, release: &ReleaseRef) -> Option<Vec<u8>> {
        self.common.library.get(release.package.sha256)
    }

    async fn install(&self, offer: Offer, package: Vec<u8>, signature: Vec<u8>) -> Result<(), InstallError> {
        let trust = Trust::publisher(offer.publisher);
        let verified =
            tokio::task::spawn_blocking(move || verify_detached(package, &signature, &trust)).await;
        let verified = verified.map_err(|_| InstallError::Interrupted)?;
        let verified = verified.map_err(|error| InstallError::Refused(Box::new(error)))?;
        if !self.of_app(&offer.app) {
            let (app_id, release_seq) = (offer.app.to_string(), offer.release.release_seq);
            return Err(InstallError::NotTheOffer { app_id, release_seq, what: "app" });
        }
        offer.check(&verified)?;
        self.common.library.keep(offer.release.package.sha256, verified.package());
        let mut state = self.state();
        let releases = &mut state.shelf.releases;
        if !releases.contains(&offer.release) {
            releases.push(offer.release);
            releases.sort_by_key(|release| release.release_seq);
        }
        Ok(())
    }

    async fn prepare(&self, _app: &AppId, _release: &ReleaseRef) {}

    async fn switch(&self, app: &AppId, release: &ReleaseRef, when: Switch) -> Result<bool, DataError> {
        let mut state = self.state();
        if !self.of_app(app) || !state.shelf.has(release) || state.shelf.rejects(release) {
            return Ok(false);
        }
        if when == Switch::AtOnce {
            state.running = None;
        }
        let stays = state.shelf.current.as_ref() == Some(release);
        state.shelf.next = (!stays).then(|| release.clone());
        if state.running.is_none() {
            state.turn();
        }
        state.judge(&self.common.app);
        Ok(true)
    }

    fn collect(&self, bytes: u64) -> Result<u64, DataError> {
        let mut state = self.state();
        let Shelf { releases, current, next, .. } = &mut state.shelf;
        let size = |releases: &[ReleaseRef]| releases.iter().map(|it| it.package.size).sum::<u64>();
        let mut index = 0;
        while size(releases) > bytes && releases.len() > 2 && index < releases.len() {
            let needed = |it: &ReleaseRef| current.as_ref() == Some(it) || next.as_ref() == Some(it);
            if releases.get(index).is_some_and(needed) {
                index += 1;
            } else {
                releases.remove(index);
            }
        }
        Ok(size(releases))
    }

    async fn remove(&self, app: &AppId) -> Result<(), InstallError> {
        if self.of_app(app) {
            let mut state = self.state();
            (state.shelf, state.running) = (Shelf::default(), None);
        }
        Ok(())
    }

    fn counted(&self) -> Vec<Counted> {
        let app = &self.common.app;
        let state = self.state();
        let counted = state.counters.iter();
        counted
            .map(|(release_seq, counters)| Counted {
                app: app.clone(),
                release_seq: *release_seq,
                counters: *counters,
            })
            .collect()
    }
}

/// All releases of which any was launched.
pub(super) fn launched(used: &Used) -> BTreeSet<u64> {
    used.crashed.iter().copied().chain((used.ran > 0).then_some(used.ran)).collect()
}
