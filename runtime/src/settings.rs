//! What a settings screen shows and wipes.

use std::sync::Arc;

use crate::data::{Data, DataError, Namespace};
use crate::host::Host;
use crate::inbox::Inboxes;

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
