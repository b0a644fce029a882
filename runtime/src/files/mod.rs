//! The apps' private folders: one for each user of each app, reached through a capability to that folder only.
//!
//! `<data folder>/files/<hash of publisher and app>/<hash of user>/`. Hashes, because ids come from outside: one that
//! reads `../x` must not lead anywhere, and no two may meet. What is in a folder is counted when it is opened, not
//! recorded, so that the quota is right after a crash too.

mod folder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use data_encoding::HEXLOWER;

use crate::data::Namespace;
pub(crate) use folder::{FILES, FOLDERS, Folder, Stat};

/// Why a file operation was not carried out. Nothing has changed then, unless it was the disk that failed.
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
    #[error("this would make {wanted} folders; the most is {FOLDERS}")]
    TooManyFolders { used: u64, wanted: usize, quota: u64 },
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

    fn path(&self, of: &Namespace) -> PathBuf {
        self.root.join(hash(&of.owner)).join(hash(&of.user))
    }

    /// A folder, which is made at its first use if it is missing. `wanted` is asked once no removal can come between. Waits
    /// for nothing: the disk is left to whoever looks into the folder.
    pub(crate) fn open(&self, of: &Namespace, wanted: impl Fn() -> bool) -> Result<Arc<Folder>, FileError> {
        let mut open = self.lock();
        if !wanted() {
            return Err(FileError::Gone);
        }
        if let Some(folder) = open.get(of).and_then(Weak::upgrade) {
            return Ok(folder);
        }
        let folder = Arc::new(Folder::new(self.path(of)));
        open.retain(|_, folder| folder.strong_count() > 0);
        open.insert(of.clone(), Arc::downgrade(&folder));
        Ok(folder)
    }

    /// Removes the folders of an app, for all users. What is still at work in them fails. No instance of the app runs.
    pub(crate) fn remove_app(&self, owner: &str) -> std::io::Result<()> {
        self.close(|of| of.owner == owner);
        remove(&self.root.join(hash(owner)))
    }

    /// Removes the folder of one user of an app, as above. No instance of theirs runs.
    pub(crate) fn remove_user(&self, of: &Namespace) -> std::io::Result<()> {
        self.close(|other| other == of);
        remove(&self.path(of))
    }

    fn close(&self, theirs: impl Fn(&Namespace) -> bool) {
        let mut closing = Vec::new();
        self.lock().retain(|of, folder| {
            let theirs = theirs(of);
            if theirs {
                closing.extend(folder.upgrade());
            }
            !theirs
        });
        // Outside of the lock, which every app takes: who is at work in one of them may wait for the disk.
        closing.iter().for_each(|folder| folder.close());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Namespace, Weak<Folder>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folders that are open.
    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().values().filter(|folder| folder.strong_count() > 0).count()
    }
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// An instance's way to its folder, opened at first use; most apps never do.
#[derive(Debug, Default)]
pub(crate) struct Handle(Mutex<Option<Arc<Folder>>>);

impl Handle {
    /// The folder, by `open` if it is not open yet. Nothing is held once the instance is not `running` any more.
    pub(crate) fn get(
        &self,
        running: impl Fn() -> bool,
        open: impl FnOnce() -> Result<Arc<Folder>, FileError>,
    ) -> Result<Arc<Folder>, FileError> {
        let held = self.lock().clone();
        // Outside of the lock: a kill takes it, and waits for nobody who opens.
        let folder = held.map_or_else(open, Ok)?;
        let mut held = self.lock();
        // Under the lock that `release` takes: what is put here after it would stay.
        if !running() {
            return Err(FileError::Gone);
        }
        Ok(held.get_or_insert(folder).clone())
    }

    /// Lets go of it. Waits for nothing.
    pub(crate) fn release(&self) {
        let held = self.lock().take();
        drop(held);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Folder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
