//! Arguments of the verbs that look at a package or a project and advise.

use std::path::PathBuf;

use clap::Args;

/// Look for what a reviewer would object to
///
/// Secrets, files that nothing uses, bytes that nobody needs, permissions without a reason, icons and language. Takes
/// a package, or a project that is not built yet. Exits with 1 if an error was found, with --strict for warnings too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg lint app.mpkg
  mpkg lint . --strict
  mpkg lint app.mpkg --allow MPKG-L04 --format json")]
pub(crate) struct Lint {
    /// The package or the project's folder
    #[arg(value_name = "FILE|DIR")]
    pub(crate) path: PathBuf,
    /// Leave out a check, such as MPKG-L04 (repeatable, or separated by commas)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
}

/// Show what changed between two packages
///
/// Versions, permissions with their scopes, imports, limits, files. Exits with 1 if the second package may do anything
/// that the first may not, so that a pipeline can stop for a person to look.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg diff released.mpkg new.mpkg
  mpkg diff released.mpkg new.mpkg --format json")]
pub(crate) struct Diff {
    /// The package as it was
    #[arg(value_name = "BEFORE")]
    pub(crate) before: PathBuf,
    /// The package as it is
    #[arg(value_name = "AFTER")]
    pub(crate) after: PathBuf,
}

/// Find out what keeps a project from building, or its keys from being safe
///
/// Looks at toolchains, keys, manifest and lock files. Each finding comes with its fix; --fix applies those that can
/// do no harm: rights of key files, lines in .gitignore, missing lock files. Exits with 1 if an error is left.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg doctor
  mpkg doctor stock-alert --fix")]
pub(crate) struct Doctor {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Apply the fixes that are safe
    #[arg(long)]
    pub(crate) fix: bool,
    /// The folder with the guest toolchains [default: mpkg/toolchain in the user's cache folder]
    #[arg(long, value_name = "DIR", env = "MPKG_TOOLCHAIN")]
    pub(crate) toolchain: Option<PathBuf>,
}

/// Make a project of a W3C MiniApp package
///
/// Reads a MiniApp package (.ma), translates its manifest and lays its files out as a JavaScript project. The report
/// tells what was repaired, what was lost and what is left to do by hand, each with the section of the W3C
/// specification that it goes by.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg import shop.ma --out shop
  mpkg import shop.ma --out shop --format json")]
pub(crate) struct Import {
    /// The MiniApp package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The folder to make; it must be empty or not exist
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
