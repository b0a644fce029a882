//! Arguments of `mpkg keys`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Make and show signing keys
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    Generate(KeysGenerate),
    Show(KeysShow),
}

/// Where the passphrase of a private key comes from
#[derive(Debug, Args)]
pub(crate) struct Passphrase {
    /// A file whose first line is the private key's passphrase [default: MPKG_PASSPHRASE, or a question on a terminal]
    #[arg(long, value_name = "FILE", env = "MPKG_PASSPHRASE_FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Make a signing key
///
/// Writes the private key (FILE, readable by you only), the public key (FILE.pub) and the publisher's root document
/// (FILE.root.json). Whoever holds the private key can publish in your name: keep it secret and keep a copy. With a
/// passphrase the private key is encrypted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg keys generate --out release.pem
  mpkg keys generate --out root.pem --encrypt")]
pub(crate) struct KeysGenerate {
    /// Where to write the private key
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace files that are there; what they held is lost
    #[arg(long)]
    pub(crate) force: bool,
    /// Ask for a passphrase on the terminal, if none is given otherwise
    #[arg(long)]
    pub(crate) encrypt: bool,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}

/// Show the public half of a key
///
/// Takes a private key, a public key or a root document, and never prints a secret.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg keys show release.pem
  mpkg keys show env:RELEASE_KEY --format json")]
pub(crate) struct KeysShow {
    /// A file, `-` for standard input, or `env:NAME` for an environment variable
    #[arg(value_name = "KEY", env = "MPKG_KEY", hide_env_values = true)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) passphrase: Passphrase,
}
