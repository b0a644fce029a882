//! What goes over the wire, apart from what is signed: the registry writes it, clients read it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use mpkg_fleet::{
    Command, Counters, Event, Evidence, Kill, KillId, KillScope, Level, Lift, Plan, Position, ReleaseRef,
    Rollout, Targeting,
};
use mpkg_manifest::{AppId, Text};
use mpkg_package::{Hash, PublisherId, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Registers roots, claims apps, publishes and yanks releases.
    Publisher,
    /// Switches off: kill, hold, halt, roll back.
    Operator,
    /// Switches on: start, advance, resume, complete, lift.
    Releaser,
    /// Approves releases and changes.
    Reviewer,
    /// Gives tokens, reads the audit log, and everything that people do.
    Admin,
    /// A host: reads state, reports telemetry.
    Host,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Publisher, Self::Operator, Self::Releaser, Self::Reviewer, Self::Admin, Self::Host];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Operator => "operator",
            Self::Releaser => "releaser",
            Self::Reviewer => "reviewer",
            Self::Admin => "admin",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or("expected publisher, operator, releaser, reviewer, admin or host")
    }
}

/// Several roles.
pub type Roles = BTreeSet<Role>;

/// Whether somebody looked at a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Review {
    /// Nobody yet.
    Pending,
    /// It may be rolled out.
    Approved,
    /// It may not.
    Rejected,
}

impl Review {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

impl FromStr for Review {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Pending, Self::Approved, Self::Rejected];
        all.into_iter().find(|review| review.name() == text).ok_or("expected pending, approved or rejected")
    }
}

/// How a refusal looks on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: ErrorDetail,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    /// The rule's code.
    pub code: String,
    /// A sentence.
    pub message: String,
    /// What to do; perhaps nothing.
    pub hint: String,
}

/// What verifying the audit log found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditReport {
    /// How many entries are there.
    pub entries: u64,
    /// The newest entry's hash: note it elsewhere, and an end that was cut off shows too.
    pub head: String,
    /// The first entry that does not follow from the one before it.
    pub broken_at: Option<u64>,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to give as `after` for the next part; none at the end.
    pub next: Option<String>,
}

/// Where a list goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// [`Page::next`] of the part before.
    pub after: Option<String>,
    /// Most items, from 1 to 200; 50 without it.
    pub limit: Option<u16>,
    /// What to look for, in a search.
    pub q: Option<String>,
    /// Also what is hidden: yanked and unreviewed releases, lifted kills.
    pub all: Option<bool>,
}

/// A token to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// The person or host.
    #[schemars(with = "String")]
    pub owner: Text<64>,
    /// What it may do.
    pub roles: Roles,
    /// The apps it may do it to; all where it is empty.
    #[serde(default)]
    #[schemars(with = "BTreeSet<String>")]
    pub apps: BTreeSet<AppId>,
    /// The publishers it may do it to; all where it is empty.
    #[serde(default)]
    #[schemars(with = "BTreeSet<String>")]
    pub publishers: BTreeSet<PublisherId>,
    /// Seconds until it ends; never without it.
    pub expires_in_s: Option<u32>,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Its public part.
    pub id: String,
    /// The person or host.
    pub owner: String,
    /// What it may do.
    pub roles: Roles,
    /// The apps it may do it to.
    #[schemars(with = "BTreeSet<String>")]
    pub apps: BTreeSet<AppId>,
    /// The publishers it may do it to.
    #[schemars(with = "BTreeSet<String>")]
    pub publishers: BTreeSet<PublisherId>,
    /// When it was made.
    #[schemars(with = "String")]
    pub created: Time,
    /// By whom.
    pub created_by: String,
    /// When it ends.
    #[schemars(with = "Option<String>")]
    pub expires: Option<Time>,
    /// When it was revoked.
    #[schemars(with = "Option<String>")]
    pub revoked: Option<Time>,
}

/// A token that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenMade {
    /// The token, in the first answer only: the registry does not keep it, so a request that comes again gets none.
    pub secret: Option<String>,
    /// What is known of it.
    pub token: TokenView,
}

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When.
    #[schemars(with = "String")]
    pub at: Time,
    /// Who.
    pub owner: String,
    /// With which token; empty for the registry itself.
    pub token: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, as JSON text.
    pub detail: String,
    /// SHA-256 over this and the hash before.
    pub hash: String,
}

impl AuditEntry {
    /// The hash before the first entry.
    pub const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

    /// What its hash is, where it follows an entry with the hash `before`: that of the JSON array `["mpkg.audit.v1", hash
    /// before, seq, at, owner, token, action, subject, detail]`.
    ///
    /// ```
    /// use mpkg_registry_client::wire::AuditEntry;
    /// let entry: AuditEntry = serde_json::from_str(r#"{"seq": 1, "at": "2026-11-21T03:00:00Z", "owner": "ann",
    ///     "token": "k3q7xw2a", "action": "kill", "subject": "x", "detail": "{}", "hash": ""}"#).unwrap();
    /// assert_eq!(entry.chained(AuditEntry::START).to_string(),
    ///     "523f93ceb19fe5520ff9fb9a07b5ecc78b87f3eb134f272574d497c86b7e99d2");
    /// ```
    pub fn chained(&self, before: &str) -> Hash {
        let Self { seq, at, owner, token, action, subject, detail, .. } = self;
        let members = ("mpkg.audit.v1", before, seq, at, owner, token, action, subject, detail);
        // Strings, integers and times always serialize.
        Hash::of(&serde_json::to_vec(&members).unwrap_or_default())
    }
}

/// A registered publisher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublisherView {
    /// Its id.
    #[schemars(with = "String")]
    pub id: PublisherId,
    /// The version of its newest root.
    pub root_version: u32,
    /// When it was registered.
    #[schemars(with = "String")]
    pub registered: Time,
}

/// An app to claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApp {
    /// Its id.
    #[schemars(with = "String")]
    pub app_id: AppId,
    /// Whose it is to be.
    #[schemars(with = "String")]
    pub publisher: PublisherId,
}

/// A claimed app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppView {
    /// Its id.
    #[schemars(with = "String")]
    pub app_id: AppId,
    /// Whose it is.
    #[schemars(with = "String")]
    pub publisher: PublisherId,
    /// Since when.
    #[schemars(with = "String")]
    pub claimed: Time,
    /// Its newest release; 0 without one.
    pub newest_seq: u64,
    /// The rollout that its state follows.
    pub in_charge: Option<i64>,
}

/// A release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseView {
    /// The app.
    #[schemars(with = "String")]
    pub app_id: AppId,
    /// What it is.
    #[schemars(with = "Value")]
    pub release: ReleaseRef,
    /// The app's name.
    pub name: String,
    /// What it says about itself.
    pub description: String,
    /// What it may ask for.
    pub permissions: Value,
    /// Whether somebody looked at it.
    pub review: Review,
    /// What that one said.
    pub review_reason: Option<String>,
    /// Why it is hidden.
    pub yanked: Option<String>,
    /// When it was published.
    #[schemars(with = "String")]
    pub published: Time,
    /// By whom.
    pub published_by: String,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// For people.
    #[schemars(with = "String")]
    pub reason: Text<200>,
}

/// What a reviewer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReview {
    /// Whether it may be rolled out.
    pub approve: bool,
    /// Why.
    #[schemars(with = "String")]
    pub reason: Text<200>,
}

/// A rollout to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// What is rolled out.
    pub release_seq: u64,
    /// Its steps.
    #[serde(default)]
    #[schemars(with = "Value")]
    pub plan: Plan,
    /// Who can get it at all. Its allow list is of [`mpkg_fleet::allow_hash`] with the salt, so it is given as units.
    #[serde(default)]
    #[schemars(with = "Value")]
    pub targeting: Targeting,
    /// Units that get it first.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Whether gates advance it. They roll it back in any case.
    #[serde(default = "yes")]
    pub automatic: bool,
}

fn yes() -> bool {
    true
}

/// A rollout. Its ETag is its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutView {
    /// Its number.
    pub id: i64,
    /// What it is.
    #[schemars(with = "Value")]
    pub rollout: Rollout,
    /// Who can get it.
    #[schemars(with = "Value")]
    pub targeting: Targeting,
    /// Whether gates advance it.
    pub automatic: bool,
    /// When it was started.
    #[schemars(with = "Option<String>")]
    pub started: Option<Time>,
    /// Who drafted it.
    pub author: String,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Commanded {
    /// The rollout now.
    pub rollout: RolloutView,
    /// What happened.
    #[schemars(with = "Vec<Value>")]
    pub events: Vec<Event>,
    /// The head that tells hosts.
    #[schemars(with = "Value")]
    pub head: Position,
}

/// How to advance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HowToAdvance {
    /// Before the bake time is over.
    #[serde(default)]
    pub skip_bake: bool,
}

/// Nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Where to go back to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollback {
    /// An earlier release that was everybody's when another rollout started; the baseline without it.
    pub to: Option<u64>,
    /// Why.
    #[schemars(with = "String")]
    pub reason: Text<200>,
}

/// Traffic to plan with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrafficQuery {
    /// Different devices that launch the app on a day.
    pub devices_per_day: u64,
    /// Different devices that launch it at all.
    pub devices: u64,
}

/// What gates saw and did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvidenceView {
    /// Its number.
    pub id: i64,
    /// When.
    #[schemars(with = "String")]
    pub at: Time,
    /// `roll_back`, `hold` or `healthy`.
    pub decision: String,
    /// What was done.
    pub action: String,
    /// What the decision was made by.
    #[schemars(with = "Value")]
    pub evidence: Evidence,
    /// Whether deciding again gives the same, to the last digit.
    pub replays: bool,
}

/// A kill to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKill {
    /// What it does.
    #[schemars(with = "String")]
    pub level: Level,
    /// What it is about; empty is the whole fleet.
    #[schemars(with = "Value")]
    pub scope: KillScope,
    /// Why.
    #[schemars(with = "String")]
    pub reason: Text<200>,
}

/// A kill. Its ETag is `"0"` while it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillView {
    /// Its id.
    #[schemars(with = "String")]
    pub id: KillId,
    /// The kill.
    #[schemars(with = "Value")]
    pub kill: Kill,
    /// By whom.
    pub ordered_by: String,
    /// Its end.
    #[schemars(with = "Option<Value>")]
    pub lift: Option<Lift>,
    /// By whom.
    pub lifted_by: Option<String>,
}

/// Whom a kill would hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drill {
    /// The releases.
    pub hits: Vec<DrillHit>,
    /// All devices that reported one of them within a day, each once. Platforms and host versions are not known here,
    /// so with those in the scope it is the most that it can be.
    pub devices: u64,
}

/// A release that a kill would hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrillHit {
    /// The app.
    #[schemars(with = "String")]
    pub app_id: AppId,
    /// The release.
    pub release_seq: u64,
    /// Its version.
    pub version: String,
    /// Devices that reported it within a day.
    pub devices: u64,
}

/// What can be approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "what")]
pub enum ProposedChange {
    /// A command to a rollout.
    Rollout {
        /// Which one.
        id: i64,
        /// At which revision.
        revision: u64,
        /// The command.
        #[schemars(with = "Value")]
        command: Command,
    },
    /// The end of a kill.
    Lift {
        /// Which one.
        #[schemars(with = "String")]
        kill: KillId,
    },
    /// That a disabled package runs again.
    Enable {
        /// Whose.
        #[schemars(with = "String")]
        app: AppId,
        /// Which one.
        #[schemars(with = "String")]
        sha256: Hash,
    },
}

/// A floor to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFloor {
    /// The lowest release sequence that still runs; at most one above the newest release.
    pub min_seq: u64,
    /// Why.
    #[schemars(with = "String")]
    pub reason: Text<200>,
}

/// A package to disable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDisabled {
    /// Its digest.
    #[schemars(with = "String")]
    pub sha256: Hash,
    /// Why.
    #[schemars(with = "String")]
    pub reason: Text<200>,
}

/// A package that is not launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disabled {
    /// Its number among all that ever were.
    pub number: i64,
    /// Its digest.
    #[schemars(with = "String")]
    pub sha256: Hash,
    /// Why.
    pub reason: String,
    /// By whom.
    pub disabled_by: String,
    /// Since when.
    #[schemars(with = "String")]
    pub at: Time,
}

/// What of an app runs nowhere. Its ETag is another one whenever this changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppLimits {
    /// The app.
    #[schemars(with = "String")]
    pub app_id: AppId,
    /// No release below this runs.
    pub min_seq: u64,
    /// Packages that are not launched.
    pub disabled: Vec<Disabled>,
}

/// An approval that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approved {
    /// What it is bound to.
    #[schemars(with = "String")]
    pub change: Hash,
    /// Who agrees so far.
    pub people: BTreeSet<String>,
}

/// What became of a telemetry batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Received {
    /// Rows that are committed.
    pub accepted: u64,
    /// Rows about apps or releases that there are not, outside of the token's scope, or of too many runs in an hour.
    pub ignored: u64,
}

/// One minute of a release, all devices together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Minute {
    /// The release.
    pub release_seq: u64,
    /// When it began.
    #[schemars(with = "String")]
    pub at: Time,
    /// What came in.
    #[schemars(with = "Value")]
    pub counters: Counters,
}

/// Which minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinutesQuery {
    /// How many of the last ones, up to 1440; 60 without it.
    pub minutes: Option<u32>,
}

/// The fleet at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The registry's id.
    #[schemars(with = "String")]
    pub registry: PublisherId,
    /// The newest head.
    #[schemars(with = "Value")]
    pub head: Position,
    /// Hosts that listen.
    pub listeners: u64,
    /// Rollouts that are running or held.
    pub rollouts: Vec<RolloutView>,
    /// Rollouts that nobody has started, the newest hundred.
    pub drafts: Vec<RolloutView>,
    /// Kills in force.
    pub kills: Vec<KillView>,
}
