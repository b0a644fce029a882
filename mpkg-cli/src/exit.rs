//! Exit status as a type: the only way out of this program.

use std::process::ExitCode;

/// How a run of `mpkg` ended. Scripts depend on these numbers; they never change meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Ok,
    /// It did not work: a file is missing, a build failed, an app returned an error.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The package, its signer or a permission was refused.
    Refused,
    /// Nobody is logged in, or not as somebody who may do this.
    Auth,
    /// The network or a server did not answer.
    Network,
    /// Something is there already, or changed meanwhile.
    Conflict,
}

impl Exit {
    /// All of them, in order of their number.
    pub(crate) const ALL: [Self; 7] =
        [Self::Ok, Self::Failed, Self::Usage, Self::Refused, Self::Auth, Self::Network, Self::Conflict];

    /// The number that the shell sees.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Auth => 4,
            Self::Network => 5,
            Self::Conflict => 6,
        }
    }

    /// What it means, for `--help`.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done",
            Self::Failed => "it did not work",
            Self::Usage => "the command line is wrong",
            Self::Refused => "refused: signature, trust, permission or policy",
            Self::Auth => "not logged in, or not allowed",
            Self::Network => "the network or a server did not answer",
            Self::Conflict => "something is there already, or changed meanwhile",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}
