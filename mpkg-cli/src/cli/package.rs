//! Arguments of the verbs that work on a package file.

use std::path::PathBuf;

use clap::Args;

use super::Passphrase;

/// Sign a package
///
/// Puts a release statement and its signature into the package, or beside it with --detached. The package's digest
/// stays what it was. Signatures of other keys on the same release are kept, anything else that is there is replaced.
/// The permissions must lie within a grant by the root keys; a key that is root and release makes it itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg sign app.mpkg --key release.pem
  mpkg sign app.mpkg --key env:RELEASE_KEY --out signed.mpkg
  mpkg sign app.mpkg --key ci.pem --root acme.root --grant app.grant
  pass show release-key | mpkg sign app.mpkg --key - --detached")]
pub(crate) struct Sign {
    /// The package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The private key: a file, `-` for standard input, or `env:NAME` for an environment variable
    #[arg(long, value_name = "KEY", env = "MPKG_KEY", hide_env_values = true)]
    pub(crate) key: String,
    /// Where to write the result [default: FILE itself, or FILE.sig with --detached]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write the signature into a file of its own and leave the package alone
    #[arg(long)]
    pub(crate) detached: bool,
    /// The publisher's root file [default: the root in which this key is everything]
    #[arg(long, value_name = "FILE", env = "MPKG_ROOT")]
    pub(crate) root: Option<PathBuf>,
    /// The permission grant [default: the one that is there, or one made with this key]
    #[arg(long, value_name = "FILE")]
    pub(crate) grant: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Verify who signed a package and that it is whole
///
/// Exits with 0 if one of the trusted publishers signed exactly these bytes and they keep every rule of the format,
/// and with 3 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg verify app.mpkg --trust publisher.root.json
  mpkg verify app.mpkg --signature app.mpkg.sig --trust release.pem.pub
  mpkg verify app.mpkg --unsigned --list --format json
  mpkg verify app.mpkg --trust release.pem.pub --rebuild stock-alert")]
pub(crate) struct Verify {
    /// The package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Root document or public key of a publisher to trust: a file, `-` or `env:NAME` (repeatable)
    #[arg(long, value_name = "ROOT|KEY", env = "MPKG_TRUST", required_unless_present_any = ["unsigned", "rebuild"])]
    pub(crate) trust: Vec<String>,
    /// Detached signature [default: FILE.sig, if the package carries none]
    #[arg(long, value_name = "FILE", conflicts_with = "unsigned")]
    pub(crate) signature: Option<PathBuf>,
    /// Judge any file by the rules for unsigned packages: container, manifest, component. Nobody is trusted
    #[arg(long)]
    pub(crate) unsigned: bool,
    /// List names, sizes and SHA-256 of the files of an accepted package
    #[arg(long, requires = "unsigned")]
    pub(crate) list: bool,
    /// Build this project, and refuse the package unless it has the same bytes. Needs no --trust
    #[arg(long, value_name = "SRC", conflicts_with = "unsigned")]
    pub(crate) rebuild: Option<PathBuf>,
    /// The folder with the guest toolchains [default: mpkg/toolchain in the user's cache folder]
    #[arg(long, value_name = "DIR", env = "MPKG_TOOLCHAIN")]
    pub(crate) toolchain: Option<PathBuf>,
}

/// Show what is in a package
///
/// Manifest, files, permissions in a user's words, imports, signatures and digest. Nothing is trusted and no
/// signature is checked; that is what `mpkg verify` is for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg inspect app.mpkg
  mpkg inspect app.mpkg --format json")]
pub(crate) struct Inspect {
    /// The package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Print the digest that identifies a package
///
/// It is the SHA-256 of the package without its signatures, so signing does not change it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg digest app.mpkg")]
pub(crate) struct Digest {
    /// The package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
