//! A host as what an agent decides for: its shelf of verified releases, and which of them runs.

use std::collections::HashMap;
use std::sync::Arc;

use mpkg_fleet::ReleaseRef;
use mpkg_manifest::AppId;
use mpkg_package::{Trust, digest};
use serde::Serialize;

use super::device::{Counted, Device, Offer, Shelf, Switch};
use super::orders::Orders;
use crate::data::{DataError, Installed, write_file};
use crate::error::{InstallError, LaunchError};
use crate::host::{Host, Inner};
use crate::install::{admit, check_code, check_succession, describe, forget, lock, verify};
use crate::life::Life;
use crate::prepare::prepare_fully;

/// How many releases of an app stay on the disk, however little room there is.
const KEPT: usize = 2;

/// A verified release that is on the disk, for a task manager.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeldRelease {
    /// The release.
    pub release: ReleaseRef,
    /// Since when it is here, in milliseconds since 1970.
    pub since_ms: u64,
    /// Launches run it.
    pub current: bool,
    /// It takes the current one's place when nothing of the app runs.
    pub next: bool,
    /// It came up at least once, as far as that was watched.
    pub good: bool,
    /// It failed to start too often, and is not run again.
    pub rejected: bool,
    /// It can be launched here: with code that is here, or that is compiled then. Where it cannot, it waits for
    /// [`Host::add_code`].
    pub has_code: bool,
    /// It is shipped within the Super App.
    pub embedded: bool,
}

impl Host {
    /// The releases of an app that are on the disk, in ascending order of their sequence.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// assert!(host.releases("com.example.shop").unwrap().is_empty());
    /// # });
    /// ```
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn releases(&self, app_id: &str) -> Result<Vec<HeldRelease>, DataError> {
        let data = &self.inner.data;
        let (held, here, boots) = (data.releases(app_id)?, data.on_hand(app_id)?, data.boots(app_id)?);
        let current = here.as_ref().and_then(|here| here.current.as_ref());
        let current = current.map(|current| current.installed.digest.as_str());
        let next = here.as_ref().and_then(|here| here.next.as_deref());
        held.iter()
            .map(|held| {
                let digest = held.installed.digest.as_str();
                Ok(HeldRelease {
                    release: held.installed.release()?.release,
                    since_ms: held.since_ms,
                    current: current == Some(digest),
                    next: next == Some(digest),
                    good: boots.is_good(digest),
                    rejected: boots.is_rejected(digest),
                    has_code: self.inner.tiers.can_run(digest),
                    embedded: boots.is_embedded(digest),
                })
            })
            .collect()
    }

    /// Puts a signed package that is shipped within the Super App on the shelf, where it stays: an app whose releases from
    /// elsewhere do not start goes back to it. It is what runs if nothing else is installed. To be called whenever the host
    /// starts: what is damaged of it on the disk is mended then. A package of the same app that was embedded before is an
    /// ordinary one from then on.
    ///
    /// It must come from a publisher that this host trusts, or that the fleet's state names for the app. It may be older
    /// than what was installed; its root may not be older than the newest that this host has seen of the publisher.
    ///
    /// # Errors
    /// [`InstallError`]; nothing has changed then.
    pub async fn embed(&self, package: Vec<u8>) -> Result<Installed, InstallError> {
        self.blocking(move |inner| embed(inner, package)).await
    }
}

fn embed(inner: &Inner, package: Vec<u8>) -> Result<Installed, InstallError> {
    let orders = inner.orders.get();
    let named = orders.iter().flat_map(|orders| orders.fleet().apps());
    let named = named.map(|(_, state)| Trust::publisher(state.document().publisher));
    let trust: Vec<_> = inner.trust.iter().cloned().chain(named).collect();
    if trust.is_empty() {
        return Err(InstallError::NobodyTrusted);
    }
    let verified = verify(package, None, &trust)?;
    let app = describe(&verified)?;
    if let Some(state) = orders.as_ref().and_then(|orders| orders.fleet().app(&verified.manifest().app_id)) {
        let installed = state.document().publisher.to_string();
        if installed != app.publisher {
            let (app_id, offered) = (app.app_id, app.publisher);
            return Err(InstallError::OtherPublisher { app_id, installed, offered });
        }
    }
    let _shelving = lock(inner);
    let here = inner.data.held(&app.app_id, &app.digest)?.is_some();
    // What is here was admitted when it came.
    let floors = if here {
        None
    } else {
        check_succession(inner, &app)?;
        Some(admit(inner, &verified, &app, true)?)
    };
    check_code(inner, &app)?;
    keep(inner, &app, verified.package())?;
    inner.data.change(|records| {
        if let Some(floors) = floors {
            records.hold(&app)?;
            records.raise_trust(&app, floors)?;
        }
        records.change_boots(&app.app_id, |boots| boots.embed(&app.digest))?;
        if records.installed(&app.app_id)?.is_none() {
            records.make_current(&app)?;
        }
        Ok(())
    })?;
    Ok(app)
}

impl Device for Host {
    fn apps(&self) -> Result<Vec<AppId>, DataError> {
        let installed = self.inner.data.all_installed()?;
        Ok(installed.iter().filter_map(|app| app.app_id.parse().ok()).collect())
    }

    fn shelf(&self, app: &AppId) -> Result<Shelf, DataError> {
        let inner = &self.inner;
        let starts = &inner.living.starts;
        starts.record(inner);
        starts.settle(inner, app.as_str())?;
        let mut held = inner.data.releases(app.as_str())?;
        // What is recorded and gone from the disk is to be fetched again.
        held.retain(|held| is_there(inner, &held.installed));
        let here = inner.data.on_hand(app.as_str())?;
        let releases = held.iter().map(|held| held.installed.release().map(|it| it.release));
        let releases = releases.collect::<Result<Vec<_>, _>>()?;
        let find = |digest: &str| {
            releases.iter().find(|release| release.package.sha256.to_string() == digest).cloned()
        };
        Ok(Shelf {
            current: here
                .as_ref()
                .and_then(|here| here.current.as_ref())
                .map(|current| current.release.release.clone()),
            next: here.as_ref().and_then(|here| here.next.as_deref()).and_then(find),
            rejected: inner.data.boots(app.as_str())?.rejected(),
            releases,
        })
    }

    fn obey(&self, orders: &Arc<Orders>) -> usize {
        let inner = &self.inner;
        inner.orders.set(orders.clone());
        let stop = |life: &Arc<Life>| {
            let reason = life.trial.chosen().and_then(|chosen| orders.stops(&chosen.release));
            reason.is_some_and(|reason| life.stop(reason))
        };
        // What is stopped needs no permission taken.
        let stopped = inner.living.all().iter().filter(|life| stop(life)).count();
        for (of, permission) in inner.broker.obey() {
            inner.local.revoked(&of, &permission);
        }
        stopped
    }

    fn package(&self, release: &ReleaseRef) -> Option<Vec<u8>> {
        let path = self.inner.data.package_path(&release.package.sha256.to_string());
        let bytes = std::fs::read(path).ok()?;
        (digest::identity(&bytes) == release.package).then_some(bytes)
    }

    async fn install(&self, offer: Offer, package: Vec<u8>, signature: Vec<u8>) -> Result<(), InstallError> {
        self.blocking(move |inner| shelve(inner, &offer, package, &signature)).await
    }

    async fn prepare(&self, app: &AppId, release: &ReleaseRef) {
        let held = self.inner.data.held(app.as_str(), &release.package.sha256.to_string());
        let prepared = match held {
            Ok(Some(held)) => prepare_fully(&self.inner, Arc::new(held)).await,
            Ok(None) => return,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = prepared {
            tracing::warn!(%error, %app, %release, "a release could not be prepared");
        }
    }

    async fn switch(&self, app: &AppId, release: &ReleaseRef, when: Switch) -> Result<bool, DataError> {
        let digest = release.package.sha256.to_string();
        let switched = self.inner.switch(app.to_string(), digest, when == Switch::AtOnce).await;
        switched.or_else(|error| match error {
            LaunchError::Data(error) => Err(error),
            // The host is going down.
            _ => Ok(false),
        })
    }

    fn collect(&self, bytes: u64) -> Result<u64, DataError> {
        let inner = &self.inner;
        let _shelving = lock(inner);
        let mut held = inner.data.all_held()?;
        held.sort_by_key(|held| (held.since_ms, held.installed.release_seq));
        let mut left: u64 = held.iter().map(|held| held.installed.size).sum();
        let mut of_app: HashMap<&str, usize> = HashMap::new();
        for held in &held {
            *of_app.entry(&held.installed.app_id).or_default() += 1;
        }
        for held in &held {
            if left <= bytes {
                break;
            }
            let (app_id, digest) = (held.installed.app_id.as_str(), held.installed.digest.as_str());
            let Some(count) = of_app.get_mut(app_id).filter(|count| **count > KEPT) else { continue };
            let dropped = inner.data.change_if(|records| {
                if records.is_needed(app_id, digest)? {
                    return Ok(None);
                }
                records.drop_held(app_id, digest).map(Some)
            })?;
            if dropped.is_some() {
                forget(inner, digest);
                *count -= 1;
                left = left.saturating_sub(held.installed.size);
            }
        }
        Ok(left)
    }

    async fn remove(&self, app: &AppId) -> Result<(), InstallError> {
        self.uninstall(app.as_str()).await.map(drop)
    }

    fn counted(&self) -> Vec<Counted> {
        self.inner.living.starts.counted()
    }
}

/// Verifies a package that was offered over the air and puts it on the shelf.
///
/// The host's own floors for sequences and grants do not hold here: the fleet's state has the right to go back, down to its
/// signed `min_seq`, and the publisher has signed every release and every grant. With them a host that first met the newer
/// release could never follow a rollback.
fn shelve(inner: &Inner, offer: &Offer, package: Vec<u8>, signature: &[u8]) -> Result<(), InstallError> {
    let signature = (!signature.is_empty()).then_some(signature);
    let verified = verify(package, signature, &[Trust::publisher(offer.publisher)])?;
    offer.check(&verified)?;
    let app = describe(&verified)?;
    let _shelving = lock(inner);
    check_succession(inner, &app)?;
    let floors = admit(inner, &verified, &app, true)?;
    keep(inner, &app, verified.package())?;
    tracing::debug!(app = app.app_id, step = "written", "updates");
    inner.data.change(|records| {
        records.hold(&app)?;
        records.raise_trust(&app, floors)
    })?;
    tracing::debug!(app = app.app_id, step = "recorded", "updates");
    Ok(())
}

/// Writes a package, unless its file is that package already, byte for byte.
fn keep(inner: &Inner, app: &Installed, package: &[u8]) -> Result<(), DataError> {
    let path = inner.data.package_path(&app.digest);
    let whole =
        std::fs::read(&path).is_ok_and(|bytes| digest::identity(&bytes).sha256.to_string() == app.digest);
    if whole { Ok(()) } else { write_file(&path, &[package]) }
}

/// Whether the file of a release is there, by its length. One that is as long and another is found out by a launch, which
/// removes it.
fn is_there(inner: &Inner, app: &Installed) -> bool {
    let path = inner.data.package_path(&app.digest);
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == app.size)
}
