//! Arguments of `mpkg registry`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Run a registry, and keep copies of it
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    Serve(Serve),
    Backup(Backup),
    Restore(Restore),
}

/// Run a registry
///
/// One process and one folder, which is made if it is missing. The first start makes a first admin token and prints it
/// once. Ctrl-C or SIGTERM stop it without losing anything that was acknowledged. It speaks plain HTTP: to be reached
/// from other machines, put a proxy that ends TLS before it. MPKG_LOG sets what is logged to standard error.
///
/// Settings come from flags, then the environment, then the file of --config, a JSON object with any of: data, listen,
/// review, approvals {start, advance, resume, complete, supersede, lift}, policy {staleness}, sign_every_s,
/// state_lifetime_s, gates_every_s, heartbeat_every_s, deltas, requests_per_second, connections, idle_s, drain_s.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg registry serve
  mpkg registry serve --data /var/lib/mpkg --listen 127.0.0.1:8620 --token-out admin.token
  mpkg registry serve --config registry.json --approvals start=2,lift=2")]
pub(crate) struct Serve {
    /// The folder that holds everything [default: mpkg-registry]
    #[arg(long, value_name = "DIR", env = "MPKG_REGISTRY_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8620]
    #[arg(long, value_name = "ADDR:PORT", env = "MPKG_REGISTRY_LISTEN")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// A file with settings
    #[arg(long, value_name = "FILE", env = "MPKG_REGISTRY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Roll out only releases that a reviewer approved: true or false [default: false]
    #[arg(long, value_name = "BOOL", env = "MPKG_REGISTRY_REVIEW", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) review: Option<bool>,
    /// How many people a verb takes, such as start=2 (repeatable, or separated by commas) [default: one each]
    #[arg(long, value_name = "VERB=N", env = "MPKG_REGISTRY_APPROVALS", value_delimiter = ',')]
    pub(crate) approvals: Vec<String>,
    /// Write the first admin token into this new file, readable by you only, instead of printing it
    #[arg(long, value_name = "FILE", env = "MPKG_REGISTRY_TOKEN_OUT")]
    pub(crate) token_out: Option<PathBuf>,
}

/// Copy a registry, which may be running, into an empty folder
///
/// The copy holds the signing keys: keep it as safe as the registry itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg registry backup --data /var/lib/mpkg --to /backup/2026-11-21")]
pub(crate) struct Backup {
    /// The registry's folder
    #[arg(long, value_name = "DIR", env = "MPKG_REGISTRY_DATA", default_value = "mpkg-registry")]
    pub(crate) data: PathBuf,
    /// An empty folder, or one to be made
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Copy a backup into an empty folder, to serve from it
///
/// Its next start begins a new epoch, so that hosts take it for newer than all that they have seen. Never let two
/// registries of one origin serve at the same time: hosts report that as an attack.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg registry restore --from /backup/2026-11-21 --data /var/lib/mpkg")]
pub(crate) struct Restore {
    /// The folder of the backup
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The registry's folder: empty, or to be made
    #[arg(long, value_name = "DIR", env = "MPKG_REGISTRY_DATA", default_value = "mpkg-registry")]
    pub(crate) data: PathBuf,
}
