//! From a file to an installed app: verified, kept byte for byte, its floors raised before the first run.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use mpkg_package::container::MANIFEST_NAME;
use mpkg_package::{Time, Verified, limits, verify_any};

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

    /// Ends an app's instances and removes it with its data and grants, for all users. False if it was not there.
    ///
    /// # Errors
    /// If the data folder fails.
    pub async fn uninstall(&self, app_id: &str) -> Result<bool, InstallError> {
        let app_id = app_id.to_owned();
        self.blocking(move |inner| {
            let Some(app) = inner.data.installed(&app_id)? else { return Ok(false) };
            for life in inner.lives_of(&app_id) {
                life.stop(StopReason::Killed { why: "the app was uninstalled".into() });
            }
            inner.data.record_uninstall(&app)?;
            inner.local.uninstalled(&app);
            forget(inner, &app.digest);
            Ok(true)
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, InstallError> + Send + 'static,
    ) -> Result<T, InstallError> {
        let inner = self.inner.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or(Err(InstallError::Interrupted))
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

fn install(inner: &Inner, package: Vec<u8>) -> Result<Installed, InstallError> {
    let verified = verify(inner, package)?;
    let statement = verified.statement();
    let app = Installed {
        app_id: statement.app_id.clone(),
        publisher: statement.publisher.to_string(),
        version: statement.version.clone(),
        release_seq: statement.release_seq,
        digest: statement.package.sha256.to_string(),
        size: statement.package.size,
        manifest: String::from_utf8_lossy(verified.file(MANIFEST_NAME).unwrap_or_default()).into_owned(),
    };
    let declared = verified.manifest().req_permissions.len();
    if declared > DECLARED_LIMIT {
        return Err(InstallError::TooManyPermissions { declared, limit: DECLARED_LIMIT });
    }
    let before = inner.data.installed(&app.app_id)?;
    check_succession(inner, &app, before.as_deref())?;
    let floors = inner.data.trust_floors(&app.publisher, &app.app_id)?;
    let floors = floors.admit(&verified, now()).map_err(|error| InstallError::Refused(Box::new(error)))?;
    write_file(&inner.data.package_path(&app.digest), &[verified.package()])?;
    inner.data.record_install(&app, floors)?;
    if let Some(before) = before.filter(|before| before.digest != app.digest) {
        forget(inner, &before.digest);
    }
    Ok(app)
}

fn now() -> Option<Time> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Time::from_unix(since.as_secs().try_into().ok()?)
}

fn verify(inner: &Inner, package: Vec<u8>) -> Result<Verified, InstallError> {
    if inner.trust.is_empty() {
        return Err(InstallError::NobodyTrusted);
    }
    verify_any(package, None, &inner.trust).map_err(|error| InstallError::Refused(Box::new(error)))
}

fn check_succession(inner: &Inner, app: &Installed, before: Option<&Installed>) -> Result<(), InstallError> {
    let app_id = || app.app_id.clone();
    if let Some(before) = before.filter(|before| before.publisher != app.publisher) {
        let (installed, offered) = (before.publisher.clone(), app.publisher.clone());
        return Err(InstallError::OtherPublisher { app_id: app_id(), installed, offered });
    }
    let floor = inner.data.floor(&app.publisher, &app.app_id)?;
    if app.release_seq < floor {
        return Err(InstallError::Rollback { app_id: app_id(), offered: app.release_seq, floor });
    }
    match before {
        Some(before) if before.release_seq == app.release_seq && before.digest != app.digest => {
            Err(InstallError::Changed { app_id: app_id(), release_seq: app.release_seq })
        }
        _ => Ok(()),
    }
}

/// Drops what is kept of a package that is no longer installed. Running instances keep what they have mapped.
fn forget(inner: &Inner, digest: &str) {
    inner.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    inner.tiers.forget(digest);
    let path = inner.data.package_path(digest);
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%error, path = %path.display(), "a package that is no longer installed stays on disk");
    }
}
