//! What the story asks of a group of hosts, in this process or as lines of JSON in another one.

use std::path::PathBuf;
use std::time::Duration;

use mpkg_fleet::ReleaseRef;
use mpkg_manifest::AppId;
use mpkg_package::{Hash, PublisherId};
use serde::{Deserialize, Serialize};

/// Something to do or to tell.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ask {
    /// Starts all hosts and their agents.
    Start(Box<Setup>),
    /// Has every host want the app, some at a time.
    Want,
    /// How every host stands.
    Look,
    /// Every user closes the app, opens it again and calls it a few times.
    Use {
        /// Whether what was counted is reported at once.
        report: bool,
    },
    /// What was counted is reported.
    Report,
    /// The first hosts are restarted, with nothing but what is on their disks.
    Restart {
        /// How many.
        hosts: usize,
    },
    /// Calls the app that nobody switched off, where there are real hosts.
    UseOther,
    /// Resident bytes of the process.
    Memory,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// It is done, or under way.
    Done,
    /// One for each host, in their order.
    Looks(Vec<Look>),
    /// One for each host, in their order.
    Used(Vec<Used>),
    /// Resident bytes, where the system tells.
    Memory(Option<u64>),
    /// It failed.
    Failed(String),
}

/// Where the hosts of a group find everything.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Setup {
    /// The registry's address.
    pub(super) address: String,
    /// The registry's id, which hosts pin.
    pub(super) registry: PublisherId,
    /// The app.
    pub(super) app: AppId,
    /// The app that nobody switches off.
    pub(super) other: AppId,
    /// The release that does not come up, for the hosts that only act as if.
    pub(super) crashes: Hash,
    /// Where hosts keep what they know.
    pub(super) folder: PathBuf,
    /// The hosts, the real ones first.
    pub(super) hosts: Vec<Seed>,
    /// How many of them are real.
    pub(super) real: usize,
    /// How they pace themselves.
    pub(super) pace: Pace,
}

/// A host to be.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Seed {
    /// Its name, which buckets are made of.
    pub(super) unit: String,
    /// Its token.
    pub(super) token: String,
}

/// How hosts pace themselves: as ten thousand would in an hour, but in half a minute.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Pace {
    /// See [`miniapp_runtime::updates::Settings::spread`].
    pub(super) spread: Duration,
    /// See [`miniapp_runtime::updates::Settings::look_every`].
    pub(super) look_every: Duration,
    /// The first wait after a lost connection.
    pub(super) backoff_first: Duration,
    /// The longest.
    pub(super) backoff_most: Duration,
}

impl Pace {
    /// For so many hosts on one machine, which all download from it.
    pub(super) fn of(hosts: usize) -> Self {
        let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
        Self {
            spread: Duration::from_millis(hosts.saturating_mul(5).max(500)),
            look_every: Duration::from_millis(hosts.saturating_mul(4).max(1_000)),
            backoff_first: Duration::from_millis(250),
            backoff_most: Duration::from_millis(hosts.clamp(2_000, 30_000)),
        }
    }
}

/// How a host stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    /// The release that it runs from the next launch on; 0 for none.
    pub(super) ahead: u64,
    /// Whether the app may not be launched, and runs nowhere on this host.
    pub(super) barred: bool,
    /// When that became so, or ended, on the machine's clock in microseconds.
    pub(super) since_us: u64,
}

/// What came of using the app on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Used {
    /// The release that came up; 0 for none.
    pub(super) ran: u64,
    /// The releases that were launched and crashed.
    pub(super) crashed: Vec<u64>,
    /// Whether a launch was refused because the app is switched off.
    pub(super) refused: bool,
    /// Packages that came as patches since the last time, by their bytes.
    pub(super) deltas: Vec<u64>,
    /// Packages that came whole.
    pub(super) whole: u64,
    /// Signed documents that contradict each other.
    pub(super) alarms: Vec<String>,
}

/// The sequence of a release; 0 for none.
pub(super) fn seq(release: Option<&ReleaseRef>) -> u64 {
    release.map_or(0, |release| release.release_seq)
}
