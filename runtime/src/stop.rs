//! Why an instance ended.

use std::time::Duration;

use mpkg_fleet::KillId;
use serde::Serialize;

use crate::limits::Limit;

/// Why an instance is no more. Every way to end has its own variant, so that a host can decide on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StopReason {
    /// The host asked for it.
    #[error("killed: {why}")]
    Killed {
        /// The reason the host gave.
        why: String,
    },
    /// The operator of the fleet has switched its release off: a kill of level 5.
    #[error("switched off by the operator: {why} (kill {kill})")]
    SwitchedOff {
        /// The kill.
        kill: KillId,
        /// The reason that the kill gives.
        why: String,
    },
    /// The host unloaded it in good order.
    #[error("unloaded")]
    Unloaded,
    /// The host is shutting down.
    #[error("the host shut down")]
    HostShutdown,
    /// It was unloaded to make room for another app, while nobody looked at it.
    #[error("unloaded to make room for another app")]
    Evicted,
    /// It trapped after the host had no memory left for it.
    #[error("out of memory: it wanted {wanted} bytes in all, and the host has no room")]
    HostMemory {
        /// Bytes in all that the refused demand would have come to.
        wanted: u64,
    },
    /// It trapped after the aggregate memory cap refused it more.
    #[error("out of memory: it wanted {wanted} bytes in all, its cap is {cap}")]
    Memory {
        /// Bytes in all that the refused demand would have come to.
        wanted: u64,
        /// The cap, in bytes.
        cap: u64,
    },
    /// One call used more CPU time than allowed.
    #[error("out of CPU time: a call to `{method}` used more than {budget:?}")]
    Cpu {
        /// The method called.
        method: String,
        /// The budget per call.
        budget: Duration,
    },
    /// One call took longer than allowed, waiting included.
    #[error("timed out: a call to `{method}` took more than {limit:?}")]
    Wall {
        /// The method called.
        method: String,
        /// The limit per call.
        limit: Duration,
    },
    /// It recursed deeper than its stack.
    #[error("its stack overflowed in `{method}`")]
    Stack {
        /// The method called.
        method: String,
    },
    /// It passed several times more to the host than a message may have.
    #[error("a message in `{method}` was several times longer than {limit} bytes")]
    Message {
        /// The method called.
        method: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// It trapped in another way: a panic, an out-of-bounds access, a division by zero.
    #[error("it crashed in `{method}`: {trap}")]
    Crashed {
        /// The method called.
        method: String,
        /// What the engine reported.
        trap: String,
    },
    /// It ended itself.
    #[error("it exited with status {status}")]
    Exited {
        /// The status it gave.
        status: i32,
    },
}

impl StopReason {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Killed { .. } => "MPKG-H20",
            Self::Unloaded => "MPKG-H21",
            Self::HostShutdown => "MPKG-H22",
            Self::Memory { .. } => "MPKG-H23",
            Self::Cpu { .. } => "MPKG-H24",
            Self::Wall { .. } => "MPKG-H25",
            Self::Stack { .. } => "MPKG-H26",
            Self::Message { .. } => "MPKG-H27",
            Self::Crashed { .. } => "MPKG-H28",
            Self::Exited { .. } => "MPKG-H29",
            Self::Evicted => "MPKG-H33",
            Self::HostMemory { .. } => "MPKG-H34",
            Self::SwitchedOff { .. } => "MPKG-H35",
        }
    }

    /// A short word for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Killed { .. } => "killed",
            Self::Unloaded => "unloaded",
            Self::HostShutdown => "shutdown",
            Self::Memory { .. } => "memory",
            Self::Cpu { .. } => "cpu",
            Self::Wall { .. } => "wall",
            Self::Stack { .. } => "stack",
            Self::Message { .. } => "message",
            Self::Crashed { .. } => "crashed",
            Self::Exited { .. } => "exited",
            Self::Evicted => "evicted",
            Self::HostMemory { .. } => "host_memory",
            Self::SwitchedOff { .. } => "switched_off",
        }
    }

    /// Every label there is, for metrics that begin at zero.
    pub(crate) const LABELS: [&'static str; 13] = [
        "killed",
        "unloaded",
        "shutdown",
        "memory",
        "cpu",
        "wall",
        "stack",
        "message",
        "crashed",
        "exited",
        "evicted",
        "host_memory",
        "switched_off",
    ];

    /// The limit that was met, if one was.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Memory { .. } => Some(Limit::Memory),
            Self::HostMemory { .. } => Some(Limit::HostMemory),
            Self::Cpu { .. } => Some(Limit::CpuPerCall),
            Self::Wall { .. } => Some(Limit::Wall),
            Self::Stack { .. } => Some(Limit::Stack),
            Self::Message { .. } => Some(Limit::Message),
            Self::Killed { .. }
            | Self::SwitchedOff { .. }
            | Self::Unloaded
            | Self::HostShutdown
            | Self::Evicted
            | Self::Crashed { .. }
            | Self::Exited { .. } => None,
        }
    }

    /// True if the app itself failed: it met a limit, crashed or exited. False if somebody ended it.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Crashed { .. } | Self::Exited { .. } => true,
            Self::Killed { .. }
            | Self::SwitchedOff { .. }
            | Self::Unloaded
            | Self::HostShutdown
            | Self::Evicted => false,
            Self::Memory { .. }
            | Self::HostMemory { .. }
            | Self::Cpu { .. }
            | Self::Wall { .. }
            | Self::Stack { .. }
            | Self::Message { .. } => true,
        }
    }
}
