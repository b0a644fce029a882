//! How many people a change takes.
//!
//! An approval is for the hash of one change, which includes the revision that it changes: nobody can collect
//! approvals for one thing and do another, or use them twice.

use std::collections::BTreeSet;

use mpkg_package::Hash;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What kind of change it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Starts a rollout.
    Start,
    /// Goes to the next step.
    Advance,
    /// Goes on after a hold or a halt.
    Resume,
    /// Ends a rollout with the release as everybody's.
    Complete,
    /// Takes the place of another rollout.
    Supersede,
    /// Ends a kill.
    Lift,
    /// Holds, halts, rolls back, kills, disables a package.
    Stop,
}

impl Verb {
    /// The kind of a command.
    pub fn of(command: &crate::rollout::Command) -> Self {
        use crate::rollout::Command;
        match command {
            Command::Hold { .. } | Command::Halt { .. } | Command::RollBack { .. } => Self::Stop,
            Command::Start => Self::Start,
            Command::Advance { .. } => Self::Advance,
            Command::Resume => Self::Resume,
            Command::Complete => Self::Complete,
            Command::Supersede { .. } => Self::Supersede,
        }
    }
}

/// How many different people each kind of change takes, its author included. There is no number for stops: those take
/// one, and no policy can change that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalPolicy {
    /// For [`Verb::Start`].
    pub start: u8,
    /// For [`Verb::Advance`].
    pub advance: u8,
    /// For [`Verb::Resume`].
    pub resume: u8,
    /// For [`Verb::Complete`].
    pub complete: u8,
    /// For [`Verb::Supersede`].
    pub supersede: u8,
    /// For [`Verb::Lift`].
    pub lift: u8,
}

impl Default for ApprovalPolicy {
    /// One person for everything.
    fn default() -> Self {
        Self { start: 1, advance: 1, resume: 1, complete: 1, supersede: 1, lift: 1 }
    }
}

/// Somebody's agreement to one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who: the account, not the token that it used.
    pub by: String,
    /// To what: [`change_hash`] of it.
    pub change: Hash,
}

/// People are missing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the change takes {needed} people and {} agree to it as it is", people.len())]
pub struct ApprovalError {
    /// How many it takes.
    pub needed: usize,
    /// Who agrees, the author included.
    pub people: BTreeSet<String>,
}

impl ApprovalError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        "MPKG-F56"
    }
}

/// What approvals of a change are bound to: what is to be done, to what (an app, a kill), and at which revision.
///
/// ```
/// use mpkg_fleet::change_hash;
/// let at_3 = change_hash("org.example.app", 3, &"start");
/// assert_ne!(at_3, change_hash("org.example.app", 4, &"start"));
/// ```
pub fn change_hash(subject: &str, revision: u64, change: &impl Serialize) -> Hash {
    // What is hashed here are commands and kills, which always serialize.
    Hash::of(&serde_json::to_vec(&("mpkg.change.v1", subject, revision, change)).unwrap_or_default())
}

impl ApprovalPolicy {
    /// How many people it takes.
    pub fn needed(&self, verb: Verb) -> usize {
        let people = match verb {
            Verb::Start => self.start,
            Verb::Advance => self.advance,
            Verb::Resume => self.resume,
            Verb::Complete => self.complete,
            Verb::Supersede => self.supersede,
            Verb::Lift => self.lift,
            Verb::Stop => 1,
        };
        usize::from(people.max(1))
    }

    /// Who agrees to the change, if they are enough. The same person counts once, and approvals of another change or
    /// of an older revision not at all.
    pub fn check(
        &self,
        verb: Verb,
        author: &str,
        change: Hash,
        approvals: &[Approval],
    ) -> Result<BTreeSet<String>, ApprovalError> {
        let agreed = approvals.iter().filter(|approval| approval.change == change);
        let mut people: BTreeSet<String> = agreed.map(|approval| approval.by.clone()).collect();
        people.insert(author.to_owned());
        let needed = self.needed(verb);
        if people.len() < needed { Err(ApprovalError { needed, people }) } else { Ok(people) }
    }
}
