//! Packages by digest, and what was made from them. A file appears under its name whole and durable, or not at all.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use mpkg_package::{Hash, limits};
use tempfile::NamedTempFile;

use super::OpenError;

/// What is made from packages. It can be made again, so backups are without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// A package, compressed.
    Compressed(Hash),
    /// The patch that makes one package from another.
    Delta { to: Hash, from: Hash },
}

#[derive(Clone)]
pub(crate) struct Blobs {
    packages: PathBuf,
    compressed: PathBuf,
    deltas: PathBuf,
    uploads: PathBuf,
}

impl Blobs {
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let [packages, compressed, deltas, uploads] =
            ["packages", "compressed", "deltas", "uploads"].map(|name| folder.join(name));
        // What a killed process left half-written was never acknowledged.
        if uploads.exists() {
            fs::remove_dir_all(&uploads).map_err(OpenError::io(&uploads))?;
        }
        for path in [&packages, &compressed, &deltas, &uploads] {
            fs::create_dir_all(path).map_err(OpenError::io(path))?;
        }
        Ok(Self { packages, compressed, deltas, uploads })
    }

    /// A file to receive into; it is gone when dropped.
    pub(crate) fn receive(&self) -> std::io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.uploads)
    }

    pub(crate) fn path(&self, hash: Hash) -> PathBuf {
        // 64 hexadecimal digits and nothing else, so no name leads out of the folder.
        in_shard(&self.packages, &hash.to_string())
    }

    pub(crate) fn made(&self, made: Made) -> PathBuf {
        match made {
            Made::Compressed(hash) => in_shard(&self.compressed, &hash.to_string()),
            Made::Delta { to, from } => in_shard(&self.deltas, &format!("{to}-{from}")),
        }
    }

    /// Writes a package, without a name as yet. This takes as long as the disk does.
    pub(crate) fn write(&self, bytes: &[u8]) -> std::io::Result<NamedTempFile> {
        let mut file = self.receive()?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Names a package that was written, before a row does. One that is there already is the same.
    pub(crate) fn store(&self, hash: Hash, file: NamedTempFile) -> std::io::Result<()> {
        name(file, &self.packages, &self.path(hash))
    }

    /// Keeps what was made into a file of [`Blobs::receive`].
    pub(crate) fn keep(&self, made: Made, file: NamedTempFile) -> std::io::Result<()> {
        let root = match made {
            Made::Compressed(_) => &self.compressed,
            Made::Delta { .. } => &self.deltas,
        };
        file.as_file().sync_all()?;
        name(file, root, &self.made(made))
    }

    /// Removes packages that no row came to name, since the process was killed before, and what was made from packages
    /// that are not there.
    pub(crate) fn sweep(&self, named: &HashSet<String>) -> std::io::Result<()> {
        for root in [&self.packages, &self.compressed, &self.deltas] {
            for folder in fs::read_dir(root)? {
                for file in fs::read_dir(folder?.path())? {
                    let file = file?;
                    let name = file.file_name();
                    let is_named = |name: &str| name.split('-').all(|hash| named.contains(hash));
                    if !name.to_str().is_some_and(is_named) {
                        tracing::info!(file = %file.path().display(), "removing what no release names");
                        fs::remove_file(file.path())?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads a file of at most a package's length. Room for the largest there may be comes from the system and goes back to
/// it, and what is not touched costs nothing. Smaller pieces stay with the allocator, one for each thread that ever read
/// a package.
pub(crate) fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(limits::SIGNED);
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn in_shard(root: &Path, name: &str) -> PathBuf {
    root.join(name.get(..2).unwrap_or_default()).join(name)
}

/// Gives a file that is on the disk its name, and has the name there too when it returns.
fn name(file: NamedTempFile, root: &Path, path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder)?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()?;
    File::open(root)?.sync_all()
}
