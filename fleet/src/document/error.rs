//! Why a document is refused.

use mpkg_manifest::AppId;
use mpkg_manifest::json::JsonError;
use mpkg_package::Time;
use mpkg_package::dsse::EnvelopeError;
use thiserror::Error;

use crate::kill::{KillError, KillId};
use crate::types::Position;

/// Why a document is refused, whatever is known before it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DocumentError {
    /// Its envelope or its signatures.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Not strict JSON of the right shape.
    #[error("the document is not valid: {0}")]
    Json(#[from] JsonError),
    /// A kill that makes no sense.
    #[error(transparent)]
    Kill(#[from] KillError),
    /// Too long.
    #[error("the {name} has {size} bytes, the limit is {limit}")]
    TooLarge {
        /// What it is.
        name: &'static str,
        /// Its size.
        size: usize,
        /// The most.
        limit: usize,
    },
    /// Too many of something.
    #[error("the document holds {found} {what}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Their number.
        found: usize,
        /// The most.
        limit: usize,
    },
    /// The root has no role for it.
    #[error("the registry's root has no role that signs a {name}")]
    NoRole {
        /// What it is.
        name: &'static str,
    },
    /// A position that cannot be, or a hash of a document before it that should (not) be there.
    #[error(
        "position {position} is not possible: epoch and sequence begin with 1, and all but the first of an epoch \
         name the document before"
    )]
    Position {
        /// The position.
        position: Position,
    },
    /// It ends before it begins.
    #[error("the document is issued at {issued} and expires at {expires}, which is not later")]
    Expiry {
        /// When it was made.
        issued: Time,
        /// When it ends.
        expires: Time,
    },
    /// Arms that overlap, or a share of nothing.
    #[error("{percent} of hosts for the release and {control} to compare with are not possible: {reason}")]
    Arms {
        /// The share of the release.
        percent: crate::types::BasisPoints,
        /// The share of the control arm.
        control: crate::types::BasisPoints,
        /// Why not.
        reason: &'static str,
    },
    /// A release below the floor of its own document.
    #[error("release {release_seq} is below the document's own floor {min_seq}")]
    BelowFloor {
        /// The release.
        release_seq: u64,
        /// The floor.
        min_seq: u64,
    },
    /// A release that is not newer than its baseline.
    #[error("release {release} is rolled out over baseline {baseline}, which is not older")]
    NotNewer {
        /// The release.
        release: u64,
        /// The baseline.
        baseline: u64,
    },
    /// A kill of another app in an app's state.
    #[error("kill {kill} in the state of {app_id} is not about that app")]
    ForeignKill {
        /// The kill.
        kill: KillId,
        /// Whose state it is.
        app_id: AppId,
    },
}

impl DocumentError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.code(),
            Self::Json(error) => error.code(),
            Self::Kill(error) => error.code(),
            Self::TooLarge { .. } => "MPKG-F01",
            Self::TooMany { .. } => "MPKG-F02",
            Self::NoRole { .. } => "MPKG-F03",
            Self::Position { .. } => "MPKG-F04",
            Self::Expiry { .. } => "MPKG-F05",
            Self::Arms { .. } => "MPKG-F06",
            Self::BelowFloor { .. } => "MPKG-F07",
            Self::NotNewer { .. } => "MPKG-F08",
            Self::ForeignKill { .. } => "MPKG-F09",
        }
    }
}
