//! Why what is known does not let a document in.

use mpkg_manifest::AppId;
use mpkg_package::root::RootError;
use mpkg_package::{Hash, PublisherId, Time};
use thiserror::Error;

use crate::document::DocumentError;
use crate::types::Position;

/// Why a document changes no state. Kills in it may count all the same: see [`super::Outcome::killed`].
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AcceptError {
    /// The document itself.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The registry's root.
    #[error("the registry's root: {0}")]
    Root(#[from] RootError),
    /// No root to judge by.
    #[error("the registry's root is not known yet, so nothing it signs can be judged")]
    NoRoot,
    /// Another registry's root.
    #[error("the root is that of registry {found}, this host believes {pinned}")]
    Registry {
        /// Whose it is.
        found: PublisherId,
        /// Whose it has to be.
        pinned: PublisherId,
    },
    /// A root that was replaced.
    #[error("the registry shows root version {found}, and version {floor} is known")]
    OlderRoot {
        /// Its version.
        found: u32,
        /// The version known.
        floor: u32,
    },
    /// Two roots of one version.
    #[error("there are two different roots of version {version}, both rightly signed")]
    RootFork {
        /// The version.
        version: u32,
    },
    /// A root past its time.
    #[error(
        "the registry's root version {version} expired at {expires}; only kills count until there is a new one"
    )]
    RootExpired {
        /// Its version.
        version: u32,
        /// When it expired.
        expires: Time,
    },
    /// An epoch beyond what the root has room for.
    #[error("epoch {epoch} is above {most}, the highest that the registry's root has room for")]
    Epoch {
        /// The epoch.
        epoch: u64,
        /// The highest.
        most: u64,
    },
    /// Older than what is known.
    #[error("the document has position {found}, and {known} is known")]
    Older {
        /// Its position.
        found: Position,
        /// The position known.
        known: Position,
    },
    /// Two documents for one position.
    #[error("there are two different documents {}for position {position}, both rightly signed", of(.app.as_ref()))]
    Equivocation {
        /// The app that a fleet head speaks of, if it is one.
        app: Option<AppId>,
        /// The position.
        position: Position,
    },
    /// It does not follow from the one before it.
    #[error("the document at {position} does not follow from the one before it that is known, {known}")]
    Broken {
        /// Its position.
        position: Position,
        /// SHA-256 of the document before it.
        known: Hash,
    },
    /// The app changes hands.
    #[error("the app {app} is publisher {known}'s, and the document gives it to {stated}")]
    Publisher {
        /// The app.
        app: AppId,
        /// Whose it is.
        known: PublisherId,
        /// Whose it would be.
        stated: PublisherId,
    },
}

fn of(app: Option<&AppId>) -> String {
    app.map(|app| format!("of {app} ")).unwrap_or_default()
}

impl AcceptError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Document(error) => error.code(),
            Self::Root(error) => error.code(),
            Self::NoRoot => "MPKG-F30",
            Self::Registry { .. } => "MPKG-F31",
            Self::OlderRoot { .. } => "MPKG-F32",
            Self::RootFork { .. } => "MPKG-F33",
            Self::RootExpired { .. } => "MPKG-F34",
            Self::Epoch { .. } => "MPKG-F35",
            Self::Older { .. } => "MPKG-F36",
            Self::Equivocation { .. } => "MPKG-F37",
            Self::Broken { .. } => "MPKG-F38",
            Self::Publisher { .. } => "MPKG-F39",
        }
    }
}
