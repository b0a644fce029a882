//! The state of a fleet of hosts: signed documents, rollouts, kill switches and health gates.
//!
//! Everything here is pure: bytes, counts and times in, verdicts out. The registry and every host run this code and
//! must reach the same answer, so nothing depends on a clock, on floating-point arithmetic or on the order in which
//! things arrive. `docs/fleet.md` specifies it.
//!
//! A host keeps a [`Fleet`], feeds it what it receives, and asks it what to do:
//!
//! ```
//! use mpkg_fleet::{Context, Fleet, Reason};
//! use mpkg_package::{Root, SecretKey, Trust};
//!
//! let root = Root::single(&SecretKey::from_seed(&[1; 32]).public());
//! let fleet = Fleet::new(Trust::root(&root).unwrap());
//! let context: Context = serde_json::from_str(
//!     r#"{"unit": "device-1", "platform": "android", "host_version": "3.1.0"}"#,
//! ).unwrap();
//! let decision = fleet.decide(&"org.example.app".parse().unwrap(), &context, None, None);
//! assert_eq!(decision.run, None); // nobody has offered it anything
//! assert_eq!(decision.reason, Reason::Nothing);
//! ```

pub mod limits;

mod accept;
mod approval;
mod bucket;
mod decide;
mod document;
mod gate;
mod kill;
mod plan;
mod rollout;
mod rules;
mod staleness;
mod statefile;
mod succeed;
mod target;
mod telemetry;
mod types;
mod wire;

pub use accept::{AcceptError, Alarm, AlarmKind, Fleet, Notice, Outcome, RestoreError};
pub use approval::{Approval, ApprovalError, ApprovalPolicy, Verb, change_hash};
pub use bucket::{Arm, BUCKETS, arm, bucket, bucket_of};
pub use decide::{Cause, Decision, FrozenBy, Reason, View, decide};
pub use document::{
    Admission, AppEntry, AppState, Document, DocumentError, FleetHead, FleetPolicy, Sequenced,
    SignedDocument, StopNotice,
};
pub use gate::{
    ArmVotes, Bad, CRASH_LOOP_SHARE, CRASH_LOOPS, Effect, Evidence, Forecast, GateInputs, Line, Metric, Pair,
    ROWS, Rates, ReplayError, Row, SampleRatio, StepForecast, Tally, Traffic, Verdict, Waiting,
    average_votes, detectable, evaluate, excuses, forecast, replay, sample_ratio, two_proportions,
};
pub use kill::{Effects, Kill, KillError, KillId, KillScope, KillSet, Level, Lift, Merged, Revoked, Subject};
pub use plan::{Plan, PlanError, Step};
pub use rollout::{Command, Event, Phase, Rollout, Shape, TransitionError};
pub use rules::RULES;
pub use staleness::{Patience, Staleness, Standing};
pub use statefile::{StateFile, StateFileError};
pub use succeed::{SuccessorError, check_successor};
pub use target::{Attribute, Context, Targeted, Targeting, allow_hash};
pub use telemetry::{Batch, BatchError, Counters, Ledger, Report, Votes, grows, votes};
pub use types::{BasisPoints, MAX_TOKEN_BYTES, Position, ReleaseRef, SeqRange, Token, VersionRange};
pub use wire::{Follow, StreamEvent, StreamedApp};
