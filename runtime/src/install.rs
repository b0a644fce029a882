//! From a file to an installed app: verified, kept byte for byte, its floors raised before the first run.

use std::path::Path;
use std::sync::{MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mpkg_package::container::MANIFEST_NAME;
use mpkg_package::{Floors, Time, Trust, Verified, limits, verify_any};

use crate::broker::DECLARED_LIMIT;
use crate::data::{Installed, write_file};
use crate::error::InstallError;
use crate::host::{Host, Inner};
use crate::stop::StopReason;

impl Host {
    /// Verifies a package file and installs it. The file is read once; what was verified is what is kept.
    ///
    /// # Errors
    /// [`InstallError`]; nothing of the package is kept then.
    pub async fn install_file(&self, path: impl AsRef<Path>) -> Result<Installed, InstallError> {
        let path = path.as_ref().to_owned();
        self.blocking(move |inner| {
            let bytes =
                read_bounded(&path).map_err(|source| InstallError::Read { path: path.clone(), source })?;
            install(inner, bytes)
        })
        .await
    }

    /// Verifies a package and installs it.
    ///
    /// # Errors
    /// [`InstallError`]; nothing of the package is kept then.
    pub async fn install(&self, package: Vec<u8>) -> Result<Installed, InstallError> {
        self.blocking(move |inner| install(inner, package)).await
    }

    /// Ends an app's instances and removes it with its data and grants, for all users. False if it was not there. Launches
    /// that begin meanwhile wait, and find it gone.
    ///
    /// # Errors
    /// If the data folder fails.
    pub async fn uninstall(&self, app_id: &str) -> Result<bool, InstallError> {
        let (host, app_id) = (self.clone(), app_id.to_owned());
        // On a task of its own: whoever gives up waiting must not open the gate in the middle of it.
        let removed = self.inner.runtime.spawn(async move {
            // At once: who holds the gate may be waiting for one of them to end.
            end(&host.inner, &app_id);
            let _turn = host.inner.gates.of(&app_id).write_owned().await;
            host.blocking(move |inner| uninstall(inner, &app_id)).await
        });
        removed.await.unwrap_or(Err(InstallError::Interrupted))
    }

    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        let inner = self.inner.clone();
        let done = self.inner.runtime.spawn_blocking(move || work(&inner)).await;
        done.unwrap_or(Err(InstallError::Interrupted))
    }
}

/// Reads no more than a package may have, whatever the file's length claims.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let limit = limits::SIGNED as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whoever changes packages and the records of them does it alone. Waits for the disk.
pub(crate) fn lock(inner: &Inner) -> MutexGuard<'_, ()> {
    inner.shelving.lock().unwrap_or_else(PoisonError::into_inner)
}

fn install(inner: &Inner, package: Vec<u8>) -> Result<Installed, InstallError> {
    if inner.trust.is_empty() {
        return Err(InstallError::NobodyTrusted);
    }
    let verified = verify(package, None, &inner.trust)?;
    let app = describe(&verified)?;
    let _shelving = lock(inner);
    let before = inner.data.installed(&app.app_id)?;
    check_succession(inner, &app)?;
    let floor = inner.data.floor(&app.publisher, &app.app_id)?;
    if app.release_seq < floor {
        let (app_id, offered) = (app.app_id, app.release_seq);
        return Err(InstallError::Rollback { app_id, offered, floor });
    }
    check_code(inner, &app)?;
    let floors = admit(inner, &verified, &app, false)?;
    write_file(&inner.data.package_path(&app.digest), &[verified.package()])?;
    // Who watches over this host may want to go back to what was there.
    let keep = inner.orders.any();
    inner.data.record_install(&app, floors, keep)?;
    if let Some(before) = before.filter(|before| before.digest != app.digest)
        && inner.data.held(&app.app_id, &before.digest)?.is_none()
    {
        forget(inner, &before.digest);
    }
    Ok(app)
}

fn end(inner: &Inner, app_id: &str) {
    for life in inner.lives_of(app_id) {
        life.stop(StopReason::Killed { why: "the app was uninstalled".into() });
    }
}

/// Nothing of the app can be launched meanwhile.
fn uninstall(inner: &Inner, app_id: &str) -> Result<bool, InstallError> {
    let _shelving = lock(inner);
    let held = inner.data.releases(app_id)?;
    let installed = inner.data.installed(app_id)?.map(|app| Installed::clone(&app));
    // An app may be on the disk and never have run.
    let Some(app) = installed.or_else(|| held.first().map(|held| held.installed.clone())) else {
        return Ok(false);
    };
    end(inner, app_id);
    inner.data.record_uninstall(&app)?;
    inner.living.failures.forget(app_id);
    inner.local.uninstalled(&app);
    for held in held {
        forget(inner, &held.installed.digest);
    }
    Ok(true)
}

/// What is made current has to run, or it would take the place of what does.
pub(crate) fn check_code(inner: &Inner, app: &Installed) -> Result<(), InstallError> {
    match inner.tiers.can_run(&app.digest) {
        true => Ok(()),
        false => Err(InstallError::NoCode { app_id: app.app_id.clone() }),
    }
}

/// What is kept of a verified package besides its bytes.
pub(crate) fn describe(verified: &Verified) -> Result<Installed, InstallError> {
    let declared = verified.manifest().req_permissions.len();
    if declared > DECLARED_LIMIT {
        return Err(InstallError::TooManyPermissions { declared, limit: DECLARED_LIMIT });
    }
    let statement = verified.statement();
    Ok(Installed {
        app_id: statement.app_id.clone(),
        publisher: statement.publisher.to_string(),
        version: statement.version.clone(),
        release_seq: statement.release_seq,
        digest: statement.package.sha256.to_string(),
        size: statement.package.size,
        manifest: String::from_utf8_lossy(verified.file(MANIFEST_NAME).unwrap_or_default()).into_owned(),
    })
}

/// The trust floors after a package, if they admit it. `back` tells that it may be older than one that was here: then the
/// floor of the grant, which grows from release to release, does not hold, and that of the root, which throws keys out,
/// does.
pub(crate) fn admit(
    inner: &Inner,
    verified: &Verified,
    app: &Installed,
    back: bool,
) -> Result<Floors, InstallError> {
    let mut floors = inner.data.trust_floors(&app.publisher, &app.app_id)?;
    if back {
        floors.grant_version = 0;
    }
    floors.admit(verified, now()).map_err(|error| InstallError::Refused(Box::new(error)))
}

fn now() -> Option<Time> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Time::from_unix(since.as_secs().try_into().ok()?)
}

pub(crate) fn verify(
    package: Vec<u8>,
    signature: Option<&[u8]>,
    trust: &[Trust],
) -> Result<Verified, InstallError> {
    verify_any(package, signature, trust).map_err(|error| InstallError::Refused(Box::new(error)))
}

/// Refuses another publisher's app under an id that is taken, and other contents under a sequence that is.
pub(crate) fn check_succession(inner: &Inner, app: &Installed) -> Result<(), InstallError> {
    let held = inner.data.releases(&app.app_id)?;
    for here in held.iter().map(|held| &held.installed) {
        if here.publisher != app.publisher {
            let (installed, offered) = (here.publisher.clone(), app.publisher.clone());
            return Err(InstallError::OtherPublisher { app_id: app.app_id.clone(), installed, offered });
        }
        if here.release_seq == app.release_seq && here.digest != app.digest {
            let (app_id, release_seq) = (app.app_id.clone(), app.release_seq);
            return Err(InstallError::Changed { app_id, release_seq });
        }
    }
    Ok(())
}

/// Drops what is kept of a package that is no longer on the shelf. Running instances keep what they have mapped.
pub(crate) fn forget(inner: &Inner, digest: &str) {
    inner.tiers.forget(digest);
    // After that, or who prepares it just now would find the code and put it back.
    inner.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    let path = inner.data.package_path(digest);
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, path = %path.display(), "a package that is no longer installed stays on disk");
    }
}
