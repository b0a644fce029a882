//! Releases on their way: one at a time, tried again after a while, given up when something else is decided.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mpkg_manifest::AppId;
use mpkg_package::Hash;
use mpkg_registry_client::Backoff;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::device::{Device, Offer, Shelf};
use super::event::{Event, Way};
use super::fetch::{FetchError, PatchError, Source};
use super::settings::Settings;
use super::vault::Vault;
use crate::data::DataError;
use crate::error::InstallError;

/// How long a package that was refused is not fetched again. It will be refused again; but somebody may have trusted a
/// newer root meanwhile.
const REFUSED: Duration = Duration::from_secs(3600);

/// Why a release is not here.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the package has {size} bytes, and the packages that must stay leave no room for it in {budget}")]
    NoRoom { size: u64, budget: u64 },
    #[error("something else was decided meanwhile")]
    Dropped,
}

impl Failure {
    fn code(&self) -> Option<String> {
        match self {
            Self::Fetch(error) => error.code().map(ToOwned::to_owned),
            Self::Install(error) => Some(error.code().to_owned()),
            Self::Data(_) => Some("MPKG-H01".to_owned()),
            Self::NoRoom { .. } | Self::Dropped => None,
        }
    }

    /// Whether the same package would be refused again.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Install(
                InstallError::Refused(_)
                    | InstallError::OtherPublisher { .. }
                    | InstallError::NotTheOffer { .. }
            ) | Self::Fetch(FetchError::Another { .. } | FetchError::Split { .. })
        )
    }
}

/// An installation that has ended.
pub(crate) struct Installing {
    offer: Offer,
    outcome: Result<(Way, Option<PatchError>), Failure>,
}

struct Try {
    package: Hash,
    tries: u32,
    /// Under way while there is none.
    again: Option<Instant>,
    dropped: CancellationToken,
}

pub(crate) struct Installs {
    source: Source,
    disk_bytes: u64,
    backoff: Backoff,
    tries: BTreeMap<AppId, Try>,
    /// One at a time: a phone has one disk and one network.
    slot: Arc<Semaphore>,
}

impl Installs {
    pub(crate) fn new(settings: &Settings, vault: Vault) -> Self {
        let source = Source { client: settings.registry.clone(), folder: None, vault };
        let (disk_bytes, backoff) = (settings.disk_bytes, settings.backoff);
        Self { source, disk_bytes, backoff, tries: BTreeMap::new(), slot: Arc::new(Semaphore::new(1)) }
    }

    /// Takes packages from this folder from now on.
    pub(crate) fn folder(&mut self, folder: PathBuf) {
        self.source.folder = Some(folder);
        // What could not be had may be there.
        self.tries.retain(|_, it| it.again.is_none());
    }

    /// Gives up what is under way for an app, unless it is this.
    pub(crate) fn only(&mut self, app: &AppId, package: Hash) {
        if self.tries.get(app).is_some_and(|it| it.package != package) {
            self.forget(app);
        }
    }

    pub(crate) fn forget(&mut self, app: &AppId) {
        if let Some(it) = self.tries.remove(app) {
            it.dropped.cancel();
        }
    }

    /// The work to get a release here; none while it is under way, or waits to be tried again, or without a place that
    /// it can come from.
    pub(crate) fn begin<D: Device>(
        &mut self,
        offer: Offer,
        shelf: &Shelf,
        device: Arc<D>,
        wait: Duration,
    ) -> Option<impl Future<Output = Installing> + Send + 'static> {
        if self.source.client.is_none() && self.source.folder.is_none() {
            return None;
        }
        let package = offer.release.package.sha256;
        let tries = match self.tries.get(&offer.app) {
            Some(it) if it.package == package => match it.again {
                Some(again) if again <= Instant::now() => it.tries,
                Some(_) | None => return None,
            },
            Some(_) | None => 0,
        };
        let dropped = CancellationToken::new();
        let it = Try { package, tries: tries.saturating_add(1), again: None, dropped: dropped.clone() };
        self.tries.insert(offer.app.clone(), it);
        let (source, slot, budget) = (self.source.clone(), self.slot.clone(), self.disk_bytes);
        let bases = shelf.releases.clone();
        Some(async move {
            let work = async {
                tokio::time::sleep(wait).await;
                let _slot = slot.acquire().await;
                source.vault.sweep(|hash| hash == package.to_string());
                install(&source, &offer, bases, device, budget).await
            };
            let outcome = dropped.run_until_cancelled(work).await.unwrap_or(Err(Failure::Dropped));
            Installing { offer, outcome }
        })
    }

    /// Keeps the outcome, and gives what there is to tell.
    pub(crate) fn ended(&mut self, installing: Installing) -> Vec<Event> {
        let Installing { offer: Offer { app, release, .. }, outcome } = installing;
        let current = self.tries.get_mut(&app).filter(|it| it.package == release.package.sha256);
        match outcome {
            Ok((way, refused)) => {
                self.tries.remove(&app);
                let refused = refused.map(|error| Event::PatchRefused {
                    app: app.clone(),
                    release: release.clone(),
                    code: error.code(),
                    message: error.to_string(),
                });
                refused.into_iter().chain([Event::Installed { app, release, way }]).collect()
            }
            Err(Failure::Dropped) => Vec::new(),
            Err(failure) => {
                if let Some(it) = current {
                    let wait = if failure.is_final() { REFUSED } else { self.backoff.wait(it.tries) };
                    it.again = Some(Instant::now() + wait);
                }
                tracing::warn!(app = app.as_str(), %release, error = %failure, "an update failed");
                let (code, message) = (failure.code(), failure.to_string());
                vec![Event::Failed { app, release, code, message }]
            }
        }
    }
}

/// Each step leaves a device that runs what it ran before, whatever happens within it.
async fn install<D: Device>(
    source: &Source,
    offer: &Offer,
    bases: Vec<mpkg_fleet::ReleaseRef>,
    device: Arc<D>,
    budget: u64,
) -> Result<(Way, Option<PatchError>), Failure> {
    let release = &offer.release;
    let step = |step| tracing::debug!(app = offer.app.as_str(), step, "updates");
    let size = release.package.size;
    let collect = |bytes: u64| {
        let device = device.clone();
        async move { tokio::task::spawn_blocking(move || device.collect(bytes)).await.unwrap_or(Ok(0)) }
    };
    let left = collect(budget.saturating_sub(size)).await?;
    if left.saturating_add(size) > budget {
        return Err(Failure::NoRoom { size, budget });
    }
    step("fetch");
    let bases = {
        let device = device.clone();
        let read = move || {
            let read = |base: &mpkg_fleet::ReleaseRef| device.package(base).map(|it| (base.package, it));
            // The newest two: an older one makes a longer patch.
            let newest = bases.iter().rev().take(2).filter_map(read);
            let mut newest: Vec<_> = newest.collect();
            newest.reverse();
            newest
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    };
    let came = source.get(release, bases).await?;
    step("verify");
    let (way, refused) = (came.way, came.refused);
    device.install(offer.clone(), came.package, came.signature).await?;
    step("installed");
    source.vault.sweep(|_| false);
    step("prepare");
    device.prepare(&offer.app, release).await;
    step("prepared");
    collect(budget).await?;
    Ok((way, refused))
}
