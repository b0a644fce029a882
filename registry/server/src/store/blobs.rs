//! Packages by digest. A file appears under its name whole and durable, or not at all.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use mpkg_package::Hash;
use tempfile::NamedTempFile;

use super::OpenError;

#[derive(Clone)]
pub(crate) struct Blobs {
    packages: PathBuf,
    uploads: PathBuf,
}

impl Blobs {
    pub(crate) fn open(folder: &Path) -> Result<Self, OpenError> {
        let (packages, uploads) = (folder.join("packages"), folder.join("uploads"));
        fs::create_dir_all(&packages).map_err(OpenError::io(&packages))?;
        // What a killed process left half-written was never acknowledged.
        if uploads.exists() {
            fs::remove_dir_all(&uploads).map_err(OpenError::io(&uploads))?;
        }
        fs::create_dir_all(&uploads).map_err(OpenError::io(&uploads))?;
        Ok(Self { packages, uploads })
    }

    /// A file to receive into; it is gone when dropped.
    pub(crate) fn receive(&self) -> std::io::Result<NamedTempFile> {
        NamedTempFile::new_in(&self.uploads)
    }

    pub(crate) fn path(&self, hash: Hash) -> PathBuf {
        // 64 hexadecimal digits and nothing else, so no name leads out of the folder.
        let name = hash.to_string();
        self.packages.join(name.get(..2).unwrap_or_default()).join(name)
    }

    /// Stores a package, before a row names it. One that is there already is the same.
    pub(crate) fn store(&self, hash: Hash, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(hash);
        if path.exists() {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.packages);
        fs::create_dir_all(folder)?;
        let mut file = self.receive()?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()?;
        File::open(&self.packages)?.sync_all()
    }

    /// Removes packages that no row came to name, since the process was killed before.
    pub(crate) fn sweep(&self, named: &HashSet<String>) -> std::io::Result<()> {
        for folder in fs::read_dir(&self.packages)? {
            for file in fs::read_dir(folder?.path())? {
                let file = file?;
                if !file.file_name().to_str().is_some_and(|name| named.contains(name)) {
                    tracing::info!(file = %file.path().display(), "removing a package that nothing names");
                    fs::remove_file(file.path())?;
                }
            }
        }
        Ok(())
    }
}
