//! Arguments of `mpkg fleet`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mpkg_manifest::AppId;

use super::Connection;

/// Carry signed state and packages to hosts that no network reaches
#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    Export(FleetExport),
    #[cfg(feature = "run")]
    Import(FleetImport),
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

/// Take such a folder into a host's data
///
/// The host must not be running. Kills hold from then on; releases are installed as the state decides for this host, and
/// launched from the next start on. Exits with 3 if something in the folder was refused.
#[cfg(feature = "run")]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg fleet import /media/stick/fleet --data /var/lib/host --trust mp1qzr3… \\
    --unit kiosk-7 --platform linux --host-version 3.1.0")]
pub(crate) struct FleetImport {
    /// The folder
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// The host's data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The registry to believe: a root file, a public key or an id
    #[arg(long, value_name = "ROOT|KEY")]
    pub(crate) trust: String,
    /// What buckets are computed from: this device, by the name it always has
    #[arg(long, value_name = "NAME")]
    pub(crate) unit: String,
    /// The host's platform
    #[arg(long, value_name = "NAME")]
    pub(crate) platform: mpkg_fleet::Token,
    /// The host's version
    #[arg(long, value_name = "VERSION")]
    pub(crate) host_version: semver::Version,
    /// The host's region
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<mpkg_fleet::Token>,
    /// Apps to be kept on this host from now on [default: those that are already, and all in the folder where there are none]
    #[arg(long, value_name = "APP")]
    pub(crate) app: Vec<AppId>,
}
