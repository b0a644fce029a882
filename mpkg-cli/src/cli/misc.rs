//! Arguments of the verbs that help with the others.

use std::path::PathBuf;

use clap::Args;

/// Explain an error code
///
/// Tells what a rule stops, why it is there, and what to do. Takes the bridge's JSON-RPC codes too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg explain MPKG-Z07
  mpkg explain -32001
  mpkg explain --list")]
pub(crate) struct Explain {
    /// A code such as MPKG-Z07, z07 or -32001
    #[arg(value_name = "CODE", required_unless_present = "list", allow_negative_numbers = true)]
    pub(crate) code: Option<String>,
    /// Print all codes
    #[arg(long, conflicts_with = "code")]
    pub(crate) list: bool,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg completions bash > ~/.local/share/bash-completion/completions/mpkg
  mpkg completions zsh > ~/.zfunc/_mpkg")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Write the manual pages
///
/// One page for mpkg and one for each verb, made from what --help says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg man --out ~/.local/share/man/man1")]
pub(crate) struct Man {
    /// The folder to write into; it is made if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
