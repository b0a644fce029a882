//! What an operator can set. Flags, environment and files are the command line's business.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mpkg_fleet::{ApprovalPolicy, FleetPolicy};

/// How a registry runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lies.
    pub folder: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether a release can be rolled out only after somebody approved it.
    pub review: bool,
    /// How many people verbs that go take.
    pub approvals: ApprovalPolicy,
    /// What hosts do by themselves.
    pub policy: FleetPolicy,
    /// How often the fleet head is signed again.
    pub sign_every: Duration,
    /// How long a state counts without news.
    pub state_lifetime: Duration,
    /// How often gates look.
    pub gates_every: Duration,
    /// How often streams say that they are alive.
    pub heartbeat_every: Duration,
    /// Releases before a new one that patches to it are made from at once; from others when somebody asks.
    pub deltas: u32,
    /// Requests of one token in a second; stops are not counted.
    pub requests_per_second: u32,
    /// Connections at once.
    pub connections: usize,
    /// How long a sender of a request may pause, and a listener not take what it is sent.
    pub idle: Duration,
    /// How long connections may take to end when the registry stops.
    pub drain: Duration,
    /// What tells the time. It may be wrong and go back: what is signed stays in order.
    pub now: fn() -> SystemTime,
}

impl Config {
    /// The defaults, for this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8620)),
            review: false,
            approvals: ApprovalPolicy::default(),
            policy: FleetPolicy::default(),
            sign_every: Duration::from_secs(180),
            state_lifetime: Duration::from_secs(7 * 24 * 3_600),
            gates_every: Duration::from_secs(30),
            heartbeat_every: Duration::from_secs(15),
            deltas: 3,
            requests_per_second: 100,
            connections: 16_384,
            idle: Duration::from_secs(20),
            drain: Duration::from_secs(10),
            now: SystemTime::now,
        }
    }
}
