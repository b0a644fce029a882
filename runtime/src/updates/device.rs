//! What carries an agent's decisions out: a host with its apps, or something that acts like one.

use std::future::Future;
use std::sync::Arc;

use mpkg_fleet::{Counters, ReleaseRef};
use mpkg_manifest::AppId;
use mpkg_package::{PublisherId, Verified};

use super::orders::Orders;
use crate::data::DataError;
use crate::error::InstallError;

/// A release that the registry's signed state offers to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The app.
    pub app: AppId,
    /// Whose app it is: nobody else's package is installed as it.
    pub publisher: PublisherId,
    /// The release.
    pub release: ReleaseRef,
}

impl Offer {
    /// Refuses a package that is another release than this, whoever signed it.
    ///
    /// # Errors
    /// [`InstallError::NotTheOffer`].
    pub fn check(&self, verified: &Verified) -> Result<(), InstallError> {
        let (statement, release) = (verified.statement(), &self.release);
        let same = [
            (statement.app_id == self.app.as_str(), "app"),
            (statement.publisher == self.publisher, "publisher"),
            (statement.package == release.package, "digest"),
            (statement.release_seq == release.release_seq, "release sequence"),
            (statement.version == release.version.to_string(), "version"),
        ];
        match same.into_iter().find(|(same, _)| !same) {
            None => Ok(()),
            Some((_, what)) => {
                let (app_id, release_seq) = (self.app.to_string(), release.release_seq);
                Err(InstallError::NotTheOffer { app_id, release_seq, what })
            }
        }
    }
}

/// The releases of an app that a device has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// Verified and ready to be run, in ascending order of their sequence.
    pub releases: Vec<ReleaseRef>,
    /// What a launch runs now.
    pub current: Option<ReleaseRef>,
    /// What takes its place when no instance of it runs any more.
    pub next: Option<ReleaseRef>,
    /// What did not start too often, and is not run again on this device.
    pub rejected: Vec<ReleaseRef>,
}

impl Shelf {
    /// What the app will run from the next launch on.
    pub fn ahead(&self) -> Option<&ReleaseRef> {
        self.next.as_ref().or(self.current.as_ref())
    }

    /// Whether this package is here.
    pub fn has(&self, release: &ReleaseRef) -> bool {
        self.releases.iter().any(|here| here.package == release.package)
    }

    /// Whether this package failed here too often.
    pub fn rejects(&self, release: &ReleaseRef) -> bool {
        self.rejected.iter().any(|rejected| rejected.package == release.package)
    }
}

/// When another release takes a running one's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// At the first launch while no instance of the app runs.
    #[default]
    NextLaunch,
    /// Now: instances are told `lifecycle.unloaded`, and end.
    AtOnce,
}

/// What a device counted about one release since it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The app.
    pub app: AppId,
    /// The release that ran.
    pub release_seq: u64,
    /// What happened.
    pub counters: Counters,
}

/// What an agent decides for. `Host` is one.
///
/// Functions that are not `async` may wait for the disk: they are called where that holds up nobody.
pub trait Device: Send + Sync + 'static {
    /// The apps that are here, however they came.
    fn apps(&self) -> Result<Vec<AppId>, DataError>;

    /// What is here of an app.
    fn shelf(&self, app: &AppId) -> Result<Shelf, DataError>;

    /// Takes new orders: ends what must not go on, takes permissions, and from now on launches what they allow only.
    /// Returns how many instances were ended. Must not wait: it is called before the orders are on the disk.
    fn obey(&self, orders: &Arc<Orders>) -> usize;

    /// The unsigned bytes of a release that is here, to patch.
    fn package(&self, release: &ReleaseRef) -> Option<Vec<u8>>;

    /// Verifies a package and keeps it beside the ones that are there. What is not the release that was offered is
    /// refused, whoever signed it. Nothing runs it yet.
    fn install(
        &self,
        offer: Offer,
        package: Vec<u8>,
        signature: Vec<u8>,
    ) -> impl Future<Output = Result<(), InstallError>> + Send;

    /// Makes everything ready for a launch of a release that is here, such as compiled code. A failure costs time, nothing
    /// more: the launch tries again and says why.
    fn prepare(&self, app: &AppId, release: &ReleaseRef) -> impl Future<Output = ()> + Send;

    /// Has launches run a release that is here. One that was rejected stays so: `false`.
    fn switch(
        &self,
        app: &AppId,
        release: &ReleaseRef,
        when: Switch,
    ) -> impl Future<Output = Result<bool, DataError>> + Send;

    /// Removes releases that nothing needs until all packages together have no more than `bytes`, as far as that goes: at
    /// least two of each app stay where there are two. Returns what is left in bytes.
    fn collect(&self, bytes: u64) -> Result<u64, DataError>;

    /// Removes an app with all it has.
    fn remove(&self, app: &AppId) -> impl Future<Output = Result<(), InstallError>> + Send;

    /// Everything counted since the device started. Counters never fall.
    fn counted(&self) -> Vec<Counted>;
}
