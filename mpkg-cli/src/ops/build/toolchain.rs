//! Where the guest toolchains live.

use std::path::{Path, PathBuf};

/// The folder with what guests are built with: `rust/` for machines without rustup's wasm target, `js/` for
/// componentize-js.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    root: PathBuf,
}

impl Toolchain {
    /// The toolchain in `root`, which need not exist.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The per-user default: `mpkg/toolchain` in the cache folder. `None` when the user has no home folder.
    pub(crate) fn user_default() -> Option<Self> {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let cache = if cfg!(windows) {
            var("LOCALAPPDATA")
        } else {
            // The XDG specification says that a relative path is to be ignored.
            let home = var("HOME")
                .map(|home| home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }));
            var("XDG_CACHE_HOME").filter(|dir| dir.is_absolute()).or(home)
        };
        cache.map(|dir| Self::new(dir.join("mpkg").join("toolchain")))
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The unpacked Rust toolchain.
    pub(crate) fn rust(&self) -> PathBuf {
        self.root.join("rust")
    }

    /// The JavaScript toolchain; its `node_modules` holds componentize-js.
    pub(crate) fn js(&self) -> PathBuf {
        self.root.join("js")
    }
}
