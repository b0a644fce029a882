//! The apps' private folders: one for each user of each app, reached through a capability to that folder only.
//!
//! `<data folder>/files/<hash of publisher and app>/<hash of user>/`. Hashes, because ids come from outside: one that
//! reads `../x` must not lead anywhere, and no two may meet. What is in a folder is counted when it is opened, not
//! recorded, so that the quota is right after a crash too.

mod folder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use data_encoding::HEXLOWER;

use crate::data::Namespace;
pub(crate) use folder::{FILES, Folder, Stat};

/// Why a file operation was not carried out. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("`{path}` is no name for a file: {problem}")]
    BadPath { path: String, problem: mpkg_manifest::PathError },
    #[error("there is no file `{path}`")]
    Missing { path: String },
    #[error(
        "`{path}` cannot be beside `{other}`: one differs from the other in case only, or is a folder in it"
    )]
    Clash { path: String, other: String },
    #[error("this would take {wanted} bytes in all; the quota is {quota}")]
    Quota { used: u64, wanted: u64, quota: u64 },
    #[error("there are {FILES} files already, which is the most")]
    TooMany { used: u64, quota: u64 },
    #[error("the app is being stopped")]
    Gone,
    #[error("the app's folder cannot be used: {0}")]
    Io(#[from] std::io::Error),
}

/// The folders of a host.
#[derive(Debug)]
pub(crate) struct FileStores {
    root: PathBuf,
    /// Instances of one app and user share one, so that they share its counters.
    open: Mutex<HashMap<Namespace, Weak<Folder>>>,
}

fn hash(text: &str) -> String {
    HEXLOWER.encode(blake3::hash(text.as_bytes()).as_bytes())
}

impl FileStores {
    pub(crate) fn new(data_folder: &Path) -> Self {
        Self { root: data_folder.join("files"), open: Mutex::default() }
    }

    /// What the folder of a publisher's app is called.
    pub(crate) fn folder_name(owner: &str) -> String {
        hash(owner)
    }

    /// Opens a folder, which is made if it is missing. `wanted` is asked once no removal can come between.
    pub(crate) fn open(&self, of: &Namespace, wanted: impl Fn() -> bool) -> Result<Arc<Folder>, FileError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if !wanted() {
            return Err(FileError::Gone);
        }
        if let Some(folder) = open.get(of).and_then(Weak::upgrade) {
            return Ok(folder);
        }
        let path = self.root.join(hash(&of.owner)).join(hash(&of.user));
        std::fs::create_dir_all(&path)?;
        let folder = Arc::new(Folder::open(Dir::open_ambient_dir(&path, ambient_authority())?)?);
        open.retain(|_, folder| folder.strong_count() > 0);
        open.insert(of.clone(), Arc::downgrade(&folder));
        Ok(folder)
    }

    /// Removes the folders of an app, for all users. What is still at work in them fails.
    pub(crate) fn remove_app(&self, owner: &str) -> std::io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|of, folder| {
            let theirs = of.owner == owner;
            if let Some(folder) = folder.upgrade().filter(|_| theirs) {
                folder.close();
            }
            !theirs
        });
        match std::fs::remove_dir_all(self.root.join(hash(owner))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Folders that are open.
    #[cfg(test)]
    fn count(&self) -> usize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().filter(|folder| folder.strong_count() > 0).count()
    }
}

#[cfg(test)]
mod tests;
