//! A good release goes out: 5 %, 25 %, everybody.

use std::time::Instant;

use mpkg_fleet::{BasisPoints, Evidence, Phase, Plan, Step, Verdict, Waiting};
use mpkg_registry_client::Versioned;
use mpkg_registry_client::wire::{HowToAdvance, RolloutView};

use super::error::DemoError;
use super::report::{By, StepReport};
use super::scene::Scene;
use super::story::{Story, count, expected};
use crate::draw;

/// The shares of the steps, in hundredths of a percent.
const SHARES: [u16; 3] = [500, 2_500, 10_000];
/// How long a step lasts at least, in seconds. In earnest it is hours.
const BAKE_S: u64 = 1;
/// How often the rollout is looked at while gates look at it.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// The plan for so many hosts. A step asks that four fifths of its devices have voted, so that one that begins with the
/// votes of the step before does not end at once.
fn plan(hosts: usize) -> Result<Plan, DemoError> {
    let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
    let step = |share: u16| {
        let percent = BasisPoints::new(share).unwrap_or(BasisPoints::ALL);
        Step { percent, bake_s: BAKE_S, min_votes: hosts.saturating_mul(u64::from(share)) / 12_500 }
    };
    Plan::new(SHARES.map(step).to_vec()).map_err(|error| DemoError::Registry(error.to_string()))
}

/// How a step ended.
struct Ended {
    by: By,
    votes: u64,
    missing: Vec<String>,
}

impl Story<'_> {
    /// Rolls the second release out, step by step.
    pub(super) async fn roll_out(&mut self) -> Result<Vec<StepReport>, DemoError> {
        let (app, second) = (self.packages.app.clone(), self.packages.second.clone());
        self.center.publish(&app, &second.signed).await?;
        let plan = plan(self.fleet.units().len())?;
        let Versioned { value: view, etag } = self.center.draft(&app, second.seq, plan, Vec::new()).await?;
        let id = view.id;
        self.center.client.start(id, &etag).await?;
        let mut steps = Vec::new();
        for (index, share) in SHARES.into_iter().enumerate() {
            let (runs, inside) = expected(self.fleet.units(), &view, share, &[]);
            let in_bucket = count(inside);
            let percent = BasisPoints::new(share).unwrap_or(BasisPoints::ALL);
            self.note(format!(
                "{percent}: {in_bucket} of {} hosts have a bucket below {share}",
                self.fleet.units().len()
            ));
            let what = format!("hosts have what they are to run at {percent}");
            let settled_s = self.settle(&what, &runs).await?;
            let used = self.use_app(&runs).await?;
            self.show_runs(&used);
            let ran = count(used.iter().map(|used| used.ran == second.seq));
            let ended = self.end_step(id, index, in_bucket).await?;
            steps.push(StepReport {
                basis_points: share,
                in_bucket,
                ran,
                stayed: used.len() - ran,
                settled_s,
                votes: ended.votes,
                missing: ended.missing,
                went_on_by: ended.by,
            });
        }
        let (_, everybody) = expected(self.fleet.units(), &view, 10_000, &[]);
        let runs = vec![second.seq; everybody.len()];
        self.settle("hosts have the completed release", &runs).await?;
        Ok(steps)
    }

    /// Waits until the gates let the rollout go on, and lets it go on by hand where they never can.
    async fn end_step(&mut self, id: i64, step: usize, in_bucket: usize) -> Result<Ended, DemoError> {
        let devices = u64::try_from(in_bucket).unwrap_or(u64::MAX);
        let began = Instant::now();
        let mut seen: Option<Evidence> = None;
        loop {
            let Versioned { value: view, etag } = self.center.client.rollout(id).await?;
            match view.rollout.phase {
                Phase::Running { step: now } if now == step => {}
                Phase::Running { step: now } if now == step + 1 => return self.by_gates(&view).await,
                Phase::Completed => return self.by_gates(&view).await,
                ref other => {
                    let message = format!("the rollout of a good release is {other:?} on step {}", step + 1);
                    return Err(DemoError::Broken(message));
                }
            }
            let glimpse = self.center.glimpse(view).await?;
            if let Some(gate) = &glimpse.gate {
                if let Verdict::RollBack { why } = &gate.verdict {
                    let message = format!("the gates want to roll a good release back: {why:?}");
                    return Err(DemoError::Broken(message));
                }
                if gate.inputs.step == step {
                    seen = Some(gate.clone());
                }
                // Whoever has not voted by now has not got it, so nobody is left to make the gate sure.
                if let Verdict::Hold { why } = &gate.verdict
                    && gate.inputs.treatment.unavailable.votes() >= devices
                    && !why.iter().any(|it| matches!(it, Waiting::Baking { .. }))
                {
                    let missing = draw::waiting_for(why);
                    self.show(Scene::Rollout(&glimpse));
                    self.note("all of them have voted, and that is too few for a gate: the operator looks, and goes on");
                    let votes = gate.inputs.treatment.unavailable.votes();
                    self.by_hand(id, step, &etag).await?;
                    return Ok(Ended { by: By::Operator, votes, missing });
                }
            }
            self.show(Scene::Work("the gates wait"));
            if began.elapsed() > self.bound {
                let what = format!("the gates have not decided on step {}: {seen:?}", step + 1);
                return Err(DemoError::Late { what, seconds: self.bound.as_secs() });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn by_gates(&mut self, view: &RolloutView) -> Result<Ended, DemoError> {
        let decided = self.center.evidence(view.id).await?;
        let healthy = decided.into_iter().find(|it| it.evidence.verdict == Verdict::Healthy);
        let healthy = healthy
            .ok_or_else(|| DemoError::Broken("the gates went on without evidence that all is well".into()))?;
        if !healthy.replays {
            return Err(DemoError::Broken(
                "deciding again gives another outcome than the evidence says".into(),
            ));
        }
        let votes = healthy.evidence.inputs.treatment.unavailable.votes();
        // As it stood when they decided, rather than on the step that came after.
        let mut glimpse = self.center.glimpse(view.clone()).await?;
        glimpse.view.rollout.phase = Phase::Running { step: healthy.evidence.inputs.step };
        glimpse.gate = Some(healthy.evidence);
        self.show(Scene::Rollout(&glimpse));
        self.note(format!("{votes} devices have voted: the gates let it go on by themselves"));
        Ok(Ended { by: By::Gates, votes, missing: Vec::new() })
    }

    async fn by_hand(&mut self, id: i64, step: usize, etag: &str) -> Result<(), DemoError> {
        let client = &self.center.client;
        if step + 1 < SHARES.len() {
            client.advance(id, etag, &HowToAdvance { skip_bake: false }).await?;
        } else {
            client.complete(id, etag).await?;
        }
        Ok(())
    }
}
