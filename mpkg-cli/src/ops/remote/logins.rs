//! What `mpkg login` keeps: a token for each registry, in a file that only its user reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mpkg_manifest::json;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::token::Token;
use crate::error::{Failure, Outcome, shell};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};

const NAME: &str = "logins.json";
const BYTES: usize = 1 << 20;

/// The logins of a user.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logins {
    /// The address of the last login.
    current: Option<String>,
    /// By address: a token goes where it was given for, and nowhere else.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

impl Logins {
    /// Reads them; none where there is no file.
    pub(crate) fn load() -> Outcome<Self> {
        let Some(path) = file() else { return Ok(Self::default()) };
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = Zeroizing::new(files::read(&path, BYTES as u64)?);
        json::read(&bytes, json::Limits::bytes(BYTES)).map_err(|_| {
            // What is wrong with it is not repeated: it would be a token.
            let message = format!("{} is not as `mpkg login` writes it", path.display());
            Failure::new(&crate::rules::NOT_LOGGED_IN, Exit::Auth, message)
                .hint(format!("Remove it and log in again: rm {}", shell(&path)))
        })
    }

    /// The address of the last login.
    pub(crate) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// The token for an address.
    pub(crate) fn token(&self, address: &str) -> Option<Token> {
        self.tokens.get(address).map(|token| Zeroizing::new(token.clone()))
    }

    /// Keeps a token, and gives the file it is in.
    pub(crate) fn keep(&mut self, address: &str, token: &Token) -> Outcome<PathBuf> {
        let path = file().ok_or_else(|| {
            Failure::usage("there is no home folder to keep a token in")
                .hint("Set HOME or XDG_CONFIG_HOME, or use MPKG_TOKEN instead of a login.")
        })?;
        self.tokens.insert(address.to_owned(), token.to_string());
        self.current = Some(address.to_owned());
        make_folder(&path)?;
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| Failure::internal(error.to_string()))?;
        files::write(&path, &Zeroizing::new(bytes), Secrecy::Private, true)?;
        Ok(path)
    }

    /// A warning, if others can read the file.
    pub(crate) fn too_open() -> Option<String> {
        files::too_open(&file()?, "tokens in")
    }
}

/// The folder is the user's own too, so that nobody can put another file there.
fn make_folder(path: &Path) -> Outcome {
    let Some(folder) = path.parent() else { return Ok(()) };
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| Failure::write(folder, &error))
}

/// `mpkg/logins.json` in the user's configuration folder. `None` when the user has no home folder.
fn file() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let folder = if cfg!(windows) {
        var("APPDATA")
    } else {
        // The XDG specification says that a relative path is to be ignored.
        let home = var("HOME")
            .map(|home| home.join(if cfg!(target_os = "macos") { "Library/Preferences" } else { ".config" }));
        var("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute()).or(home)
    };
    folder.map(|folder| folder.join("mpkg").join(NAME))
}
