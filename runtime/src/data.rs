//! The host's data folder: installed packages, sequence floors, grants, their audit and the apps' key-value pairs.
//!
//! Everything small lives in one crash-safe database; packages are files named by their digest. The database locks
//! its file, so two hosts cannot share a folder.

mod audit;
mod grants;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mpkg_package::Floors;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use grants::GRANTS;

pub(crate) use audit::unix_ms;
pub use audit::{AuditOutcome, AuditPage, AuditRecord, Decider};
pub(crate) use grants::{Records, StoredDecision, StoredGrant};

/// app id → [`Installed`] as JSON.
const INSTALLED: TableDefinition<'_, &str, &str> = TableDefinition::new("installed");
/// (publisher, app id) → the highest release sequence ever installed. Never removed: see `uninstall`.
const FLOORS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("floors");
/// publisher → the newest root ever accepted. Never removed either.
const ROOT_FLOORS: TableDefinition<'_, &str, u32> = TableDefinition::new("root_floors");
/// (publisher, app id) → the newest permission grant ever accepted. Never removed either.
const GRANT_FLOORS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("grant_floors");
/// (user, publisher/app id, key) → JSON text.
const VALUES: TableDefinition<'_, (&str, &str, &str), &str> = TableDefinition::new("values");
/// (user, publisher/app id) → (bytes, keys).
const USAGE: TableDefinition<'_, (&str, &str), (u64, u64)> = TableDefinition::new("usage");

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process (or another `Host`) has it open.
    #[error("The data folder {} is in use by another host.", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be used: {source}.", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database failed.
    #[error("The host's database failed: {0}.")]
    Database(Box<redb::Error>),
    /// A record is not what this version writes.
    #[error("A record of the host's database is damaged: {0}.")]
    Record(#[from] serde_json::Error),
}

macro_rules! from_database {
    ($($error:ident)*) => {$(
        impl From<redb::$error> for DataError {
            fn from(error: redb::$error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        }
    )*};
}
from_database!(DatabaseError TransactionError TableError StorageError CommitError);

/// Why a value was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreRefusal {
    #[error("storing this would take {wanted} bytes of {quota}")]
    Quota { used: u64, wanted: u64, quota: u64 },
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreWriteError {
    #[error(transparent)]
    Refused(#[from] StoreRefusal),
    #[error(transparent)]
    Data(#[from] DataError),
}

/// What a host knows of an installed app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// The app's id.
    pub app_id: String,
    /// The publisher whose root signed it.
    pub publisher: String,
    /// Its version's name, as SemVer.
    pub version: String,
    /// Its release sequence.
    pub release_seq: u64,
    /// SHA-256 of the unsigned package, in hex: the package's identity.
    pub digest: String,
    /// Length of the unsigned package, in bytes.
    pub size: u64,
    /// Its manifest, byte for byte.
    pub manifest: String,
}

impl Installed {
    /// Whose grants and data a user's are.
    pub(crate) fn namespace(&self, user: &str) -> Namespace {
        Namespace::new(user, &self.publisher, &self.app_id)
    }
}

/// The (user, app) whose data is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Namespace {
    pub(crate) user: String,
    pub(crate) owner: String,
}

impl Namespace {
    /// Two publishers' apps of one id share nothing. A publisher's id has no `/` in it.
    pub(crate) fn new(user: &str, publisher: &str, app_id: &str) -> Self {
        Self { user: user.to_owned(), owner: format!("{publisher}/{app_id}") }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) keys: u64,
}

pub(crate) struct Data {
    folder: PathBuf,
    db: Database,
    /// The most records that the audit keeps.
    audit_kept: u64,
}

impl std::fmt::Debug for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Data").field("folder", &self.folder).finish()
    }
}

impl Data {
    pub(crate) fn open(folder: &Path) -> Result<Self, DataError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { path, source }
        };
        for sub in ["packages", "native"] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).map_err(io(&path))?;
        }
        restrict(folder).map_err(io(folder))?;
        let db = Database::create(folder.join("host.redb")).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => DataError::InUse { path: folder.to_owned() },
            other => other.into(),
        })?;
        Self::with(db, folder)
    }

    /// On another kind of disk.
    #[cfg(test)]
    pub(crate) fn on(disk: impl redb::StorageBackend, folder: &Path) -> Result<Self, DataError> {
        Self::with(Database::builder().create_with_backend(disk)?, folder)
    }

    /// Makes the tables that a new database lacks.
    fn with(db: Database, folder: &Path) -> Result<Self, DataError> {
        let txn = db.begin_write()?;
        txn.open_table(INSTALLED)?;
        txn.open_table(FLOORS)?;
        txn.open_table(ROOT_FLOORS)?;
        txn.open_table(GRANT_FLOORS)?;
        txn.open_table(GRANTS)?;
        txn.open_table(audit::AUDIT)?;
        txn.open_table(VALUES)?;
        txn.open_table(USAGE)?;
        txn.commit()?;
        Ok(Self { folder: folder.to_owned(), db, audit_kept: audit::KEPT })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn package_path(&self, digest: &str) -> PathBuf {
        self.folder.join("packages").join(format!("{digest}.mpkg"))
    }

    pub(crate) fn installed(&self, app_id: &str) -> Result<Option<Installed>, DataError> {
        let table = self.db.begin_read()?.open_table(INSTALLED)?;
        let record = table.get(app_id)?;
        record.map(|json| Ok(serde_json::from_str(json.value())?)).transpose()
    }

    pub(crate) fn all_installed(&self) -> Result<Vec<Installed>, DataError> {
        let table = self.db.begin_read()?.open_table(INSTALLED)?;
        table.iter()?.map(|row| Ok(serde_json::from_str(row?.1.value())?)).collect()
    }

    pub(crate) fn floor(&self, publisher: &str, app_id: &str) -> Result<u64, DataError> {
        let table = self.db.begin_read()?.open_table(FLOORS)?;
        Ok(table.get((publisher, app_id))?.map_or(0, |floor| floor.value()))
    }

    /// The newest root of a publisher and the newest grant for its app that were accepted.
    pub(crate) fn trust_floors(&self, publisher: &str, app_id: &str) -> Result<Floors, DataError> {
        let txn = self.db.begin_read()?;
        let root_version = txn.open_table(ROOT_FLOORS)?.get(publisher)?.map_or(0, |floor| floor.value());
        let grants = txn.open_table(GRANT_FLOORS)?;
        let grant_version = grants.get((publisher, app_id))?.map_or(0, |floor| floor.value());
        Ok(Floors { root_version, grant_version })
    }

    /// Records an installation and raises the floors, in one step and before the first run. Where it replaces a
    /// version that asked for less, its users' allows are forgotten in the same step.
    pub(crate) fn record_install(&self, app: &Installed, trust: Floors) -> Result<(), DataError> {
        let txn = self.db.begin_write()?;
        let records = Records { txn: &txn, audit_kept: self.audit_kept };
        if let Some(before) = records.installed(&app.app_id)? {
            records.ask_again_if_grown(&before, app)?;
        }
        {
            let mut floors = txn.open_table(FLOORS)?;
            let key = (app.publisher.as_str(), app.app_id.as_str());
            let floor = floors.get(key)?.map_or(0, |floor| floor.value());
            floors.insert(key, floor.max(app.release_seq))?;
            let mut roots = txn.open_table(ROOT_FLOORS)?;
            let floor = roots.get(key.0)?.map_or(0, |floor| floor.value());
            roots.insert(key.0, floor.max(trust.root_version))?;
            let mut grants = txn.open_table(GRANT_FLOORS)?;
            let floor = grants.get(key)?.map_or(0, |floor| floor.value());
            grants.insert(key, floor.max(trust.grant_version))?;
            txn.open_table(INSTALLED)?.insert(app.app_id.as_str(), serde_json::to_string(app)?.as_str())?;
        }
        Ok(txn.commit()?)
    }

    /// Forgets an app, its grants and its data. The floor stays: or uninstalling would be the way to a rollback.
    pub(crate) fn record_uninstall(&self, app: &Installed) -> Result<(), DataError> {
        let owner = app.namespace("").owner;
        let txn = self.db.begin_write()?;
        txn.open_table(INSTALLED)?.remove(app.app_id.as_str())?;
        txn.open_table(GRANTS)?.retain(|(_, of, _), _| of != owner)?;
        txn.open_table(VALUES)?.retain(|(_, of, _), _| of != owner)?;
        txn.open_table(USAGE)?.retain(|(_, of), _| of != owner)?;
        Ok(txn.commit()?)
    }

    pub(crate) fn kv_get(&self, of: &Namespace, key: &str) -> Result<Option<String>, DataError> {
        let table = self.db.begin_read()?.open_table(VALUES)?;
        Ok(table.get((of.user.as_str(), of.owner.as_str(), key))?.map(|value| value.value().to_owned()))
    }

    pub(crate) fn kv_usage(&self, of: &Namespace) -> Result<Usage, DataError> {
        let table = self.db.begin_read()?.open_table(USAGE)?;
        let (bytes, keys) =
            table.get((of.user.as_str(), of.owner.as_str()))?.map_or((0, 0), |usage| usage.value());
        Ok(Usage { bytes, keys })
    }

    pub(crate) fn kv_set(
        &self,
        of: &Namespace,
        key: &str,
        value: &str,
        quota: u64,
    ) -> Result<(), StoreWriteError> {
        let (user, owner) = (of.user.as_str(), of.owner.as_str());
        let size = |value: &str| (key.len() + value.len()) as u64;
        let txn = self.db.begin_write().map_err(DataError::from)?;
        let done = (|| {
            let mut values = txn.open_table(VALUES)?;
            let mut usages = txn.open_table(USAGE)?;
            let (used, keys) = usages.get((user, owner))?.map_or((0, 0), |usage| usage.value());
            let old = values.insert((user, owner, key), value)?.map(|old| size(old.value()));
            let wanted = used.saturating_sub(old.unwrap_or(0)) + size(value);
            if wanted > quota {
                return Ok(Err(StoreRefusal::Quota { used, wanted, quota }));
            }
            usages.insert((user, owner), (wanted, keys + u64::from(old.is_none())))?;
            Ok::<_, DataError>(Ok(()))
        })()?;
        // An uncommitted transaction is undone when it is dropped, the refused insert with it.
        done?;
        txn.commit().map_err(DataError::from)?;
        Ok(())
    }

    pub(crate) fn kv_delete(&self, of: &Namespace, key: &str) -> Result<bool, DataError> {
        let (user, owner) = (of.user.as_str(), of.owner.as_str());
        let txn = self.db.begin_write()?;
        let freed = {
            let mut values = txn.open_table(VALUES)?;
            let freed = values.remove((user, owner, key))?.map(|old| (key.len() + old.value().len()) as u64);
            if let Some(freed) = freed {
                let mut usages = txn.open_table(USAGE)?;
                let (bytes, keys) = usages.get((user, owner))?.map_or((0, 0), |usage| usage.value());
                usages.insert((user, owner), (bytes.saturating_sub(freed), keys.saturating_sub(1)))?;
            }
            freed
        };
        if freed.is_some() {
            txn.commit()?;
        }
        Ok(freed.is_some())
    }

    /// Keys that begin with `prefix` and come after `after`, and whether there are more than `limit`.
    pub(crate) fn kv_list(
        &self,
        of: &Namespace,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), DataError> {
        let (user, owner) = (of.user.as_str(), of.owner.as_str());
        let table = self.db.begin_read()?.open_table(VALUES)?;
        let start = after.filter(|&after| after > prefix).unwrap_or(prefix);
        let mut keys = Vec::new();
        for row in table.range((user, owner, start)..)? {
            let row = row?;
            let (of_user, of_owner, key) = row.0.value();
            if (of_user, of_owner) != (user, owner) || !key.starts_with(prefix) {
                break;
            }
            if after == Some(key) {
                continue;
            }
            if keys.len() == limit {
                return Ok((keys, true));
            }
            keys.push(key.to_owned());
        }
        Ok((keys, false))
    }
}

/// Writes a file so that after a power cut it is there whole or not at all.
pub(crate) fn write_file(path: &Path, parts: &[&[u8]]) -> Result<(), DataError> {
    let io = |source| DataError::Io { path: path.to_owned(), source };
    let parent = path.parent().ok_or_else(|| io(std::io::ErrorKind::NotADirectory.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(io)?;
    for part in parts {
        file.write_all(part).map_err(io)?;
    }
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    // The rename itself must reach the disk too.
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(io)
}

/// The folder holds other people's data and the key of the native-code cache: it is its owner's alone.
#[cfg(unix)]
fn restrict(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn restrict(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests;
