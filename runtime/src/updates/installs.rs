//! Releases on their way: one at a time, tried again after a while, given up when something else is decided.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mpkg_manifest::AppId;
use mpkg_package::{Digest, Hash};
use mpkg_registry_client::{Backoff, ClientError};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::device::{Device, Offer, Shelf};
use super::event::{Event, Way};
use super::fetch::{Came, FetchError, PatchError, Source, time_for};
use super::settings::Settings;
use super::vault::Vault;
use crate::data::DataError;
use crate::error::InstallError;

/// How long a package that was refused is not fetched again. It will be refused again; but somebody may have trusted a
/// newer root meanwhile.
const REFUSED: Duration = Duration::from_secs(3600);

/// Tries in which other bytes came than were asked for, until it is taken for the registry's own fault.
const WRONG: u32 = 3;

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

    /// Whether the same package would be refused again, after so many tries.
    fn is_final(&self, tries: u32) -> bool {
        match self {
            Self::Install(
                InstallError::Refused(_)
                | InstallError::OtherPublisher { .. }
                | InstallError::NotTheOffer { .. }
                | InstallError::Changed { .. }
                | InstallError::TooManyPermissions { .. },
            )
            | Self::Fetch(FetchError::Another { .. } | FetchError::Split { .. }) => true,
            // Whoever is between may spoil an answer once. After that all of it would be fetched for nothing.
            Self::Fetch(FetchError::Client(
                ClientError::Package { .. } | ClientError::Damaged(_) | ClientError::TooLarge { .. },
            )) => tries >= WRONG,
            _ => false,
        }
    }
}

/// An installation that has ended.
pub(crate) struct Installing {
    offer: Offer,
    /// It may be on the shelf.
    shelved: bool,
    outcome: Result<(Way, Option<PatchError>), Failure>,
}

impl Installing {
    /// The app, if something of it may have come onto the shelf.
    pub(crate) fn shelved(&self) -> Option<&AppId> {
        self.shelved.then_some(&self.offer.app)
    }
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
        let source = Source { client: settings.registry.clone(), folder: None, vault, time: time_for };
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
            let ready = async {
                tokio::time::sleep(wait).await;
                slot.acquire().await
            };
            let mut shelved = false;
            let Some(_slot) = dropped.run_until_cancelled(ready).await else {
                return Installing { offer, shelved, outcome: Err(Failure::Dropped) };
            };
            source.vault.sweep(|hash| hash == package.to_string());
            let work = Work { source: &source, offer: &offer, device, budget, dropped: &dropped };
            let outcome = work.run(bases, &mut shelved).await;
            Installing { offer, shelved, outcome }
        })
    }

    /// Keeps the outcome, and gives what there is to tell.
    pub(crate) fn ended(&mut self, installing: Installing) -> Vec<Event> {
        let Installing { offer: Offer { app, release, .. }, outcome, .. } = installing;
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
                    let wait = if failure.is_final(it.tries) { REFUSED } else { self.backoff.wait(it.tries) };
                    it.again = Some(Instant::now() + wait);
                }
                tracing::warn!(app = app.as_str(), %release, error = %failure, "an update failed");
                let (code, message) = (failure.code(), failure.to_string());
                vec![Event::Failed { app, release, code, message }]
            }
        }
    }
}

/// An installation under way. Each step leaves a device that runs what it ran before, whatever happens within it.
struct Work<'a, D> {
    source: &'a Source,
    offer: &'a Offer,
    device: Arc<D>,
    budget: u64,
    dropped: &'a CancellationToken,
}

impl<D: Device> Work<'_, D> {
    /// `shelved` is set before anything may come onto the shelf.
    async fn run(
        &self,
        bases: Vec<mpkg_fleet::ReleaseRef>,
        shelved: &mut bool,
    ) -> Result<(Way, Option<PatchError>), Failure> {
        let Self { source, offer, .. } = *self;
        let mut came = self.unless_dropped(self.fetch(source, bases)).await?;
        *shelved = true;
        let installed = self.shelve(&mut came).await;
        let (way, refused) = match installed {
            // As with what is no package at all: the registry may have a better one.
            Err(Failure::Install(error)) if came.way == Way::Folder && source.client.is_some() => {
                tracing::warn!(app = offer.app.as_str(), %error, "what is in the folder is passed over");
                let registry = Source { folder: None, ..source.clone() };
                let mut came = self.unless_dropped(self.fetch(&registry, Vec::new())).await?;
                self.shelve(&mut came).await?;
                (came.way, came.refused)
            }
            installed => {
                installed?;
                (came.way, came.refused)
            }
        };
        self.step("installed");
        source.vault.sweep(|_| false);
        self.step("prepare");
        let prepare = async {
            self.device.prepare(&offer.app, &offer.release).await;
            Ok(())
        };
        self.unless_dropped(prepare).await?;
        self.step("prepared");
        self.collect(self.budget).await?;
        Ok((way, refused))
    }

    fn step(&self, step: &'static str) {
        tracing::debug!(app = self.offer.app.as_str(), step, "updates");
    }

    async fn unless_dropped<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.dropped.run_until_cancelled(work).await.unwrap_or(Err(Failure::Dropped))
    }

    async fn fetch(&self, source: &Source, bases: Vec<mpkg_fleet::ReleaseRef>) -> Result<Came, Failure> {
        let (release, budget) = (&self.offer.release, self.budget);
        let size = release.package.size;
        let left = self.collect(budget.saturating_sub(size)).await?;
        if left.saturating_add(size) > budget {
            return Err(Failure::NoRoom { size, budget });
        }
        self.step("fetch");
        Ok(source.get(release, self.packages(bases).await).await?)
    }

    /// To its end, even if it is given up meanwhile: a thread that has begun to write cannot be called back, and whoever
    /// hears of this one's end can take it away.
    async fn shelve(&self, came: &mut Came) -> Result<(), Failure> {
        self.step("verify");
        let (package, signature) = (std::mem::take(&mut came.package), std::mem::take(&mut came.signature));
        Ok(self.device.install(self.offer.clone(), package, signature).await?)
    }

    async fn collect(&self, bytes: u64) -> Result<u64, DataError> {
        let device = self.device.clone();
        tokio::task::spawn_blocking(move || device.collect(bytes)).await.unwrap_or(Ok(0))
    }

    /// The newest two of these, with their bytes: an older one makes a longer patch.
    async fn packages(&self, bases: Vec<mpkg_fleet::ReleaseRef>) -> Vec<(Digest, Vec<u8>)> {
        let device = self.device.clone();
        let read = move || {
            let read = |base: &mpkg_fleet::ReleaseRef| device.package(base).map(|it| (base.package, it));
            let mut newest: Vec<_> = bases.iter().rev().take(2).filter_map(read).collect();
            newest.reverse();
            newest
        };
        tokio::task::spawn_blocking(read).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_refused_again_is_not_fetched_again_at_once() {
        let installed = |error: InstallError| Failure::Install(error);
        let client = |error: ClientError| Failure::Fetch(FetchError::Client(error));
        let app_id = || "com.example.app".to_owned();
        let other = || std::io::Error::other("x");
        let found = Digest::of(b"other");
        // From which try on.
        let table = [
            (installed(InstallError::Changed { app_id: app_id(), release_seq: 2 }), Some(1)),
            (installed(InstallError::TooManyPermissions { declared: 65, limit: 64 }), Some(1)),
            (installed(InstallError::NotTheOffer { app_id: app_id(), release_seq: 2, what: "app" }), Some(1)),
            (Failure::Fetch(FetchError::Another { path: "x".into() }), Some(1)),
            (client(ClientError::Package { found }), Some(WRONG)),
            (client(ClientError::Damaged(other())), Some(WRONG)),
            (client(ClientError::TooLarge { limit: 1 }), Some(WRONG)),
            (client(ClientError::Short { found: 1, wanted: 2 }), None),
            (client(ClientError::Disk(other())), None),
            (Failure::Fetch(FetchError::Slow(Duration::ZERO)), None),
            (installed(InstallError::Interrupted), None),
        ];
        for (failure, from) in table {
            for tries in 1..=2 * WRONG {
                assert_eq!(
                    failure.is_final(tries),
                    from.is_some_and(|from| tries >= from),
                    "{failure} {tries}"
                );
            }
        }
    }
}
