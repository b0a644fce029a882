//! What can be typed. Arguments only: what the verbs do is in `commands`.

mod airgap;
#[cfg(all(feature = "run", feature = "serve"))]
mod demo;
mod fleet;
mod keys;
mod misc;
mod package;
mod project;
#[cfg(feature = "serve")]
mod registry;
mod remote;
mod review;
mod rollout;
mod root;
pub(crate) mod values;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand};

#[cfg(feature = "run")]
pub(crate) use airgap::FleetImport;
pub(crate) use airgap::{FleetCommand, FleetExport};
#[cfg(all(feature = "run", feature = "serve"))]
pub(crate) use demo::{Demo, DemoPart};
pub(crate) use fleet::{
    ApproveCommand, ApproveLift, ApproveRelease, ApproveRollout, AuditCommand, AuditList, AuditVerify,
    GoVerb, Kill, KillLevel, Lift, Status, TokenCommand, TokenCreate, TokenList, TokenRevoke, TokenRole,
    TokenWhoami,
};
pub(crate) use keys::{KeysCommand, KeysGenerate, KeysShow, Passphrase};
pub(crate) use misc::{Completions, Explain, Man};
pub(crate) use package::{Digest, Inspect, Sign, Verify};
pub(crate) use project::{Build, New, Template};
#[cfg(feature = "run")]
pub(crate) use project::{Engine, Run};
#[cfg(feature = "serve")]
pub(crate) use registry::{
    Backup, RegistryCommand, RegistryRootCommand, RegistryRootFetch, RegistryRootSet, RegistryRootShow,
    Restore, Serve,
};
pub(crate) use remote::{Connection, Fetch, Info, Login, Publish, Search, Yank};
pub(crate) use review::{Diff, Doctor, Import, Lint};
pub(crate) use rollout::{
    RolloutAdvance, RolloutCommand, RolloutEvidence, RolloutGo, RolloutPlan, RolloutReplay, RolloutStart,
    RolloutStatus, RolloutStop, Startable, Steps, Watch,
};
pub(crate) use root::{
    Change, GrantCommand, GrantCreate, GrantShow, GrantSign, RootAddKey, RootCommand, RootInit,
    RootRemoveKey, RootRevoke, RootRotate, RootSign, RootVerify,
};

use crate::exit::Exit;
use crate::output::Format;

/// Build, sign, verify, run and publish Mini Apps.
#[derive(Debug, Parser)]
#[command(name = "mpkg", version, styles = STYLES, max_term_width = 100, after_help = exit_codes(),
    infer_subcommands = false, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every verb takes.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Global {
    /// Form of results and errors
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "MPKG_FORMAT",
        default_value = "human"
    )]
    pub(crate) format: Format,
    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Print what the tools underneath print
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(New),
    Build(Build),
    #[cfg(feature = "run")]
    Run(Run),
    #[command(subcommand)]
    Keys(KeysCommand),
    #[command(subcommand)]
    Root(RootCommand),
    #[command(subcommand)]
    Grant(GrantCommand),
    Sign(Sign),
    Verify(Verify),
    Inspect(Inspect),
    Digest(Digest),
    Lint(Lint),
    Diff(Diff),
    Doctor(Doctor),
    Import(Import),
    #[cfg(feature = "serve")]
    #[command(subcommand)]
    Registry(RegistryCommand),
    Login(Login),
    Publish(Publish),
    Yank(Yank),
    Search(Search),
    Info(Info),
    #[command(visible_alias = "install")]
    Fetch(Fetch),
    #[command(subcommand)]
    Rollout(RolloutCommand),
    Kill(Box<Kill>),
    Lift(Lift),
    Status(Status),
    #[command(subcommand)]
    Fleet(FleetCommand),
    #[command(subcommand)]
    Approve(ApproveCommand),
    #[command(subcommand)]
    Audit(AuditCommand),
    #[command(subcommand)]
    Token(TokenCommand),
    #[cfg(all(feature = "run", feature = "serve"))]
    Demo(Demo),
    Explain(Explain),
    Completions(Completions),
    Man(Man),
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

fn exit_codes() -> String {
    let lines: String =
        Exit::ALL.iter().map(|exit| format!("\n  {}  {}", exit.number(), exit.meaning())).collect();
    format!("Exit status:{lines}\n\nEvery error has a code; `mpkg explain CODE` tells what it is about.")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_help_with_an_example() {
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(check);
                return;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("\n  mpkg "), "{} has no example", command.get_name());
            assert!(command.get_about().is_some(), "{} does not say what it does", command.get_name());
        }
        Cli::command().get_subcommands().for_each(check);
    }
}
