//! Arguments of `mpkg demo`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Show a whole fleet, from a first release to a kill and back
///
/// Runs a registry and hosts with real update agents on this machine, in a temporary folder: builds the example
/// stock-alert, rolls a good release out in steps, has the gates roll a bad one back, switches the app off everywhere
/// and on again, and lets the registry fail meanwhile. Three hosts run the app in its sandbox, the others act as if.
/// Everything it tells is checked; what does not hold ends it with status 1. Above a thousand hosts it takes several
/// processes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  mpkg demo
  mpkg demo --hosts 10000
  mpkg demo --hosts 50 --format json")]
pub(crate) struct Demo {
    /// Hosts, from 10 on
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    pub(crate) hosts: u32,
    /// The folder of the example stock-alert [default: examples/stock-alert in this folder or in one above it]
    #[arg(long, value_name = "DIR")]
    pub(crate) project: Option<PathBuf>,
    /// The folder with the guest toolchains [default: mpkg/toolchain in the user's cache folder]
    #[arg(long, value_name = "DIR", env = "MPKG_TOOLCHAIN")]
    pub(crate) toolchain: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) part: Option<DemoPart>,
}

/// What other processes of a demo do.
#[derive(Debug, Subcommand)]
pub(crate) enum DemoPart {
    /// Hold some of the hosts, as standard input says
    #[command(hide = true)]
    #[command(after_help = "Examples:
  mpkg demo worker")]
    Worker,
}
