//! Arguments of `mpkg rollout`.

use clap::{Args, Subcommand};
use mpkg_fleet::Token;
use mpkg_manifest::Text;

use super::Connection;
use super::values::{AppRelease, Percent, RolloutName, Seconds, Which};

/// Roll releases out, watch them, and take them back
///
/// A rollout is named by its app, which is the one in charge of it, or by its number. Verbs that go take --confirm with
/// the app's id, and act on what was just shown: if somebody changed it in between, nothing happens. Verbs that stop
/// (hold, halt, rollback) take a --reason and nothing else.
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    Start(Box<RolloutStart>),
    Plan(RolloutPlan),
    Status(RolloutStatus),
    Advance(RolloutAdvance),
    Hold(RolloutHold),
    Resume(RolloutResume),
    Halt(RolloutHalt),
    Rollback(RolloutBack),
    Complete(RolloutComplete),
    Evidence(RolloutEvidence),
    Replay(RolloutReplay),
}

/// The steps of a rollout.
#[derive(Debug, Args)]
pub(crate) struct Steps {
    /// Percentages, separated by commas; the last is 100 [default: 5,25,100]
    #[arg(long, value_name = "PERCENT,...", value_delimiter = ',')]
    pub(crate) steps: Vec<Percent>,
    /// How long each step lasts at least; one for all, or one for each [default: 1h,4h,24h]
    #[arg(long, value_name = "TIME,...", value_delimiter = ',')]
    pub(crate) bake: Vec<Seconds>,
    /// How many devices must have voted by then; one for all, or one for each [default: 150,400,1000]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(crate) votes: Vec<u64>,
}

/// Start to roll a release out
///
/// Drafts the rollout and goes to its first step. It takes over from the rollout before. Gates watch it: they roll it
/// back when it is bad, and advance it when it is healthy, unless --manual says that a person does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout start com.example.app --confirm com.example.app
  mpkg rollout start com.example.app@7 --steps 1,10,100 --bake 2h --manual --confirm com.example.app
  mpkg rollout start com.example.app --draft
  mpkg rollout start 12 --confirm com.example.app")]
pub(crate) struct RolloutStart {
    /// The app, perhaps with a release, or the number of a draft [default release: the newest]
    #[arg(value_name = "APP[@RELEASE]|NUMBER")]
    pub(crate) what: Startable,
    /// The app's id again: this reaches people's devices
    #[arg(long, value_name = "APP_ID")]
    pub(crate) confirm: Option<String>,
    /// Only draft it, to be planned, approved and started later
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) draft: bool,
    /// A person advances it; gates still roll it back
    #[arg(long)]
    pub(crate) manual: bool,
    #[command(flatten)]
    pub(crate) steps: Steps,
    /// Only these platforms, such as android (repeatable, or separated by commas)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) platform: Vec<Token>,
    /// Only these regions, such as de
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) region: Vec<Token>,
    /// Only users in one of these segments
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) segment: Vec<Token>,
    /// Only hosts of this version or a later one
    #[arg(long, value_name = "VERSION")]
    pub(crate) min_host: Option<String>,
    /// Only hosts before this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) below_host: Option<String>,
    /// Devices or users that get it first, whatever the percentage
    #[arg(long, value_name = "UNIT", value_delimiter = ',')]
    pub(crate) allow: Vec<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// What can be started.
#[derive(Debug, Clone)]
pub(crate) enum Startable {
    Draft(i64),
    Release(AppRelease),
}

impl std::str::FromStr for Startable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(number) => Ok(Self::Draft(number)),
            Err(_) => text.parse().map(Self::Release),
        }
    }
}

/// Tell what a plan can detect, and how long it takes
///
/// Without a rollout the plan is that of --steps, and nothing is asked of a registry.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout plan com.example.app
  mpkg rollout plan 12 --devices-per-day 20000 --devices 150000
  mpkg rollout plan --steps 1,10,100 --devices-per-day 300")]
pub(crate) struct RolloutPlan {
    /// The rollout: the newest of an app, or its number
    #[arg(value_name = "APP|NUMBER", conflicts_with_all = ["steps", "bake", "votes"])]
    pub(crate) rollout: Option<RolloutName>,
    /// Different devices that launch the app on a day [default: those that reported within the last day]
    #[arg(long, value_name = "N", required_unless_present = "rollout")]
    pub(crate) devices_per_day: Option<u64>,
    /// Different devices that launch it at all [default: those of one day]
    #[arg(long, value_name = "N")]
    pub(crate) devices: Option<u64>,
    #[command(flatten)]
    pub(crate) steps: Steps,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Show how far a rollout is, and what its gates see
///
/// Draws steps and percent, the likelihood ratios of each metric on their way to rolling back or going on, traffic and
/// errors by the minute, and what the next step waits for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout status com.example.app
  mpkg rollout status 12 --watch")]
pub(crate) struct RolloutStatus {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Looking again and again.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Show it again and again until Ctrl-C; with --format json a line each time
    #[arg(long)]
    pub(crate) watch: bool,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s", requires = "watch")]
    pub(crate) every: Seconds,
}

/// Go to the next step
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout advance com.example.app --confirm com.example.app
  mpkg rollout advance 12 --skip-bake --confirm com.example.app")]
pub(crate) struct RolloutAdvance {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    /// The app's id again: this reaches people's devices
    #[arg(long, value_name = "APP_ID")]
    pub(crate) confirm: Option<String>,
    /// Before the step has lasted as long as the plan says
    #[arg(long)]
    pub(crate) skip_bake: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Stay on the step: those in the percentage get the release, nobody further
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout hold com.example.app --reason 'support sees complaints'")]
pub(crate) struct RolloutHold {
    #[command(flatten)]
    pub(crate) stop: RolloutStop,
}

/// What a stop takes.
#[derive(Debug, Args)]
pub(crate) struct RolloutStop {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Text<200>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Go on after a hold or a halt
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout resume com.example.app --confirm com.example.app")]
pub(crate) struct RolloutResume {
    #[command(flatten)]
    pub(crate) go: RolloutGo,
}

/// What a verb that goes takes.
#[derive(Debug, Args)]
pub(crate) struct RolloutGo {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    /// The app's id again: this reaches people's devices
    #[arg(long, value_name = "APP_ID")]
    pub(crate) confirm: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Give the release to nobody new; who has it keeps it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout halt com.example.app --reason 'errors in checkout'")]
pub(crate) struct RolloutHalt {
    #[command(flatten)]
    pub(crate) stop: RolloutStop,
}

/// Take everybody back to an earlier release
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout rollback com.example.app --reason 'errors in checkout'
  mpkg rollout rollback com.example.app --to 5 --reason 'release 6 is bad too'")]
pub(crate) struct RolloutBack {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    /// Why, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Text<200>,
    /// The number or version of an earlier release that everybody ran [default: what everybody ran before]
    #[arg(long, value_name = "RELEASE")]
    pub(crate) to: Option<Which>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Make the release everybody's, from the last step
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout complete com.example.app --confirm com.example.app")]
pub(crate) struct RolloutComplete {
    #[command(flatten)]
    pub(crate) go: RolloutGo,
}

/// Show what gates decided, and by what
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout evidence com.example.app
  mpkg rollout evidence 12 --format json > evidence.json")]
pub(crate) struct RolloutEvidence {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Decide again, on this machine, from the stored evidence
///
/// Exits with 0 if every decision comes out the same to the last digit, and with 3 otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mpkg rollout replay com.example.app")]
pub(crate) struct RolloutReplay {
    /// The rollout: the one in charge of an app, or its number
    #[arg(value_name = "APP|NUMBER")]
    pub(crate) rollout: RolloutName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}
