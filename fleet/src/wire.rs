//! What a registry streams to hosts, and how a host follows.
//!
//! A stream is a hint, never the truth: what it carries is verified like anything else, and a host that may have missed
//! something fetches again. Each event names the head before it; a heartbeat names the head that is newest.

use mpkg_manifest::AppId;
use serde::{Deserialize, Serialize};

use crate::types::Position;

/// One event of the stream `/v1/stream`. As a server-sent event, `at` is its id, which a host gives as `Last-Event-ID`
/// when it comes back. Documents are envelopes in their one byte form, as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum StreamEvent {
    /// Something changed: a new head, and with it perhaps the state of an app.
    Head {
        /// The head before.
        prev: Position,
        /// This head.
        at: Position,
        /// The signed head.
        head: String,
        /// The signed states that changed with it; one that is not here is to be fetched.
        #[serde(default)]
        apps: Vec<StreamedApp>,
    },
    /// A stop notice. It does not wait for a head.
    Stop {
        /// The signed notice.
        notice: String,
    },
    /// The registry's root has a new version: fetch it before anything that it signs.
    Roots {
        /// Its version.
        version: u32,
    },
    /// Nothing happened.
    Heartbeat {
        /// The newest head.
        at: Position,
    },
}

/// The signed state of an app in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamedApp {
    /// The app.
    pub app: AppId,
    /// Its signed state.
    pub state: String,
}

/// What a host does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Take in what it carries.
    Apply,
    /// Take in what it carries, and fetch the head and what is missing: something in between was lost.
    ApplyAndFetch,
    /// Fetch: the registry is further than this host.
    Fetch,
    /// Nothing to do.
    Nothing,
}

impl StreamEvent {
    /// What a host whose newest head is at `known` does with it.
    ///
    /// ```
    /// use mpkg_fleet::{Follow, Position, StreamEvent};
    /// let at = |seq| Position { epoch: 1, seq };
    /// assert_eq!(StreamEvent::Heartbeat { at: at(7) }.follow(Some(at(7))), Follow::Nothing);
    /// assert_eq!(StreamEvent::Heartbeat { at: at(8) }.follow(Some(at(7))), Follow::Fetch);
    /// ```
    pub fn follow(&self, known: Option<Position>) -> Follow {
        match self {
            // Also when it is old: a stop counts whenever it comes.
            Self::Stop { .. } => Follow::Apply,
            Self::Roots { .. } => Follow::Fetch,
            Self::Heartbeat { at } if known.is_some_and(|known| known >= *at) => Follow::Nothing,
            Self::Heartbeat { .. } => Follow::Fetch,
            // What is already known may still come with kills that are not, so it is taken in all the same.
            Self::Head { at, .. } if known.is_some_and(|known| known >= *at) => Follow::Apply,
            Self::Head { prev, .. } if known == Some(*prev) => Follow::Apply,
            Self::Head { .. } => Follow::ApplyAndFetch,
        }
    }
}
