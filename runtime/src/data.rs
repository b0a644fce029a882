//! The host's data folder: installed packages, sequence floors, grants, their audit and the apps' key-value pairs
//! ([`values`]).
//!
//! Everything small lives in one crash-safe database; packages are files named by their digest. The database locks
//! its file, so two hosts cannot share a folder.

mod audit;
mod boots;
mod conditions;
mod disk;
mod grants;
mod memo;
#[cfg(test)]
pub(crate) mod shaky;
mod shelf;
mod snapshots;
mod values;
mod wipe;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use mpkg_package::Floors;
use redb::backends::FileBackend;
use redb::{DatabaseError, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use disk::Disk;
use grants::GRANTS;
use memo::Memo;
use shelf::{BOOTS, NEXT, RELEASES};

pub(crate) use audit::unix_ms;
pub use audit::{AuditOutcome, AuditPage, AuditRecord, Decider};
pub(crate) use boots::Verdict;
pub(crate) use conditions::{COMPARED, Condition};
pub(crate) use grants::{Records, StoredDecision, StoredGrant};
pub(crate) use shelf::{AppRelease, Current, Judged, OnHand};
pub(crate) use values::{KEYS, Op, StoreRefusal, StoreWriteError, Usage};
use values::{USAGE, VALUES};

/// app id → [`Installed`] as JSON.
const INSTALLED: TableDefinition<'_, &str, &str> = TableDefinition::new("installed");
/// (publisher, app id) → the highest release sequence ever installed. Never removed: see `uninstall`.
const FLOORS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("floors");
/// publisher → the newest root ever accepted. Never removed either.
const ROOT_FLOORS: TableDefinition<'_, &str, u32> = TableDefinition::new("root_floors");
/// (publisher, app id) → the newest permission grant ever accepted. Never removed either.
const GRANT_FLOORS: TableDefinition<'_, (&str, &str), u64> = TableDefinition::new("grant_floors");
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
    /// A key that the host made is not what it made: whoever replaces it makes every user a stranger to every app.
    #[error(
        "{} has {bytes} bytes and is no key of this host: put back the one that was there, or remove it to begin anew.",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
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
        Self { user: user.to_owned(), owner: [publisher, "/", app_id].concat() }
    }

    /// The app's id, without its publisher.
    pub(crate) fn app_id(&self) -> &str {
        self.owner.split_once('/').map_or(self.owner.as_str(), |(_, app_id)| app_id)
    }
}

type AskedAgain = dyn Fn(&Namespace, &str) + Send + Sync;

pub(crate) struct Data {
    folder: PathBuf,
    db: Disk,
    memo: Arc<Memo>,
    asked_again: OnceLock<Box<AskedAgain>>,
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
        let file = folder.join("host.redb");
        let open = move |again: bool| {
            let mut options = fs::OpenOptions::new();
            let file = options.read(true).write(true).create(!again).truncate(false).open(&file)?;
            if again {
                disk::forget_cached(&file)?;
            }
            let backend: Box<dyn StorageBackend> = Box::new(FileBackend::new(file)?);
            Ok(backend)
        };
        Self::with(Box::new(open), folder)
    }

    /// On another kind of disk.
    #[cfg(test)]
    pub(crate) fn on(disk: impl StorageBackend + Clone, folder: &Path) -> Result<Self, DataError> {
        Self::with(Box::new(move |_again| Ok(Box::new(disk.clone()))), folder)
    }

    /// Makes the tables that a new database lacks.
    fn with(open: Box<disk::Open>, folder: &Path) -> Result<Self, DataError> {
        let memo = Arc::new(Memo::default());
        let kept = memo.clone();
        let reopened = Box::new(move || drop(kept.change()));
        let db = Disk::new(open, reopened).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => DataError::InUse { path: folder.to_owned() },
            other => other.into(),
        })?;
        let txn = db.begin_write()?;
        txn.open_table(INSTALLED)?;
        txn.open_table(FLOORS)?;
        txn.open_table(ROOT_FLOORS)?;
        txn.open_table(GRANT_FLOORS)?;
        txn.open_table(GRANTS)?;
        txn.open_table(audit::AUDIT)?;
        txn.open_table(VALUES)?;
        txn.open_table(USAGE)?;
        txn.open_table(RELEASES)?;
        txn.open_table(NEXT)?;
        txn.open_table(BOOTS)?;
        txn.open_table(snapshots::SNAPSHOTS)?;
        txn.open_table(snapshots::TAKEN)?;
        {
            let records = Records::new(&txn, audit::KEPT);
            // A folder from before there were several releases of an app has one of each.
            for app in records.all_installed()? {
                if records.held(&app.app_id, &app.digest)?.is_none() {
                    records.hold(&app)?;
                }
            }
        }
        txn.commit()?;
        let (folder, asked_again) = (folder.to_owned(), OnceLock::new());
        Ok(Self { folder, db, memo, asked_again, audit_kept: audit::KEPT })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A key that only this host has, made at first use. Never in the place of one that cannot be read just now.
    pub(crate) fn secret(&self, name: &str) -> Result<[u8; 32], DataError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => {
                let key = <[u8; 32]>::try_from(bytes);
                return key.map_err(|bytes| DataError::Key { path, bytes: bytes.len() });
            }
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(DataError::Io { path, source });
            }
            Err(_) => {}
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|e| DataError::Io { path: path.clone(), source: std::io::Error::other(e) })?;
        write_file(&path, &[&key])?;
        Ok(key)
    }

    pub(crate) fn package_path(&self, digest: &str) -> PathBuf {
        self.folder.join("packages").join(format!("{digest}.mpkg"))
    }

    pub(crate) fn installed(&self, app_id: &str) -> Result<Option<Arc<Installed>>, DataError> {
        let here = self.on_hand(app_id)?;
        Ok(here.and_then(|here| here.current.as_ref().map(|current| current.installed.clone())))
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

    /// Records an installation by hand and raises the floors, in one step and before the first run. Where it replaces a
    /// version that asked for less, its users' allows are forgotten in the same step. `keep` tells whether the version
    /// that it replaces stays on the shelf.
    pub(crate) fn record_install(&self, app: &Installed, trust: Floors, keep: bool) -> Result<(), DataError> {
        self.change(|records| {
            let before = records.installed(&app.app_id)?.filter(|before| before.digest != app.digest);
            records.hold(app)?;
            records.raise_trust(app, trust)?;
            records.change_boots(&app.app_id, |boots| boots.forgive(&app.digest))?;
            records.make_current(app)?;
            if let Some(before) = before.filter(|_| !keep)
                && !records.boots(&app.app_id)?.is_embedded(&before.digest)
            {
                records.drop_held(&app.app_id, &before.digest)?;
            }
            Ok(())
        })
    }

    /// Forgets an app with all its releases, its grants and its data. The floors stay: or uninstalling would be the way to
    /// a rollback.
    pub(crate) fn record_uninstall(&self, app: &Installed) -> Result<(), DataError> {
        let owner = app.namespace("").owner;
        self.change(|records| {
            let txn = records.txn;
            txn.open_table(INSTALLED)?.remove(app.app_id.as_str())?;
            txn.open_table(NEXT)?.remove(app.app_id.as_str())?;
            txn.open_table(BOOTS)?.remove(app.app_id.as_str())?;
            txn.open_table(RELEASES)?.retain(|(of, _), _| of != app.app_id)?;
            txn.open_table(GRANTS)?.retain(|(_, of, _), _| of != owner)?;
            txn.open_table(VALUES)?.retain(|(_, of, _), _| of != owner)?;
            txn.open_table(USAGE)?.retain(|(_, of), _| of != owner)?;
            records.drop_snapshots(&owner)
        })
    }

    /// Commits a change of what is kept in memory, too. One that fails may have happened all the same.
    fn commit(&self, txn: WriteTransaction) -> Result<(), DataError> {
        let _changing = self.memo.change();
        Ok(txn.commit()?)
    }
}

/// Writes a file so that after a power cut it is there whole or not at all.
pub(crate) fn write_file(path: &Path, parts: &[&[u8]]) -> Result<(), DataError> {
    let placed = StagedFile::write(path, parts)?.place()?;
    placed.sync()
}

/// A file that is whole on the disk, and not in its place yet.
pub(crate) struct StagedFile<'p> {
    path: &'p Path,
    file: tempfile::NamedTempFile,
}

/// A file in its place, which a power cut may still undo.
pub(crate) struct PlacedFile<'p>(&'p Path);

impl<'p> StagedFile<'p> {
    pub(crate) fn write(path: &'p Path, parts: &[&[u8]]) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.to_owned(), source };
        let parent = path.parent().ok_or_else(|| io(std::io::ErrorKind::NotADirectory.into()))?;
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(io)?;
        for part in parts {
            file.write_all(part).map_err(io)?;
        }
        file.as_file().sync_all().map_err(io)?;
        Ok(Self { path, file })
    }

    pub(crate) fn place(self) -> Result<PlacedFile<'p>, DataError> {
        let io = |source| DataError::Io { path: self.path.to_owned(), source };
        self.file.persist(self.path).map_err(|e| io(e.error))?;
        Ok(PlacedFile(self.path))
    }
}

impl PlacedFile<'_> {
    /// The renaming itself must reach the disk too.
    pub(crate) fn sync(self) -> Result<(), DataError> {
        let io = |source| DataError::Io { path: self.0.to_owned(), source };
        let parent = self.0.parent().unwrap_or(Path::new("."));
        fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(io)
    }
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
