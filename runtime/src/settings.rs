//! What a settings screen shows and wipes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::data::{Data, DataError, Installed, Namespace};
use crate::host::{Host, Inner};
use crate::inbox::Inboxes;
use crate::stop::StopReason;

/// The key-value pairs that one user's app has stored. Texts in it come from the app. Every method reads or writes the
/// disk; as long as this lives, the host's data folder stays open.
pub struct AppStorage {
    data: Arc<Data>,
    inboxes: Arc<Inboxes>,
    of: Namespace,
}

impl std::fmt::Debug for AppStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppStorage").field("of", &self.of).finish()
    }
}

/// Why a user was not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WipeError {
    /// The data folder failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Decisions and stored pairs are gone, and the files are not.
    #[error("The files that `{app_id}` has of a user cannot be removed: {source}.")]
    Files {
        /// The app.
        app_id: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The background task that forgets was stopped.
    #[error("Forgetting a user was interrupted.")]
    Interrupted,
}

impl WipeError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data(_) | Self::Files { .. } | Self::Interrupted => "MPKG-H01",
        }
    }
}

impl Host {
    /// Removes what an app has of one user: stored pairs, also those that are kept in the form of earlier releases, files,
    /// what was decided on permissions, subscriptions and events that wait. Their instances are ended first, launches under
    /// way included; launches that begin meanwhile wait, and find nothing. Other users keep theirs. False if there is
    /// nothing of the app on this host.
    ///
    /// The audit stays, and tells of each decision that was forgotten. The app would know the user again, by the id that is
    /// made for it.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// assert!(!host.wipe("ann", "com.example.shop").await.unwrap(), "it is not installed");
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`WipeError`]. What was ended is ended; what is left can be removed by another try.
    pub async fn wipe(&self, user: &str, app_id: &str) -> Result<bool, WipeError> {
        let (inner, user, app_id) = (self.inner.clone(), user.to_owned(), app_id.to_owned());
        // On a task of its own: whoever gives up waiting must not open the gate in the middle of it.
        let wiped = self.inner.runtime.spawn(async move {
            // At once: who holds the gate may be waiting for one of them to end.
            end(&inner, &user, &app_id);
            let _turn = inner.gates.of(&app_id).write_owned().await;
            let runtime = inner.runtime.clone();
            let wiping = runtime.spawn_blocking(move || wipe(&inner, &user, &app_id));
            wiping.await.unwrap_or(Err(WipeError::Interrupted))
        });
        wiped.await.unwrap_or(Err(WipeError::Interrupted))
    }

    /// The same for every app on this host: a user who leaves. What runs for them is ended at once.
    ///
    /// # Errors
    /// The first [`WipeError`] of an app; the others have forgotten the user all the same.
    pub async fn forget_user(&self, user: &str) -> Result<(), WipeError> {
        for life in self.inner.living.all().iter().filter(|life| life.user == user) {
            life.stop(wiped());
        }
        let data = self.inner.data.clone();
        let apps = self.inner.runtime.spawn_blocking(move || all_apps(&data));
        let apps = apps.await.map_err(|_cancelled_or_panicked| WipeError::Interrupted)??;
        let mut outcome = Ok(());
        for app_id in apps {
            let forgotten = self.wipe(user, &app_id).await.map(drop);
            outcome = outcome.and(forgotten);
        }
        outcome
    }
}

fn wiped() -> StopReason {
    StopReason::Killed { why: "its user was forgotten".into() }
}

fn end(inner: &Inner, user: &str, app_id: &str) {
    for life in inner.lives_of(app_id).iter().filter(|life| life.user == user) {
        life.stop(wiped());
    }
}

/// What is installed, and what is on the shelf only: it may have run.
fn all_apps(data: &Data) -> Result<BTreeSet<String>, DataError> {
    let (installed, held) = (data.all_installed()?, data.all_held()?);
    let held = held.into_iter().map(|held| held.installed.app_id);
    Ok(installed.into_iter().map(|app| app.app_id).chain(held).collect())
}

/// Nothing of the app can be launched meanwhile.
fn wipe(inner: &Inner, user: &str, app_id: &str) -> Result<bool, WipeError> {
    let installed = inner.data.installed(app_id)?.map(|app| Installed::clone(&app));
    let held = inner.data.releases(app_id)?.into_iter().map(|held| held.installed).next();
    let Some(app) = installed.or(held) else { return Ok(false) };
    // Those that came through the gate before it was closed; who stands before it waits.
    for life in inner.lives_of(app_id).iter().filter(|life| life.user == user) {
        if life.trial.chosen().is_some() {
            life.stop(wiped());
        }
    }
    inner.broker.wipe(user, &app)?;
    let files = inner.local.wiped(&app.namespace(user));
    files.map_err(|source| WipeError::Files { app_id: app_id.to_owned(), source })?;
    drop(inner.living.failures.take(app_id, user));
    Ok(true)
}

impl Host {
    /// What an installed app has stored for a user; `None` if it is not installed.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// if let Some(storage) = host.storage("ann", "com.example.shop").unwrap() {
    ///     println!("{} bytes in {:?}", storage.used_bytes().unwrap(), storage.keys(None, 100).unwrap());
    ///     storage.wipe().unwrap();
    /// }
    /// # });
    /// ```
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn storage(&self, user: &str, app_id: &str) -> Result<Option<AppStorage>, DataError> {
        let inner = &self.inner;
        let Some(app) = inner.data.installed(app_id)? else { return Ok(None) };
        let of = app.namespace(user);
        Ok(Some(AppStorage { data: inner.data.clone(), inboxes: inner.local.inboxes.clone(), of }))
    }
}

impl AppStorage {
    /// Bytes that keys and values take together.
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn used_bytes(&self) -> Result<u64, DataError> {
        Ok(self.data.kv_usage(&self.of)?.bytes)
    }

    /// Up to `limit` keys that come after `after`, in ascending order.
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn keys(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, DataError> {
        Ok(self.data.kv_list(&self.of, "", after, limit)?.0)
    }

    /// The value of a key, as JSON text.
    ///
    /// # Errors
    /// If the data folder fails.
    pub fn get(&self, key: &str) -> Result<Option<String>, DataError> {
        self.data.kv_get(&self.of, key)
    }

    /// Forgets every key; running instances that watch some are told. Returns how many there were.
    ///
    /// # Errors
    /// If the data folder fails; nothing is forgotten then.
    pub fn wipe(&self) -> Result<u64, DataError> {
        let keys = self.data.kv_clear(&self.of, || true)?.unwrap_or(0);
        self.inboxes.changed(&self.of, None, None);
        Ok(keys)
    }
}
