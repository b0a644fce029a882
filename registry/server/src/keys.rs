//! The registry's own root and keys.
//!
//! Made at the first start: a key each for the roles `root`, `state` and `stop`. The root key signs nothing but the
//! next root; an operator takes `keys/root.pem` away and keeps it elsewhere.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mpkg_package::root::{Draft, ROOT_ROLE, STATE_ROLE, STOP_ROLE};
use mpkg_package::{RootChain, RootFile, SecretKey};

use crate::store::OpenError;

const ROOTS: &str = "roots";
const LOCKED_OUT: &str = "the keys beside it do not have the roles state and stop in the newest root";

pub(crate) struct Keys {
    pub(crate) state: SecretKey,
    pub(crate) stop: SecretKey,
    folder: PathBuf,
}

fn bad(path: &Path, reason: &dyn std::fmt::Display) -> OpenError {
    OpenError::Keys { path: path.to_owned(), reason: reason.to_string() }
}

/// Writes a file that only its owner reads, whole or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Files of this kind are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(OpenError::io(path))?;
    file.write_all(bytes).map_err(OpenError::io(path))?;
    file.as_file().sync_all().map_err(OpenError::io(path))?;
    file.persist(path).map_err(|error| OpenError::Io { path: path.to_owned(), error: error.error })?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(OpenError::io(folder))
}

fn read_key(path: &Path) -> Result<SecretKey, OpenError> {
    let pem = fs::read_to_string(path).map_err(OpenError::io(path))?;
    SecretKey::from_pem(&pem).map_err(|error| bad(path, &error))
}

impl Keys {
    /// Reads keys and root, or makes them where there is no root.
    pub(crate) fn open(folder: &Path) -> Result<(Self, RootChain), OpenError> {
        let folder = folder.join("keys");
        fs::create_dir_all(&folder).map_err(OpenError::io(&folder))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))
                .map_err(OpenError::io(&folder))?;
        }
        let roots = folder.join(ROOTS);
        if !roots.exists() {
            Self::make(&folder)?;
        }
        let bytes = fs::read(&roots).map_err(OpenError::io(&roots))?;
        let chain = RootFile::parse(&bytes).map_err(|error| bad(&roots, &error))?.chain().clone();
        let state = read_key(&folder.join("state.pem"))?;
        let stop = read_key(&folder.join("stop.pem"))?;
        let keys = Self { state, stop, folder };
        if !keys.serve(&chain) {
            return Err(bad(&roots, &LOCKED_OUT));
        }
        Ok((keys, chain))
    }

    /// The root is written last: until then the next start makes everything anew.
    fn make(folder: &Path) -> Result<(), OpenError> {
        let mut draft = Draft::registry();
        for (role, file) in [(ROOT_ROLE, "root.pem"), (STATE_ROLE, "state.pem"), (STOP_ROLE, "stop.pem")] {
            let path = folder.join(file);
            let key = SecretKey::generate().map_err(|error| bad(&path, &error))?;
            write_private(&path, key.to_pem().as_bytes())?;
            draft.add(role, &key.public());
        }
        let path = folder.join(ROOTS);
        let root = draft.build().map_err(|error| bad(&path, &error))?;
        let chain = RootChain::first(root).map_err(|error| bad(&path, &error))?;
        write_private(&path, &RootFile::new(chain).to_bytes())
    }

    /// Whether what these keys sign counts under this root.
    pub(crate) fn serve(&self, chain: &RootChain) -> bool {
        let root = chain.last();
        root.is_enough(STATE_ROLE, self.state.public().id())
            && root.is_enough(STOP_ROLE, self.stop.public().id())
    }

    /// Keeps a newer root.
    fn store(&self, chain: &RootChain) -> Result<(), OpenError> {
        write_private(&self.folder.join(ROOTS), &RootFile::new(chain.clone()).to_bytes())
    }

    /// Keeps a newer root that the database has. It is the one that counts, so a file that cannot be written now is
    /// written at the next start.
    pub(crate) async fn store_behind(self: Arc<Self>, chain: RootChain) {
        let stored = tokio::task::spawn_blocking(move || self.store(&chain)).await;
        if let Ok(Err(error)) = stored {
            tracing::error!(%error, "the newest root is in the database only, until the next start");
        }
    }

    /// Which roots count when the registry is opened: those of the file or those that the database has, whichever goes
    /// on where the other one ends. The file is behind when the process ended between the two, and ahead in a backup
    /// that was made while a newer root came.
    pub(crate) fn settle(&self, file: RootChain, database: RootChain) -> Result<RootChain, OpenError> {
        let path = self.folder.join(ROOTS);
        if continues(&database, &file) {
            return Ok(file);
        }
        if !continues(&file, &database) {
            return Err(bad(&path, &"the database knows another root of this registry"));
        }
        if !self.serve(&database) {
            return Err(bad(&path, &LOCKED_OUT));
        }
        self.store(&database)?;
        Ok(database)
    }
}

/// Whether `newer` is `known` with more roots behind it, or the same.
pub(crate) fn continues(known: &RootChain, newer: &RootChain) -> bool {
    newer.len() >= known.len() && known.roots().zip(newer.roots()).all(|(a, b)| a.hash() == b.hash())
}
