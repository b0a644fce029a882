//! Arguments of `mpkg fleet`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mpkg_manifest::AppId;

use super::Connection;

/// Carry signed state and packages to hosts that no network reaches
#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    Export(FleetExport),
}

/// Write the registry's signed state, and the packages that it names, into a folder
///
/// Everything is verified on the way, and again by each host that takes it in: the folder needs no protection on its
/// way. Exporting into the same folder again fetches only what is new.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg fleet export --out /media/stick/fleet
  mpkg fleet export com.example.app --out fleet --trust mp1qzr3…")]
pub(crate) struct FleetExport {
    /// The apps [default: all that have a release]
    #[arg(value_name = "APP")]
    pub(crate) apps: Vec<AppId>,
    /// The folder; made if it is missing
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The registry it must be: a root file, a public key or an id
    #[arg(long, value_name = "ROOT|KEY")]
    pub(crate) trust: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
