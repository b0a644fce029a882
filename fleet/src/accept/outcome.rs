//! What came of a document.

use data_encoding::BASE64;
use mpkg_manifest::AppId;
use mpkg_package::Time;
use serde::{Deserialize, Serialize};

use super::AcceptError;
use crate::kill::KillId;
use crate::types::Position;

/// What came of a document.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "a refusal is to be reported, and a change to be persisted before it is acted on"]
pub struct Outcome {
    /// The state is another one now.
    pub changed: bool,
    /// Why it is not, when the document was refused.
    pub refused: Option<AcceptError>,
    /// The refusal shows a contradiction between signed documents: someone should look at it, today.
    pub alarm: bool,
    /// What is worth reporting.
    pub notices: Vec<Notice>,
    /// Kills that were not known.
    pub killed: Vec<KillId>,
    /// Kills that are no longer in force.
    pub lifted: Vec<KillId>,
}

impl Outcome {
    pub(super) fn refused(error: AcceptError) -> Self {
        Self { refused: Some(error), ..Self::default() }
    }

    pub(super) fn alarmed(error: AcceptError) -> Self {
        Self { alarm: true, ..Self::refused(error) }
    }

    /// Whether anything is known that was not. Refused documents can bring kills and alarms.
    pub fn must_persist(&self) -> bool {
        self.changed || self.alarm || !self.killed.is_empty() || !self.lifted.is_empty()
    }
}

/// Something to report about a document that is not a reason to refuse it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// It is the newest and has expired: newer ones may be kept from this host. No new release is started on its
    /// word; kills hold.
    Expired {
        /// When.
        expires: Time,
    },
    /// Documents in between have not been seen, so this one is believed by its signature alone.
    Gap {
        /// The one before.
        after: Position,
        /// This one.
        found: Position,
    },
    /// It states a lower floor than one before it, which stays.
    FloorKept {
        /// What it states.
        stated: u64,
        /// What stays.
        floor: u64,
    },
    /// There are more kills or lifts than can be kept.
    KillsFull,
}

/// What contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmKind {
    /// The registry's root.
    Root,
    /// A fleet head or an app's state.
    State,
}

/// Two rightly signed documents that cannot both be true, kept as evidence. Either the registry was restored from a
/// backup without a new epoch, or its key is in two hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// What contradicts itself.
    pub kind: AlarmKind,
    /// The app whose state it is; none for the fleet head.
    pub app: Option<AppId>,
    /// Where.
    pub position: Position,
    /// What was known, as it was signed, in base64.
    pub first: String,
    /// What came then, as it was signed, in base64.
    pub second: String,
}

impl Alarm {
    pub(super) fn new(
        kind: AlarmKind,
        app: Option<AppId>,
        position: Position,
        first: &[u8],
        second: &[u8],
    ) -> Self {
        Self { kind, app, position, first: BASE64.encode(first), second: BASE64.encode(second) }
    }
}
