//! The life of a rollout.
//!
//! Verbs that stop (hold, halt, roll back) are never refused: in every phase they mean something, if only that there is
//! nothing left to stop. Verbs that go are checked. Whoever reads the answer learns from the events whether anything
//! happened.

use mpkg_manifest::{AppId, Text};
use mpkg_package::Time;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::document::Admission;
use crate::plan::Plan;
use crate::types::{BasisPoints, ReleaseRef, Token};

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Not begun.
    Draft,
    /// On a step.
    Running {
        /// Which, from 0.
        step: usize,
    },
    /// Stays on its step: those in the percentage get the release, the percentage does not grow.
    Held {
        /// The step.
        step: usize,
    },
    /// Nobody new; who has it keeps it.
    Halted {
        /// The step; none when it had not begun.
        step: Option<usize>,
    },
    /// Everybody back.
    RolledBack {
        /// To this release.
        to: ReleaseRef,
    },
    /// Another rollout of the app took over.
    Superseded {
        /// The release sequence of that one.
        by: u64,
    },
    /// The release is everybody's.
    Completed,
}

impl Phase {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Running { .. } => "running",
            Self::Held { .. } => "held",
            Self::Halted { .. } => "halted",
            Self::RolledBack { .. } => "rolled_back",
            Self::Superseded { .. } => "superseded",
            Self::Completed => "completed",
        }
    }
}

/// A rollout of one release of one app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The app.
    pub app: AppId,
    /// What is rolled out.
    pub release: ReleaseRef,
    /// What everybody else runs.
    pub baseline: Option<ReleaseRef>,
    /// What buckets are computed with.
    pub salt: Token,
    /// Its steps.
    pub plan: Plan,
    /// How far it is.
    pub phase: Phase,
    /// When it came to its phase and step: bake time counts from here.
    pub since: Time,
    /// Grows by one with every change.
    pub revision: u64,
}

/// What to do with a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Command {
    /// Goes to the first step.
    Start,
    /// Goes to the next step.
    Advance {
        /// Before the bake time is over. Automatic advances never do that.
        skip_bake: bool,
    },
    /// Stays on the step. In `draft`, `halted`, `rolled_back`, `superseded` and `completed` nothing grows anyway.
    Hold {
        /// Why.
        reason: Text<200>,
    },
    /// Goes on, from the step that it was on, whose bake time begins again.
    Resume,
    /// Nobody new. A draft can then not be started any more. `rolled_back` and `superseded` admit nobody anyway.
    Halt {
        /// Why.
        reason: Text<200>,
    },
    /// Everybody back. One that has not begun is halted instead: nobody has anything of it, and moving people takes what
    /// a start takes. In `superseded` another rollout is in charge, and the event names it.
    RollBack {
        /// To this release, which is earlier than the one rolled out.
        to: ReleaseRef,
        /// Why.
        reason: Text<200>,
    },
    /// Makes the release everybody's, from the last step.
    Complete,
    /// Another rollout takes over.
    Supersede {
        /// The release sequence of that one.
        by: u64,
    },
}

impl Command {
    /// Whether it stops. Stops need one person, no approval, no window and no match of versions.
    pub fn stops(&self) -> bool {
        matches!(self, Self::Hold { .. } | Self::Halt { .. } | Self::RollBack { .. })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Advance { .. } => "advance",
            Self::Hold { .. } => "hold",
            Self::Resume => "resume",
            Self::Halt { .. } => "halt",
            Self::RollBack { .. } => "roll_back",
            Self::Complete => "complete",
            Self::Supersede { .. } => "supersede",
        }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The phase or step is another one.
    Moved {
        /// It was this.
        from: Phase,
        /// It is this.
        to: Phase,
    },
    /// A stop that had nothing left to stop.
    Already {
        /// The phase.
        phase: Phase,
    },
    /// Another rollout is in charge of the app; a stop has to reach that one.
    NotInCharge {
        /// Its release sequence.
        by: u64,
    },
}

/// Why a command is refused. Only verbs that go are, and a rollback that would go forward.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransitionError {
    /// Not in this phase.
    #[error("a rollout that is {phase} cannot {verb}")]
    Phase {
        /// The command.
        verb: &'static str,
        /// The phase.
        phase: &'static str,
    },
    /// Too early.
    #[error("the step lasts until {until} at least")]
    Baking {
        /// From when on it may go on.
        until: Time,
    },
    /// No further step.
    #[error("the rollout is on its last step; complete it")]
    LastStep,
    /// Steps are left.
    #[error("the rollout is on step {step} of {steps}; only the last one can be completed")]
    StepsLeft {
        /// The step, from 1.
        step: usize,
        /// Their number.
        steps: usize,
    },
    /// A rollback to something that is not earlier.
    #[error("release {to} is not earlier than release {release}, so going to it is no rollback")]
    NotBack {
        /// The target.
        to: u64,
        /// The release rolled out.
        release: u64,
    },
    /// Superseded by something that is not later.
    #[error("release {by} is not later than release {release}, so it cannot take its place")]
    NotLater {
        /// The other one.
        by: u64,
        /// The release rolled out.
        release: u64,
    },
}

impl TransitionError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Phase { .. } => "MPKG-F51",
            Self::Baking { .. } => "MPKG-F52",
            Self::LastStep | Self::StepsLeft { .. } => "MPKG-F53",
            Self::NotBack { .. } => "MPKG-F54",
            Self::NotLater { .. } => "MPKG-F55",
        }
    }
}

/// What a rollout means for an app's state document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// See [`crate::AppState::release`].
    pub release: Option<ReleaseRef>,
    /// See [`crate::AppState::baseline`].
    pub baseline: Option<ReleaseRef>,
    /// See [`crate::AppState::percent`].
    pub percent: BasisPoints,
    /// See [`crate::AppState::control`].
    pub control: BasisPoints,
    /// See [`crate::AppState::admission`].
    pub admission: Admission,
}

impl Rollout {
    /// A rollout that has not begun.
    pub fn draft(
        app: AppId,
        release: ReleaseRef,
        baseline: Option<ReleaseRef>,
        salt: Token,
        plan: Plan,
        at: Time,
    ) -> Self {
        Self { app, release, baseline, salt, plan, phase: Phase::Draft, since: at, revision: 0 }
    }

    /// Whether it was never started, so that nobody ever got anything of it.
    pub fn never_began(&self) -> bool {
        matches!(self.phase, Phase::Draft | Phase::Halted { step: None })
    }

    /// What it means for the app's state document; nothing once another rollout is in charge.
    pub fn shape(&self) -> Option<Shape> {
        let at = |step: usize| self.plan.step(step).map_or(BasisPoints::NONE, |step| step.percent);
        let (release, baseline) = (Some(self.release.clone()), self.baseline.clone());
        let offer = |percent: BasisPoints, admission| Shape {
            release: release.clone(),
            baseline: baseline.clone(),
            percent,
            control: percent.control(),
            admission,
        };
        let only = |baseline| Shape {
            release: None,
            baseline,
            percent: BasisPoints::NONE,
            control: BasisPoints::NONE,
            admission: Admission::Open,
        };
        match &self.phase {
            Phase::Draft | Phase::Halted { step: None } => Some(only(self.baseline.clone())),
            Phase::Running { step } | Phase::Held { step } => Some(offer(at(*step), Admission::Open)),
            Phase::Halted { step: Some(step) } => Some(offer(at(*step), Admission::Closed)),
            Phase::RolledBack { to } => Some(only(Some(to.clone()))),
            Phase::Completed => Some(only(Some(self.release.clone()))),
            Phase::Superseded { .. } => None,
        }
    }

    /// From when on the present step may end.
    pub fn baked_at(&self) -> Option<Time> {
        let (Phase::Running { step } | Phase::Held { step }) = &self.phase else { return None };
        let bake = i64::try_from(self.plan.step(*step)?.bake_s).ok()?;
        Time::from_unix(self.since.unix().checked_add(bake)?)
    }

    /// Carries a command out. The rollout itself stays as it is; take the new one when it is persisted.
    pub fn apply(&self, command: &Command, at: Time) -> Result<(Self, Vec<Event>), TransitionError> {
        let to = match command {
            Command::Hold { .. } => self.hold(),
            Command::Halt { .. } => self.halt(),
            Command::RollBack { to, .. } => self.roll_back(to)?,
            Command::Start => self.start()?,
            Command::Advance { skip_bake } => self.advance(*skip_bake, at)?,
            Command::Resume => self.resume()?,
            Command::Complete => self.complete(at)?,
            Command::Supersede { by } => self.supersede(*by)?,
        };
        if to == self.phase {
            let event = match &self.phase {
                Phase::Superseded { by } => Event::NotInCharge { by: *by },
                phase => Event::Already { phase: phase.clone() },
            };
            return Ok((self.clone(), vec![event]));
        }
        let event = Event::Moved { from: self.phase.clone(), to: to.clone() };
        let revision = self.revision.saturating_add(1);
        // A clock that was turned back must not make a step older than it is.
        let since = at.max(self.since);
        Ok((Self { phase: to, since, revision, ..self.clone() }, vec![event]))
    }

    fn hold(&self) -> Phase {
        match &self.phase {
            Phase::Running { step } => Phase::Held { step: *step },
            other => other.clone(),
        }
    }

    fn halt(&self) -> Phase {
        match &self.phase {
            Phase::Draft => Phase::Halted { step: None },
            Phase::Running { step } | Phase::Held { step } => Phase::Halted { step: Some(*step) },
            // Who has not got it yet, perhaps since it was offline, stays where it is.
            Phase::Completed => Phase::Halted { step: Some(self.plan.steps().len().saturating_sub(1)) },
            other => other.clone(),
        }
    }

    fn roll_back(&self, to: &ReleaseRef) -> Result<Phase, TransitionError> {
        // One person who may not start it could otherwise send everybody somewhere with its rollback.
        if self.never_began() {
            return Ok(self.halt());
        }
        if to.release_seq >= self.release.release_seq {
            let (to, release) = (to.release_seq, self.release.release_seq);
            return Err(TransitionError::NotBack { to, release });
        }
        Ok(match &self.phase {
            Phase::Superseded { .. } => self.phase.clone(),
            _ => Phase::RolledBack { to: to.clone() },
        })
    }

    fn refuse(&self, verb: &'static str) -> TransitionError {
        TransitionError::Phase { verb, phase: self.phase.name() }
    }

    fn start(&self) -> Result<Phase, TransitionError> {
        match self.phase {
            Phase::Draft => Ok(Phase::Running { step: 0 }),
            _ => Err(self.refuse("start")),
        }
    }

    fn advance(&self, skip_bake: bool, at: Time) -> Result<Phase, TransitionError> {
        let Phase::Running { step } = self.phase else { return Err(self.refuse("advance")) };
        if step + 1 >= self.plan.steps().len() {
            return Err(TransitionError::LastStep);
        }
        self.baked(skip_bake, at)?;
        Ok(Phase::Running { step: step + 1 })
    }

    fn resume(&self) -> Result<Phase, TransitionError> {
        match self.phase {
            Phase::Held { step } | Phase::Halted { step: Some(step) } => Ok(Phase::Running { step }),
            _ => Err(self.refuse("resume")),
        }
    }

    fn complete(&self, at: Time) -> Result<Phase, TransitionError> {
        let Phase::Running { step } = self.phase else { return Err(self.refuse("complete")) };
        let steps = self.plan.steps().len();
        if step + 1 < steps {
            return Err(TransitionError::StepsLeft { step: step + 1, steps });
        }
        self.baked(false, at)?;
        Ok(Phase::Completed)
    }

    fn supersede(&self, by: u64) -> Result<Phase, TransitionError> {
        if by <= self.release.release_seq {
            return Err(TransitionError::NotLater { by, release: self.release.release_seq });
        }
        match self.phase {
            Phase::Superseded { .. } => Err(self.refuse("be superseded")),
            _ => Ok(Phase::Superseded { by }),
        }
    }

    fn baked(&self, skip: bool, at: Time) -> Result<(), TransitionError> {
        match self.baked_at() {
            Some(until) if !skip && at < until => Err(TransitionError::Baking { until }),
            _ => Ok(()),
        }
    }
}
