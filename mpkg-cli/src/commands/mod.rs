//! One file for each verb: arguments in, operation, result printed.

mod build;
mod completions;
mod diff;
mod digest;
mod doctor;
mod explain;
mod grant;
mod import;
mod inspect;
mod keys;
mod lint;
mod man;
mod new;
mod rebuild;
mod root;
#[cfg(feature = "run")]
mod run;
mod sign;
mod verify;

use crate::cli::Command;
use crate::error::Outcome;
use crate::output::Printer;

/// Runs one verb.
pub(crate) fn run(command: Command, printer: Printer) -> Outcome {
    match command {
        Command::New(args) => new::run(args, printer),
        Command::Build(args) => build::run(args, printer),
        #[cfg(feature = "run")]
        Command::Run(args) => run::run(args, printer),
        Command::Keys(args) => keys::run(args, printer),
        Command::Root(args) => root::run(args, printer),
        Command::Grant(args) => grant::run(args, printer),
        Command::Sign(args) => sign::run(args, printer),
        Command::Verify(args) => verify::run(args, printer),
        Command::Inspect(args) => inspect::run(args, printer),
        Command::Digest(args) => digest::run(args, printer),
        Command::Lint(args) => lint::run(args, printer),
        Command::Diff(args) => diff::run(args, printer),
        Command::Doctor(args) => doctor::run(args, printer),
        Command::Import(args) => import::run(args, printer),
        Command::Explain(args) => explain::run(args, printer),
        Command::Completions(args) => completions::run(args, printer),
        Command::Man(args) => man::run(args, printer),
    }
}
