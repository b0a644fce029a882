//! Arguments of the verbs that publish to a registry and take from it.

use std::path::PathBuf;

use clap::Args;
use mpkg_manifest::Text;

use super::values::AppRelease;

/// How to reach a registry.
#[derive(Debug, Args)]
#[command(next_help_heading = "Registry")]
pub(crate) struct Connection {
    /// The registry's address [default: the one in the folder's mpkg.json, or that of the last login]
    #[arg(long, value_name = "URL", env = "MPKG_REGISTRY")]
    pub(crate) registry: Option<String>,
    /// A file whose first line is the token [default: MPKG_TOKEN, or what `mpkg login` stored]
    #[arg(long, value_name = "FILE", env = "MPKG_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Store a token for a registry
///
/// Reads the token from standard input or a file, never from the command line, asks the registry whether it counts, and
/// keeps it in your configuration folder, in a file that only you can read. The registry becomes the default for other
/// verbs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg login https://registry.example < token.txt
  mpkg login http://127.0.0.1:8620 --token-file admin.token
  pass show registry | mpkg login https://registry.example")]
pub(crate) struct Login {
    /// The registry's address
    #[arg(value_name = "URL", env = "MPKG_REGISTRY")]
    pub(crate) url: String,
    /// A file whose first line is the token [default: standard input, or a question on a terminal]
    #[arg(long, value_name = "FILE", env = "MPKG_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// Publish a signed package
///
/// Checks the package here first, then sends it. The first time, --claim registers its publisher and claims its app id:
/// from then on the id belongs to that publisher for good. Publishing reaches nobody; `mpkg rollout start` does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg publish app.mpkg --claim
  mpkg publish app.mpkg
  mpkg publish app.mpkg --root acme.root")]
pub(crate) struct Publish {
    /// The signed package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Register the publisher and claim the app id, if nobody has
    #[arg(long)]
    pub(crate) claim: bool,
    /// The publisher's newest root file, to send along [default: the roots in the package]
    #[arg(long, value_name = "FILE", env = "MPKG_ROOT")]
    pub(crate) root: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Hide a release from lists and new rollouts
///
/// It stays there for hosts that run it, and as something to roll back to. To take it from devices, roll back or kill.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg yank com.example.app@3 --reason 'leaks a debug log'")]
pub(crate) struct Yank {
    /// The release: its app, and its number or version
    #[arg(value_name = "APP@RELEASE")]
    pub(crate) release: AppRelease,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Text<200>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Find apps in the registry
///
/// Lists the newest release of each app whose id, name or description holds the words.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg search stock
  mpkg search --limit 20")]
pub(crate) struct Search {
    /// What to look for [default: everything]
    #[arg(value_name = "WORDS")]
    pub(crate) words: Vec<String>,
    /// How many to show at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Show an app of the registry, or one of its releases
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg info com.example.app
  mpkg info com.example.app@1.2.0
  mpkg info com.example.app --all")]
pub(crate) struct Info {
    /// The app, perhaps with a release
    #[arg(value_name = "APP[@RELEASE]")]
    pub(crate) app: AppRelease,
    /// Show yanked releases too
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Download a package and verify it
///
/// Does everything that `mpkg verify` does, under the newest root of the publisher that the registry knows, and writes
/// the file only if all of it holds. Whom to trust is for you to say, never for the registry.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg fetch com.example.app --trust publisher.root.json
  mpkg fetch com.example.app@1.2.0 --trust mp1... --out app.mpkg")]
pub(crate) struct Fetch {
    /// The app, perhaps with a release [default release: the newest]
    #[arg(value_name = "APP[@RELEASE]")]
    pub(crate) app: AppRelease,
    /// Root document, public key or id of a publisher to trust (repeatable)
    #[arg(long, value_name = "ROOT|KEY", env = "MPKG_TRUST", required = true)]
    pub(crate) trust: Vec<String>,
    /// Where to write the package [default: APP_ID-VERSION.mpkg]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
