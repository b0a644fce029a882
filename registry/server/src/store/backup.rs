//! Backup of a running registry, and restoring into an empty folder.

use std::fs;
use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};
use thiserror::Error;

use super::{DATABASE, options, set_meta};

/// Says when the folder was restored, until the first start after that has begun a new epoch.
pub(crate) const NEW_EPOCH: &str = "restored";

/// Why a backup was not made or not restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The disk.
    #[error("{path}: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The database.
    #[error("the database cannot be copied: {0}")]
    Database(#[from] sqlx::Error),
    /// Something is there.
    #[error("{path} is not empty")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// No backup.
    #[error("{path} holds no registry")]
    NoRegistry {
        /// The folder.
        path: PathBuf,
    },
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> BackupError + '_ {
    move |error| BackupError::Io { path: path.to_owned(), error }
}

fn empty(folder: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(folder).map_err(io(folder))?;
    let mut found = fs::read_dir(folder).map_err(io(folder))?;
    if found.next().is_some() { Err(BackupError::NotEmpty { path: folder.to_owned() }) } else { Ok(()) }
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(to).map_err(io(to))?;
    for entry in fs::read_dir(from).map_err(io(from))? {
        let entry = entry.map_err(io(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(io(&path))?.is_dir() {
            copy(&path, &target)?;
        } else {
            // Keeps the mode, which keys need.
            fs::copy(&path, &target).map_err(io(&path))?;
        }
    }
    Ok(())
}

/// Copies a registry, which may be running, into an empty folder. The copy holds the signing keys: keep it as safe.
///
/// Packages are copied after the database, so every release of the copy has its package.
pub async fn backup(folder: &Path, to: &Path) -> Result<(), BackupError> {
    if !folder.join(DATABASE).exists() {
        return Err(BackupError::NoRegistry { path: folder.to_owned() });
    }
    empty(to)?;
    let mut db = SqliteConnection::connect_with(&options(folder)).await?;
    let file = to.join(DATABASE);
    sqlx::query("VACUUM INTO ?").bind(file.to_string_lossy().as_ref()).execute(&mut db).await?;
    db.close().await?;
    for part in ["keys", "packages"] {
        copy(&folder.join(part), &to.join(part))?;
    }
    Ok(())
}

/// Copies a backup into an empty folder. Hosts may have seen newer documents than the backup knows, so the restored
/// registry begins a new epoch, which is newer than all of them.
pub async fn restore(backup: &Path, folder: &Path) -> Result<(), BackupError> {
    if !backup.join(DATABASE).exists() {
        return Err(BackupError::NoRegistry { path: backup.to_owned() });
    }
    empty(folder)?;
    copy(backup, folder)?;
    let mut db = SqliteConnection::connect_with(&options(folder)).await?;
    set_meta(&mut db, NEW_EPOCH, &crate::clock::unix(std::time::SystemTime::now()).to_string()).await?;
    db.close().await?;
    Ok(())
}
