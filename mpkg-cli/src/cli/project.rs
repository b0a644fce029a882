//! Arguments of the verbs that work on a project folder or start an app.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What a new project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// A Rust crate
    Rust,
    /// A JavaScript module with TypeScript types
    Js,
}

/// How guest code is executed.
#[cfg(feature = "run")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Cranelift, or Winch where compiling would take long
    Auto,
    /// Optimized native code
    Cranelift,
    /// Native code that is compiled several times faster and runs slower
    Winch,
    /// An interpreter
    Pulley,
}

/// Start a Mini App project
///
/// Makes a folder with a manifest, source, a test and the SDK, which builds, tests and runs on its own.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg new stock-alert --template rust --id com.example.stock-alert
  mpkg new cart --template js --id com.example.cart --name \"My cart\"")]
pub(crate) struct New {
    /// The folder to make; it must be empty or not exist
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// The language (asked for on a terminal)
    #[arg(long, short, value_enum)]
    pub(crate) template: Option<Template>,
    /// The app's id in reverse DNS form (asked for on a terminal)
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// The name that users see [default: made from the folder's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
}

/// Build a package from a project
///
/// Compiles the guest, checks that what it imports and what the manifest declares agree, and writes the package. The
/// same source and the same tools give the same bytes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg build
  mpkg build stock-alert -o stock-alert.mpkg")]
pub(crate) struct Build {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Where to write the package [default: DIR/dist/APP_ID-VERSION.mpkg]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The folder with the guest toolchains [default: mpkg/toolchain in the user's cache folder]
    #[arg(long, value_name = "DIR", env = "MPKG_TOOLCHAIN")]
    pub(crate) toolchain: Option<PathBuf>,
}

/// Run a package in the sandbox
///
/// Verifies the package, asks for the permissions it requires, launches it and calls it. Without --call, JSON-RPC
/// requests are read from standard input, one on each line, and answered on standard output. Cart, payments,
/// notifications, location, clipboard and user are simulated. --verbose shows the host's own log; MPKG_LOG selects what
/// of it.
#[cfg(feature = "run")]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg run app.mpkg --trust release.pem.root.json --allow all --call app.status
  mpkg run app.mpkg --allow storage,events --deny network --call orders.add --params '{\"sku\":\"A1\"}'
  echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"app.status\"}' | mpkg run app.mpkg --allow all")]
pub(crate) struct Run {
    /// The package
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Root document or public key of a publisher to trust (repeatable)
    ///
    /// Without it the package is run as a local, unsigned one: nobody vouches for it.
    #[arg(long, value_name = "ROOT|KEY", env = "MPKG_TRUST")]
    pub(crate) trust: Vec<String>,
    /// Detached signature [default: FILE.sig, if the package carries none]
    #[arg(long, value_name = "FILE", requires = "trust")]
    pub(crate) signature: Option<PathBuf>,
    /// Grant a permission, or `all` that the manifest declares (repeatable, or separated by commas)
    #[arg(long, value_name = "PERMISSION|all", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    /// Deny a permission, or `all`; stronger than --allow (repeatable, or separated by commas)
    #[arg(long, value_name = "PERMISSION|all", value_delimiter = ',')]
    pub(crate) deny: Vec<String>,
    /// Call one method, print its result and stop
    #[arg(long, value_name = "METHOD")]
    pub(crate) call: Option<String>,
    /// Parameters of --call, a JSON object or array
    #[arg(long, value_name = "JSON", requires = "call")]
    pub(crate) params: Option<String>,
    /// The user that the app is launched for
    #[arg(long, value_name = "ID", default_value = "local-user")]
    pub(crate) user: String,
    /// Keep the app's data in this folder [default: a temporary one]
    #[arg(long, value_name = "DIR", env = "MPKG_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Memory that the app may have, in MiB [default: 64, or less if the manifest says so]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=65536))]
    pub(crate) memory: Option<u64>,
    /// How guest code is executed
    #[arg(long, value_enum, env = "MPKG_ENGINE", default_value = "auto")]
    pub(crate) engine: Engine,
    /// Write the events that the app publishes to standard output too, as JSON-RPC notifications
    #[arg(long, conflicts_with = "call")]
    pub(crate) events: bool,
}
