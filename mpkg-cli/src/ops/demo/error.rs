//! Why a demo ends before its end.

use miniapp_runtime::updates::AgentError;
use mpkg_registry_client::ClientError;
use thiserror::Error;

use crate::error::Failure;
use crate::exit::Exit;
use crate::ops::remote::failure;
use crate::rules;

/// What went wrong.
#[derive(Debug, Error)]
pub(crate) enum DemoError {
    /// Something was seen that must not be.
    #[error("{0}")]
    Broken(String),
    /// Something did not happen.
    #[error("after {seconds} s {what}")]
    Late {
        /// What is still so.
        what: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// A host could not be started or used.
    #[error("{unit}: {reason}")]
    Host {
        /// Which one.
        unit: String,
        /// Why.
        reason: String,
    },
    /// A process with hosts in it.
    #[error("a process with hosts in it {0}")]
    Process(String),
    /// The registry does not start.
    #[error("the registry does not start: {0}")]
    Registry(String),
    /// The registry refused something, or did not answer.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// More hosts than the system has sockets for.
    #[error("{hosts} hosts take {needed} open files and sockets, and the system lets a process have {most}")]
    Files {
        /// What was asked for.
        hosts: usize,
        /// What that takes.
        needed: u64,
        /// What there is.
        most: u64,
    },
    /// A package could not be made.
    #[error("{what} cannot be made: {reason}")]
    Package {
        /// Which one.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl DemoError {
    /// A host's trouble.
    pub(super) fn host(unit: &str, error: &impl std::fmt::Display) -> Self {
        Self::Host { unit: unit.to_owned(), reason: error.to_string() }
    }

    /// An agent's trouble.
    pub(super) fn agent(unit: &str, error: &AgentError) -> Self {
        Self::Host { unit: unit.to_owned(), reason: format!("{error} ({})", error.code()) }
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Self {
        let message = error.to_string();
        match error {
            DemoError::Broken(_) => Self::new(&rules::DEMO_BROKEN, Exit::Failed, message).hint(
                "This is a bug in mpkg, or somebody interfered. Please report it with what was printed before.",
            ),
            DemoError::Late { .. } => Self::new(&rules::DEMO_LATE, Exit::Failed, message)
                .hint("A machine that is busy with something else may need fewer hosts: --hosts 50."),
            DemoError::Files { .. } => Self::new(&rules::DEMO_PARTS, Exit::Failed, message)
                .hint("Raise the limit (ulimit -n), or take fewer hosts with --hosts."),
            DemoError::Client(error) => failure::of("the demo's registry", error),
            _ => Self::new(&rules::DEMO_PARTS, Exit::Failed, message)
                .hint("Look at the reason: room on the disk, memory and open files are what hosts take."),
        }
    }
}
