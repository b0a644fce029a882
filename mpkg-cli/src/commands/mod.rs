//! One file for each verb: arguments in, operation, result printed.

mod airgap;
mod approve;
mod audit;
mod build;
mod completions;
#[cfg(all(feature = "run", feature = "serve"))]
mod demo;
mod diff;
mod digest;
mod doctor;
mod explain;
mod fetch;
mod grant;
mod import;
mod info;
mod inspect;
mod keys;
mod kill;
mod lint;
mod login;
mod man;
mod new;
mod publish;
mod rebuild;
#[cfg(feature = "serve")]
mod registry;
#[cfg(feature = "serve")]
mod registry_root;
mod rollout;
mod root;
#[cfg(feature = "run")]
mod run;
mod search;
mod sign;
mod status;
mod token;
mod verify;
mod watch;

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
        #[cfg(feature = "serve")]
        Command::Registry(args) => registry::run(args, printer),
        Command::Login(args) => login::run(&args, printer),
        Command::Publish(args) => publish::run(&args, printer),
        Command::Yank(args) => publish::yank(&args, printer),
        Command::Search(args) => search::run(&args, printer),
        Command::Info(args) => info::run(&args, printer),
        Command::Fetch(args) => fetch::run(&args, printer),
        Command::Rollout(args) => rollout::run(args, printer),
        Command::Kill(args) => kill::run(*args, printer),
        Command::Lift(args) => kill::lift(&args, printer),
        Command::Status(args) => status::run(&args, printer),
        Command::Fleet(args) => airgap::run(args, printer),
        Command::Approve(args) => approve::run(&args, printer),
        Command::Audit(args) => audit::run(&args, printer),
        Command::Token(args) => token::run(args, printer),
        #[cfg(all(feature = "run", feature = "serve"))]
        Command::Demo(args) => demo::run(args, printer),
        Command::Explain(args) => explain::run(args, printer),
        Command::Completions(args) => completions::run(args, printer),
        Command::Man(args) => man::run(args, printer),
    }
}
