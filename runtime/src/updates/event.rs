//! What an agent tells its host.

use std::collections::BTreeMap;
use std::time::Duration;

use mpkg_fleet::{Decision, KillId, Notice, Position, ReleaseRef};
use mpkg_manifest::AppId;
use serde::Serialize;

use super::device::Shelf;

/// Which document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "document")]
#[non_exhaustive]
pub enum Paper {
    /// The registry's roots.
    Roots,
    /// The fleet head.
    Head,
    /// The state of an app, as whoever sent it calls it.
    State {
        /// The app.
        app: AppId,
    },
    /// A stop notice.
    Stop,
}

/// How a package came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As a patch of this many bytes to one that was here.
    Delta(u64),
    /// Whole.
    Full,
    /// From a folder.
    Folder,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// The newest head is this one, and what it says is obeyed.
    Head {
        /// Where it stands.
        at: Position,
    },
    /// Kills are in force that were not known.
    Killed {
        /// Their ids.
        kills: Vec<KillId>,
        /// Instances that were ended.
        stopped: usize,
    },
    /// Kills are no longer in force.
    Lifted {
        /// Their ids.
        kills: Vec<KillId>,
    },
    /// Users of an app are to be told something: a kill of level 1.
    Warn {
        /// The app.
        app: AppId,
        /// The kill.
        kill: KillId,
        /// What to tell.
        reason: String,
    },
    /// A document changes nothing. Kills in it may count all the same.
    Refused {
        /// Which one.
        #[serde(flatten)]
        paper: Paper,
        /// The rule's code.
        code: &'static str,
        /// A sentence.
        message: String,
        /// Two signed documents contradict each other: someone should look at it, today.
        alarm: bool,
    },
    /// Something about a document that is worth a look.
    Noticed {
        /// Which one.
        #[serde(flatten)]
        paper: Paper,
        /// What.
        notice: Notice,
    },
    /// A release is being fetched.
    Fetching {
        /// The app.
        app: AppId,
        /// The release.
        release: ReleaseRef,
    },
    /// A patch does not give the release. It was fetched whole instead.
    PatchRefused {
        /// The app.
        app: AppId,
        /// The release.
        release: ReleaseRef,
        /// The rule's code, where there is one.
        code: Option<&'static str>,
        /// A sentence.
        message: String,
    },
    /// A release is verified and here.
    Installed {
        /// The app.
        app: AppId,
        /// The release.
        release: ReleaseRef,
        /// How it came.
        way: Way,
    },
    /// Launches run another release from now on, or from when the last instance of the one before has ended.
    Switched {
        /// The app.
        app: AppId,
        /// The release.
        release: ReleaseRef,
    },
    /// A release could not be had. The agent tries again.
    Failed {
        /// The app.
        app: AppId,
        /// The release.
        release: ReleaseRef,
        /// The rule's code, where there is one.
        code: Option<String>,
        /// A sentence.
        message: String,
    },
    /// A release is offered that did not start too often on this device. It is not run again.
    Rejected {
        /// The app.
        app: AppId,
        /// The release.
        release: ReleaseRef,
    },
    /// The registry does not let this host in, or the disk does not take what must not be lost.
    Trouble {
        /// A sentence.
        message: String,
    },
    /// Telemetry is committed at the registry.
    Reported {
        /// Rows.
        rows: usize,
    },
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The newest head.
    pub head: Option<Position>,
    /// Seconds since it was signed, where time is known.
    pub age_s: Option<u64>,
    /// How long ago the registry was heard of.
    pub heard: Option<Duration>,
    /// What is known is not on the disk yet, so that nothing is begun on its word.
    pub unsaved: bool,
    /// The apps that this host is to have.
    pub apps: BTreeMap<AppId, AppStatus>,
}

/// How an app stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppStatus {
    /// What the fleet's state says.
    pub decision: Decision,
    /// What is here.
    pub shelf: Shelf,
}
