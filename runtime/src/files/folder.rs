//! One app's private folder of one user.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use mpkg_manifest::PackagePath;

use super::FileError;

/// The most files of one app and user: empty ones take room, too.
pub(crate) const FILES: usize = 1000;
/// The most folders that those are in: a thousand files sixteen folders deep would make fifteen thousand.
pub(crate) const FOLDERS: usize = 1000;
/// What unfinished files are called. No file of an app's begins with a dot.
const UNFINISHED: &str = ".new-";

/// A folder. Everything here blocks for as long as the disk takes, but for making it: whoever looks into it first takes
/// stock, and holds up nobody but those who want the same folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Nobody has looked into it yet.
    Unopened,
    Open(Contents),
    /// The app was removed, or its user.
    Closed,
}

#[derive(Debug)]
pub(super) struct Contents {
    dir: Dir,
    /// By name in lower case: what meets on one device's disk must not be two files on another's.
    files: BTreeMap<String, Entry>,
    /// How many files are in each folder, and in those in it; in lower case, too.
    folders: BTreeMap<String, usize>,
    bytes: u64,
    made: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    path: String,
    size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    /// Milliseconds since 1970, as far as the disk knows.
    pub(crate) modified_ms: Option<u64>,
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// Of the whole file.
    pub(crate) size: u64,
}

fn check(path: &str) -> Result<String, FileError> {
    PackagePath::check(path)
        .map_err(|problem| FileError::BadPath { path: path.escape_debug().to_string(), problem })?;
    Ok(path.to_ascii_lowercase())
}

/// `a/b/c`: `a/b`, `a`.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(parent, _)| parent), |path| {
        path.rsplit_once('/').map(|(parent, _)| parent)
    })
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::new(State::Unopened) }
    }

    /// From now on nothing is done in it. Waits for what is.
    pub(super) fn close(&self) {
        *self.lock() = State::Closed;
    }

    /// At most `length` bytes from `offset` on; none behind the end.
    pub(crate) fn read(&self, path: &str, offset: u64, length: usize) -> Result<Part, FileError> {
        check(path)?;
        self.with(|contents| {
            let size = contents.entry(path)?.size;
            // Only files that were found to be files are in the list; a link that took such a one's place is not read.
            if !contents.dir.symlink_metadata(path)?.is_file() {
                return Err(FileError::Missing { path: path.to_owned() });
            }
            // Systems refuse to seek to where no file can reach.
            if offset >= size {
                return Ok(Part { bytes: Vec::new(), size });
            }
            let mut file = contents.dir.open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::new();
            file.take(length as u64).read_to_end(&mut bytes)?;
            Ok(Part { bytes, size })
        })
    }

    /// Puts a file in the place of the one with that name, if there is one: whole or not at all.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], quota: u64) -> Result<(), FileError> {
        let folded = check(path)?;
        self.with(|contents| put(contents, path, folded, bytes, quota))
    }

    /// Writes behind what is there already. What was there stays, whatever happens; of what is new a crash may leave
    /// only the beginning.
    pub(crate) fn append(&self, path: &str, bytes: &[u8], quota: u64) -> Result<(), FileError> {
        let folded = check(path)?;
        self.with(|contents| {
            if !contents.files.contains_key(&folded) {
                return put(contents, path, folded, bytes, quota);
            }
            let before = contents.admit(path, &folded, bytes.len() as u64, quota, true)?;
            let mut file = contents.dir.open_with(path, OpenOptions::new().append(true))?;
            let written = file.write_all(bytes).and_then(|()| file.sync_data());
            let size = match &written {
                Ok(()) => before + bytes.len() as u64,
                Err(_) => {
                    // What cannot be cut off again counts.
                    let _ = file.set_len(before);
                    file.metadata().map_or(before, |file| file.len())
                }
            };
            contents.record(path, folded, size);
            Ok(written?)
        })
    }

    /// True if it was there.
    pub(crate) fn delete(&self, path: &str) -> Result<bool, FileError> {
        let folded = check(path)?;
        self.with(|contents| {
            if contents.entry(path).is_err() {
                return Ok(false);
            }
            contents.dir.remove_file(path)?;
            contents.erase(&folded);
            contents.remove_empty(path);
            Ok(true)
        })
    }

    /// The names that begin with `prefix`, in ascending order.
    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<String>, FileError> {
        self.with(|contents| {
            let paths = contents.files.values().map(|entry| &entry.path);
            let mut paths: Vec<_> = paths.filter(|path| path.starts_with(prefix)).cloned().collect();
            paths.sort_unstable();
            Ok(paths)
        })
    }

    pub(crate) fn stat(&self, path: &str) -> Result<Option<Stat>, FileError> {
        check(path)?;
        self.with(|contents| {
            let Ok(Entry { size, .. }) = contents.entry(path).cloned() else { return Ok(None) };
            let modified = contents.dir.symlink_metadata(path)?.modified().ok();
            let since = modified.and_then(|at| at.into_std().duration_since(UNIX_EPOCH).ok());
            let modified_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
            Ok(Some(Stat { size, modified_ms }))
        })
    }

    /// Bytes and files.
    pub(crate) fn usage(&self) -> Result<(u64, usize), FileError> {
        self.with(|contents| Ok((contents.bytes, contents.files.len())))
    }

    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Contents) -> Result<T, FileError>,
    ) -> Result<T, FileError> {
        let mut state = self.lock();
        if matches!(*state, State::Unopened) {
            *state = State::Open(Contents::open(&self.path)?);
        }
        match &mut *state {
            State::Open(contents) => work(contents),
            State::Unopened | State::Closed => Err(FileError::Gone),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Takes stock of what is there, and clears away what a crash left unfinished. A folder that is missing is made.
    fn open(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority())?;
        let (files, folders) = (BTreeMap::new(), BTreeMap::new());
        let mut contents = Self { dir: dir.try_clone()?, files, folders, bytes: 0, made: 0 };
        contents.count(&dir, "")?;
        Ok(contents)
    }

    fn entry(&self, path: &str) -> Result<&Entry, FileError> {
        let entry = self.files.get(&path.to_ascii_lowercase()).filter(|entry| entry.path == path);
        entry.ok_or_else(|| FileError::Missing { path: path.to_owned() })
    }

    /// Checks that `bytes` may be written under this name; returns how many the file has now.
    fn admit(
        &self,
        path: &str,
        folded: &str,
        bytes: u64,
        quota: u64,
        append: bool,
    ) -> Result<u64, FileError> {
        if let Some(other) = self.clash(path, folded) {
            return Err(FileError::Clash { path: path.to_owned(), other: other.to_owned() });
        }
        let old = self.files.get(folded).map(|entry| entry.size);
        if old.is_none() && self.files.len() >= FILES {
            return Err(FileError::TooMany { used: self.bytes, quota });
        }
        if old.is_none() {
            let more = parents(folded).filter(|folder| !self.folders.contains_key(*folder)).count();
            let wanted = self.folders.len() + more;
            if more > 0 && wanted > FOLDERS {
                return Err(FileError::TooManyFolders { used: self.bytes, wanted, quota });
            }
        }
        let before = old.unwrap_or(0);
        let wanted = self.bytes.saturating_sub(if append { 0 } else { before }).saturating_add(bytes);
        // Over its quota, because a new version asks for less, an app may still shrink.
        if wanted > quota && wanted > self.bytes {
            return Err(FileError::Quota { used: self.bytes, wanted, quota });
        }
        Ok(before)
    }

    /// A file that cannot be beside one called `path` on every file system.
    fn clash(&self, path: &str, folded: &str) -> Option<&str> {
        let below = |folder: &str| {
            let start = format!("{folder}/");
            let first = self.files.range(start.clone()..).next();
            first.filter(|(name, _)| name.starts_with(&start)).map(|(_, entry)| entry.path.as_str())
        };
        let same = self.files.get(folded).map(|entry| entry.path.as_str()).filter(|other| *other != path);
        let parent = || parents(folded).find_map(|p| self.files.get(p)).map(|entry| entry.path.as_str());
        // Folders that differ in case only: all files of one folder spell it the same, so one of them tells.
        let spelled = || {
            parents(path).find_map(|folder| {
                let other = below(&folder.to_ascii_lowercase())?;
                let same = other.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
                (!same).then_some(other)
            })
        };
        same.or_else(|| below(folded)).or_else(parent).or_else(spelled)
    }

    fn replace(&mut self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        self.made += 1;
        let unfinished = format!("{UNFINISHED}{}", self.made);
        let done = self.write_as(&unfinished, path, bytes);
        if done.is_err() {
            let _ = self.dir.remove_file(&unfinished);
            self.remove_empty(path);
        }
        done
    }

    fn write_as(&self, unfinished: &str, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        let mut file = self.dir.open_with(unfinished, OpenOptions::new().write(true).create_new(true))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.dir.create_dir_all(parent)?;
        }
        self.dir.rename(unfinished, &self.dir, path)
    }

    /// A rename must reach the disk too. A `Dir` is a mere place on some systems, and cannot be synced.
    fn sync_parent(&self, path: &str) -> std::io::Result<()> {
        #[cfg(test)]
        if super::tests::SYNC_FAILS.get() {
            return Err(std::io::Error::other("the disk fails"));
        }
        let parent = path.rsplit_once('/').map_or(".", |(parent, _)| parent);
        self.dir.open(parent)?.sync_all()
    }

    /// Removes the folders that `path` was in, as far as nothing else is in them.
    fn remove_empty(&self, path: &str) {
        for folder in parents(path) {
            match self.dir.remove_dir(folder) {
                // One that was never made: there may be one above it.
                Err(error) if error.kind() != ErrorKind::NotFound => break,
                Ok(()) | Err(_) => {}
            }
        }
    }

    fn record(&mut self, path: &str, folded: String, size: u64) {
        let old = self.files.get(&folded).map(|entry| entry.size);
        if old.is_none() {
            for folder in parents(&folded) {
                *self.folders.entry(folder.to_owned()).or_default() += 1;
            }
        }
        self.files.insert(folded, Entry { path: path.to_owned(), size });
        self.bytes = self.bytes - old.unwrap_or(0) + size;
    }

    fn erase(&mut self, folded: &str) {
        let Some(entry) = self.files.remove(folded) else { return };
        self.bytes -= entry.size;
        for folder in parents(folded) {
            let left = self.folders.get_mut(folder).map(|files| {
                *files -= 1;
                *files
            });
            if left == Some(0) {
                self.folders.remove(folder);
            }
        }
    }

    /// Adds the files below `dir`, which is at `at` (empty, or with a slash at its end).
    fn count(&mut self, dir: &Dir, at: &str) -> std::io::Result<()> {
        for entry in dir.entries()? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if at.is_empty() && name.starts_with(UNFINISHED) {
                entry.remove_file()?;
                continue;
            }
            let path = format!("{at}{name}");
            // What no app can have made, links too, is not the app's.
            let Ok(folded) = check(&path) else { continue };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                let below = entry.open_dir()?;
                self.count(&below, &format!("{path}/"))?;
                // Made for a file that was never finished; it stays if there is something in it.
                let _ = dir.remove_dir(name);
            } else if kind.is_file() && !self.files.contains_key(&folded) {
                self.record(&path, folded, entry.metadata()?.len());
            }
        }
        Ok(())
    }
}

/// Puts a whole file in its place.
fn put(
    contents: &mut Contents,
    path: &str,
    folded: String,
    bytes: &[u8],
    quota: u64,
) -> Result<(), FileError> {
    contents.admit(path, &folded, bytes.len() as u64, quota, false)?;
    contents.replace(path, bytes)?;
    // It is there by now, whatever becomes of the rest.
    contents.record(path, folded, bytes.len() as u64);
    Ok(contents.sync_parent(path)?)
}
