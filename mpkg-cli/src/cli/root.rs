//! Arguments of `mpkg root` and `mpkg grant`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Passphrase;

/// Manage a publisher's root: who may sign what
///
/// A root lists keys and roles. The role `root` signs new roots and permission grants, the role `release` signs
/// releases. A change is a proposal until enough root keys of the old and of the new version have signed it. The file
/// may travel from machine to machine, each signer adding a signature.
#[derive(Debug, Subcommand)]
pub(crate) enum RootCommand {
    Init(RootInit),
    Show(RootShow),
    AddKey(RootAddKey),
    RemoveKey(RootRemoveKey),
    Rotate(RootRotate),
    Revoke(RootRevoke),
    Sign(RootSign),
    Verify(RootVerify),
}

/// Make a publisher's first root
///
/// Its hash is the publisher's id for good. Keys can change later, without asking anyone.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root init --out acme.root --root-key ann.pub --root-key bob.pub --root-threshold 2 --release-key ci.pub")]
pub(crate) struct RootInit {
    /// Where to write the root file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// A key for the role `root`: the file of its public half (repeatable)
    #[arg(long, value_name = "KEY", required = true)]
    pub(crate) root_key: Vec<String>,
    /// How many root keys it takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) root_threshold: u32,
    /// A key for the role `release` (repeatable) [default: the root keys]
    #[arg(long, value_name = "KEY")]
    pub(crate) release_key: Vec<String>,
    /// How many release keys it takes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) release_threshold: u32,
    /// From when on hosts install nothing new under this root, such as 2030-01-31
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Show a root, its proposal, and whose signatures are missing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root show acme.root")]
pub(crate) struct RootShow {
    /// The root file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What every change takes.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The root file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// How many keys a role takes from now on, such as root=2 (repeatable)
    #[arg(long, value_name = "ROLE=N")]
    pub(crate) threshold: Vec<String>,
    /// From when on hosts install nothing new under this root: a time such as 2030-01-31, or `never`
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<String>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Propose to give a key a role
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root add-key acme.root --role release --key ci2.pub
  mpkg root add-key acme.root --role root --key eve.pub --threshold root=2")]
pub(crate) struct RootAddKey {
    #[command(flatten)]
    pub(crate) change: Change,
    /// The key: the file of its public half
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
    /// The role, such as `root` or `release` (repeatable)
    #[arg(long, value_name = "ROLE", required = true)]
    pub(crate) role: Vec<String>,
}

/// Propose to take a role from a key
///
/// What the key has signed before counts no longer under the new root. To let its earlier releases stand, revoke it
/// instead.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root remove-key acme.root --role release --key ci.pub")]
pub(crate) struct RootRemoveKey {
    #[command(flatten)]
    pub(crate) change: Change,
    /// The key: a file with it, or its id
    #[arg(long, value_name = "KEY|ID")]
    pub(crate) key: String,
    /// The role (repeatable) [default: all that it has]
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Vec<String>,
}

/// Propose to put a new key in the place of an old one, or only a new version
///
/// The new key gets every role of the old one. Without keys the new version differs by --expires or --threshold.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root rotate acme.root --old ann.pub --new ann2.pub
  mpkg root rotate acme.root --expires 2031-01-31")]
pub(crate) struct RootRotate {
    #[command(flatten)]
    pub(crate) change: Change,
    /// The key that goes: a file with it, or its id
    #[arg(long, value_name = "KEY|ID", requires = "new")]
    pub(crate) old: Option<String>,
    /// The key that comes: the file of its public half
    #[arg(long, value_name = "KEY", requires = "old")]
    pub(crate) new: Option<String>,
}

/// Propose to cut a release key off
///
/// Its signatures on releases from this one on count for nothing; earlier releases stand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root revoke acme.root --key ci.pub --from-release 42
  mpkg root revoke acme.root --key ci.pub --from-release 1")]
pub(crate) struct RootRevoke {
    #[command(flatten)]
    pub(crate) change: Change,
    /// The key: a file with it, or its id
    #[arg(long, value_name = "KEY|ID")]
    pub(crate) key: String,
    /// The first release that it may not sign; 1 for all of them
    #[arg(long, value_name = "N")]
    pub(crate) from_release: u64,
}

/// Sign the proposal in a root file
///
/// With the last signature that it takes the new root comes into force.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root sign acme.root --key ann.pem")]
pub(crate) struct RootSign {
    /// The root file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The private key: a file, `-` for standard input, or `env:NAME` for an environment variable
    #[arg(long, value_name = "KEY", env = "MPKG_KEY", hide_env_values = true)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Check a root file
///
/// Exits with 0 if every root follows from the one before and the newest has not expired, and with 3 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg root verify acme.root
  mpkg root verify new.root --trust old.root")]
pub(crate) struct RootVerify {
    /// The root file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The publisher it must be: a root file, a public key or an id. Roots older than those of the file are refused
    #[arg(long, value_name = "ROOT|KEY")]
    pub(crate) trust: Option<String>,
}

/// Manage permission grants: what the releases of an app may ask for
///
/// A release whose permissions go beyond its grant is refused on every device, so a stolen release key adds none. Where
/// one key is root and release, `mpkg sign` makes the grant itself.
#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    Create(GrantCreate),
    Sign(GrantSign),
    Show(GrantShow),
}

/// Make a grant of what a manifest asks for
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg grant create app.mpkg --root acme.root --out app.grant
  mpkg grant create . --root acme.root --out app.grant")]
pub(crate) struct GrantCreate {
    /// A package, a project's folder, or a manifest
    #[arg(value_name = "PACKAGE|PROJECT|MANIFEST")]
    pub(crate) from: PathBuf,
    /// The publisher's root file
    #[arg(long, value_name = "FILE", env = "MPKG_ROOT")]
    pub(crate) root: PathBuf,
    /// Where to write the grant
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The grant's version, higher than that of the grant before [default: the release sequence]
    #[arg(long, value_name = "N")]
    pub(crate) grant_version: Option<u64>,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Sign a grant with a root key
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg grant sign app.grant --root acme.root --key ann.pem")]
pub(crate) struct GrantSign {
    /// The grant
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The publisher's root file
    #[arg(long, value_name = "FILE", env = "MPKG_ROOT")]
    pub(crate) root: PathBuf,
    /// The private key: a file, `-` for standard input, or `env:NAME` for an environment variable
    #[arg(long, value_name = "KEY", env = "MPKG_KEY", hide_env_values = true)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Show what a grant allows, and with --root whose signatures are missing
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg grant show app.grant --root acme.root")]
pub(crate) struct GrantShow {
    /// The grant
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The publisher's root file; without it no signature is checked
    #[arg(long, value_name = "FILE", env = "MPKG_ROOT")]
    pub(crate) root: Option<PathBuf>,
}
