//! Arguments of the verbs that look at the fleet and switch it off and on.

use clap::{Args, Subcommand};
use mpkg_fleet::Token;
use mpkg_manifest::Text;

use super::Connection;
use super::values::{KillTarget, RolloutName};

/// Show the fleet at a glance: kills in force, rollouts, drafts, hosts that listen
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg status
  mpkg status --watch
  mpkg status --watch --format json")]
pub(crate) struct Status {
    /// Follow the registry's stream and show it again at each event until Ctrl-C; with --format json a line each time
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What a kill does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KillLevel {
    /// 1: tell users
    #[value(alias = "1")]
    Warn,
    /// 2: nobody gets a newer release
    #[value(alias = "2")]
    Freeze,
    /// 3: take a permission
    #[value(alias = "3")]
    Revoke,
    /// 4: no new launches
    #[value(alias = "4")]
    Block,
    /// 5: stop what runs, and no new launches
    #[value(alias = "5")]
    Stop,
}

/// Switch something off, now
///
/// Needs one person and a reason, asks nothing, and waits for no rollout and no approval. Everything that is given has
/// to match; what is not given matches all. Undo it with `mpkg lift`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg kill com.example.app --reason 'sends contacts away'
  mpkg kill com.example.app@3.. --level freeze --reason 'release 3 eats data'
  mpkg kill com.example.app --permission network --reason 'exfiltration'
  mpkg kill com.example.app --drill
  mpkg kill --fleet --permission payments.request --reason 'provider is down'")]
pub(crate) struct Kill {
    /// The app, perhaps with releases: @3, @3..5, @3.. or @..5
    #[arg(value_name = "APP[@RELEASES]", required_unless_present = "fleet", conflicts_with = "fleet")]
    pub(crate) target: Option<KillTarget>,
    /// Every app of the fleet
    #[arg(long)]
    pub(crate) fleet: bool,
    /// What it does [default: stop, or revoke with --permission]
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub(crate) level: Option<KillLevel>,
    /// Why, for people: it is shown to users
    #[arg(long, value_name = "TEXT", required_unless_present = "drill")]
    pub(crate) reason: Option<Text<200>>,
    /// Only tell whom it would hit; nothing happens
    #[arg(long)]
    pub(crate) drill: bool,
    /// Only this version of the app or a later one
    #[arg(long, value_name = "VERSION")]
    pub(crate) min_version: Option<String>,
    /// Only versions of the app before this one
    #[arg(long, value_name = "VERSION")]
    pub(crate) below_version: Option<String>,
    /// The permission to take
    #[arg(long, value_name = "NAME")]
    pub(crate) permission: Option<Token>,
    /// Only this method of the permission
    #[arg(long, value_name = "NAME", requires = "permission")]
    pub(crate) method: Option<Token>,
    /// Only on these platforms, such as android (repeatable, or separated by commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) platform: Vec<Token>,
    /// Only on hosts of this version or a later one
    #[arg(long, value_name = "VERSION")]
    pub(crate) min_host: Option<String>,
    /// Only on hosts before this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) below_host: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// End a kill, for ever
///
/// What it switched off may run again. Only a new kill switches it off again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg lift 3f2a9c01 --reason 'fixed in release 4' --confirm com.example.app
  mpkg lift 3f2a9c01 --reason 'provider is back' --confirm fleet")]
pub(crate) struct Lift {
    /// The kill's id, or the first 8 digits of it; `mpkg status` lists them
    #[arg(value_name = "KILL")]
    pub(crate) kill: String,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Text<200>,
    /// The app's id again, or `fleet`: what was stopped may run again
    #[arg(long, value_name = "APP_ID|fleet")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Agree to what somebody else wants to do
///
/// An approval is for one change as it is now: if anything changes in between, it counts no longer.
#[derive(Debug, Subcommand)]
pub(crate) enum ApproveCommand {
    Rollout(ApproveRollout),
    Lift(ApproveLift),
    Release(ApproveRelease),
}

/// What can be approved of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum GoVerb {
    Start,
    Advance,
    Resume,
    Complete,
}

/// Agree to start, advance, resume or complete a rollout
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg approve rollout 12 start --confirm com.example.app
  mpkg approve rollout com.example.app advance --confirm com.example.app")]
pub(crate) struct ApproveRollout {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    /// What may be done
    #[arg(value_enum, value_name = "VERB")]
    pub(crate) verb: GoVerb,
    /// Advancing before the step has lasted as long as the plan says
    #[arg(long)]
    pub(crate) skip_bake: bool,
    /// The app's id again
    #[arg(long, value_name = "APP_ID")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Agree to end a kill
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg approve lift 3f2a9c01 --confirm com.example.app")]
pub(crate) struct ApproveLift {
    /// The kill's id, or the first 8 digits of it
    #[arg(value_name = "KILL")]
    pub(crate) kill: String,
    /// The app's id again, or `fleet`
    #[arg(long, value_name = "APP_ID|fleet")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Decide on a release that waits for a review
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg approve release com.example.app@3 --reason 'looked through' --confirm com.example.app
  mpkg approve release com.example.app@3 --reject --reason 'asks for contacts without need'")]
pub(crate) struct ApproveRelease {
    /// The release: its app, and its number or version
    #[arg(value_name = "APP@RELEASE")]
    pub(crate) release: super::values::AppRelease,
    /// Reject it instead
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) reject: bool,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Text<200>,
    /// The app's id again
    #[arg(long, value_name = "APP_ID")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Look at who changed what
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    List(AuditList),
    Verify(AuditVerify),
}

/// List the audit log
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg audit list
  mpkg audit list --after 500 --limit 200 --format json")]
pub(crate) struct AuditList {
    /// How many entries to show at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    pub(crate) limit: u16,
    /// Go on where a list ended: its `next`
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Check that no entry of the audit log was changed or removed
///
/// Asks the registry, then reads all entries and follows their hashes here. Exits with 0 if each entry follows from the
/// one before, and with 3 otherwise. A chain cannot show that its end was cut off or that all of it was written anew:
/// note the head that this prints elsewhere, and give it the next time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg audit verify
  mpkg audit verify --head 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub(crate) struct AuditVerify {
    /// A head that was noted earlier: one of the entries must have this hash
    #[arg(long, value_name = "HASH", value_parser = super::values::hash)]
    pub(crate) head: Option<mpkg_package::Hash>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Manage the tokens of people and hosts
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Create(Box<TokenCreate>),
    List(TokenList),
    Whoami(TokenWhoami),
    Revoke(TokenRevoke),
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TokenRole {
    /// Registers publishers, claims apps, publishes, yanks
    Publisher,
    /// Kills, holds, halts, rolls back
    Operator,
    /// Starts, advances, resumes, completes, lifts; holds, halts, rolls back
    Releaser,
    /// Decides on releases, approves changes
    Reviewer,
    /// Manages tokens, reads the audit log, and all of the above
    Admin,
    /// Reads state and packages, reports telemetry
    Host,
}

/// Make a token
///
/// It is shown this one time; the registry keeps only its hash. Give each person and each device one of their own.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg token create --owner ann --role operator --role releaser --expires 90d
  mpkg token create --owner ci --role publisher --app com.example.app --out ci.token
  mpkg token create --owner device-1 --role host")]
pub(crate) struct TokenCreate {
    /// The person, machine or device
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Text<64>,
    /// What it may do (repeatable, or separated by commas)
    #[arg(long, value_enum, value_name = "ROLE", required = true, value_delimiter = ',')]
    pub(crate) role: Vec<TokenRole>,
    /// Only for this app (repeatable) [default: all]
    #[arg(long, value_name = "APP_ID")]
    pub(crate) app: Vec<mpkg_manifest::AppId>,
    /// Only for the apps of this publisher (repeatable) [default: all]
    #[arg(long, value_name = "ID")]
    pub(crate) publisher: Vec<mpkg_package::PublisherId>,
    /// How long it counts [default: until it is revoked]
    #[arg(long, value_name = "TIME")]
    pub(crate) expires: Option<super::values::Seconds>,
    /// Write it into this new file, readable by you only, instead of printing it
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// List tokens, without their secrets
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg token list")]
pub(crate) struct TokenList {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Show whose token this is, what it may do, and until when
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg token whoami
  mpkg token whoami --registry https://registry.example --token-file ci.token")]
pub(crate) struct TokenWhoami {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Revoke a token, at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg token revoke k3q7xw2a")]
pub(crate) struct TokenRevoke {
    /// The token's id, as `mpkg token list` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
