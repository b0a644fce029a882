//! What an agent must not forget, as small files: each is there whole, as it was or as it is.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::data::DataError;

/// What is known of the fleet.
pub(crate) const FLEET: &str = "fleet.json";
/// The apps that this host is to have.
pub(crate) const APPS: &str = "apps.json";
/// What was counted and is not reported yet.
pub(crate) const TELEMETRY: &str = "telemetry.json";

const PARTIAL: &str = "part";

#[derive(Clone, Debug)]
pub(crate) struct Vault {
    folder: PathBuf,
    durable: bool,
}

impl Vault {
    pub(crate) fn open(folder: &Path, durable: bool) -> Result<Self, DataError> {
        let vault = Self { folder: folder.to_owned(), durable };
        fs::create_dir_all(folder).map_err(|source| vault.failed(folder, source))?;
        Ok(vault)
    }

    fn failed(&self, path: &Path, source: std::io::Error) -> DataError {
        DataError::Io { path: path.to_owned(), source }
    }

    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(&path, error)),
        }
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataError> {
        let path = self.folder.join(name);
        let failed = |source| self.failed(&path, source);
        // One name for what is being written: what a power cut leaves of it is written over, and never read.
        let new = self.folder.join(format!("{name}.new"));
        let mut file = File::create(&new).map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        if self.durable {
            file.sync_all().map_err(failed)?;
        }
        fs::rename(&new, &path).map_err(failed)?;
        if self.durable {
            File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(())
    }

    /// Where a package is received; what is there of it is gone on with.
    pub(crate) fn partial(&self, package: mpkg_package::Hash) -> PathBuf {
        self.folder.join(format!("{package}.{PARTIAL}"))
    }

    /// Removes what was received of packages that nobody wants any more.
    pub(crate) fn sweep(&self, wanted: impl Fn(&str) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let package = name.to_str().and_then(|name| name.split_once('.'));
            if package.is_some_and(|(hash, rest)| rest.starts_with(PARTIAL) && !wanted(hash)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_file_is_never_read_and_partials_go_when_nobody_wants_them() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path(), true).unwrap();
        assert_eq!(vault.read(FLEET).unwrap(), None);
        vault.write(FLEET, b"one").unwrap();
        fs::write(folder.path().join("fleet.json.new"), b"tw").unwrap();
        assert_eq!(vault.read(FLEET).unwrap().unwrap(), b"one");
        vault.write(FLEET, b"three").unwrap();
        assert_eq!(vault.read(FLEET).unwrap().unwrap(), b"three");

        let [kept, gone] = [b"a", b"b"].map(|it| mpkg_package::Hash::of(it));
        for hash in [kept, gone] {
            fs::write(vault.partial(hash), b"x").unwrap();
        }
        vault.sweep(|hash| hash == kept.to_string());
        assert!(vault.partial(kept).exists() && !vault.partial(gone).exists());
        assert!(vault.read(FLEET).unwrap().is_some());
    }
}
