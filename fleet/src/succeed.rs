//! What a registry checks before it signs the next state of an app. Hosts would keep their floors anyway; this finds a
//! mistake before every host has to.

use mpkg_package::Hash;
use thiserror::Error;

use crate::document::AppState;
use crate::types::{BasisPoints, Position};

/// Why a state cannot come after another.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SuccessorError {
    /// Not the next position.
    #[error("position {found} does not come after {before}")]
    Position {
        /// Its position.
        found: Position,
        /// The one before.
        before: Position,
    },
    /// Another document before it.
    #[error("the state names another document before it than {before}")]
    Previous {
        /// The hash of the one before.
        before: Hash,
    },
    /// Another app or publisher.
    #[error("the state is of another app or publisher than the one before")]
    Owner,
    /// A floor that falls.
    #[error("the floor falls from {before} to {found}")]
    Floor {
        /// It is.
        found: u64,
        /// It was.
        before: u64,
    },
    /// A percentage that falls within a release.
    #[error("the percentage of one release falls from {before} to {found}; halt or roll back instead")]
    Percent {
        /// It is.
        found: BasisPoints,
        /// It was.
        before: BasisPoints,
    },
    /// Another salt within a release, or the same one for another.
    #[error("a salt belongs to one release: it changes with the release and only then")]
    Salt,
    /// A kill that is gone without a lift.
    #[error("the state drops kill {kill}, which nothing lifts")]
    Dropped {
        /// The kill.
        kill: crate::kill::KillId,
    },
}

impl SuccessorError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Position { .. } => "MPKG-F41",
            Self::Previous { .. } => "MPKG-F42",
            Self::Owner => "MPKG-F43",
            Self::Floor { .. } => "MPKG-F44",
            Self::Percent { .. } => "MPKG-F45",
            Self::Salt => "MPKG-F46",
            Self::Dropped { .. } => "MPKG-F47",
        }
    }
}

/// Checks that `next` can come after `before`, whose payload has this hash.
pub fn check_successor(before: &AppState, hash: Hash, next: &AppState) -> Result<(), SuccessorError> {
    let at = |state: &AppState| Position { epoch: state.epoch, seq: state.seq };
    let (old, new) = (at(before), at(next));
    let new_epoch = new.epoch > old.epoch && new.seq == 1;
    if !new_epoch && !new.follows(old) {
        return Err(SuccessorError::Position { found: new, before: old });
    }
    if !new_epoch && next.prev_sha256 != Some(hash) {
        return Err(SuccessorError::Previous { before: hash });
    }
    if (&before.app_id, before.publisher) != (&next.app_id, next.publisher) {
        return Err(SuccessorError::Owner);
    }
    if next.min_seq < before.min_seq {
        return Err(SuccessorError::Floor { found: next.min_seq, before: before.min_seq });
    }
    if let (Some(old), Some(new)) = (&before.release, &next.release) {
        let same = old.package == new.package;
        if same != (before.salt == next.salt) {
            return Err(SuccessorError::Salt);
        }
        if same && next.percent < before.percent {
            return Err(SuccessorError::Percent { found: next.percent, before: before.percent });
        }
    }
    let kept =
        |id| next.kills.iter().any(|kill| kill.id() == id) || next.lifts.iter().any(|it| it.kill == id);
    match before.kills.iter().map(crate::kill::Kill::id).find(|id| !kept(*id)) {
        Some(kill) => Err(SuccessorError::Dropped { kill }),
        None => Ok(()),
    }
}
