//! Why a Mini App could not be built.

use std::path::PathBuf;

/// One reason for a failed build. Output of other programs is carried as it came; whoever prints it escapes it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// The folder is not a Mini App project.
    #[error("{} is not a Mini App project: {problem}", dir.display())]
    NotAProject { dir: PathBuf, problem: String },
    /// A program that the build needs is not on this machine.
    #[error("{tool} is needed to build this Mini App and was not found")]
    ToolMissing { tool: &'static str, hint: String },
    /// The guest toolchain folder lacks a part.
    #[error("the guest toolchain has no {what} in {}", path.display())]
    ToolchainMissing { what: &'static str, path: PathBuf, hint: String },
    /// A program ran and said no. `output` is what it printed last.
    #[error("{tool} failed ({status})")]
    ToolFailed { tool: String, status: String, output: String },
    /// The project's own build files say something that cannot be built.
    #[error("{}: {problem}", file.display())]
    Project { file: PathBuf, problem: String, hint: Option<String> },
    /// The compiled code could not be turned into a component.
    #[error("the compiled code could not be made into a component: {reason}")]
    Componentize { reason: String },
    /// Reading or writing failed.
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
}

impl BuildError {
    /// The stable code of this reason; `mpkg explain` tells more about it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotAProject { .. } => "MPKG-C20",
            Self::ToolMissing { .. } => "MPKG-C21",
            Self::ToolchainMissing { .. } => "MPKG-C22",
            Self::ToolFailed { .. } => "MPKG-C23",
            Self::Project { .. } => "MPKG-C24",
            Self::Componentize { .. } => "MPKG-C25",
            Self::Io { .. } => "MPKG-C03",
        }
    }

    /// What to do about it, in the words of whoever raised it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NotAProject { .. } => {
                Some("Start one with `mpkg new DIR --template rust --id com.example.app`.".into())
            }
            Self::ToolMissing { hint, .. } | Self::ToolchainMissing { hint, .. } => Some(hint.clone()),
            Self::Project { hint, .. } => hint.clone(),
            Self::ToolFailed { .. } | Self::Componentize { .. } | Self::Io { .. } => None,
        }
    }

    /// `.map_err(BuildError::io("read", path))`
    pub(crate) fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
