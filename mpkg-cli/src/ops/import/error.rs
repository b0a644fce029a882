//! Why a file cannot be imported.

use mpkg_manifest::json::JsonError;

use crate::text;

/// One reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// Not an archive, or not one that has a single meaning.
    #[error("it is no ZIP archive that can be read: {reason}")]
    NotAnArchive { reason: String },
    /// Larger than anything that could become a package.
    #[error("{what}, more than {}", text::size(*limit as u64))]
    TooLarge { what: String, limit: usize },
    /// More entries than that.
    #[error("it holds {entries} entries, more than {limit}")]
    TooMany { entries: usize, limit: usize },
    /// Two files with one name.
    #[error("two of its files have the same name, and readers differ about which of them counts")]
    Twice,
    /// A name that leaves the package, or means two files.
    #[error("it holds a file called {name}: {problem}")]
    Name { name: String, problem: &'static str },
    /// No manifest.
    #[error("it holds no manifest.json, so it is no MiniApp package")]
    NoManifest,
    /// The manifest is no strict JSON.
    #[error("its manifest.json cannot be read: {0}")]
    Json(JsonError),
    /// The manifest is JSON, but nothing that could be made into one of ours.
    #[error("its manifest.json cannot be translated: {problem}")]
    Manifest { problem: String },
}

impl ImportError {
    /// The stable code of this reason.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotAnArchive { .. } => "MPKG-C60",
            Self::TooLarge { .. } | Self::TooMany { .. } => "MPKG-C61",
            Self::Twice | Self::Name { .. } => "MPKG-C62",
            Self::NoManifest => "MPKG-C63",
            Self::Json(error) => error.code(),
            Self::Manifest { .. } => "MPKG-C64",
        }
    }
}
