//! A bad release: the gates roll it back, and hosts go back by themselves.

use std::time::{Duration, Instant};

use mpkg_fleet::{BasisPoints, Evidence, Phase, Plan, Step, Verdict, replay};
use mpkg_registry_client::Versioned;
use mpkg_registry_client::wire::{EvidenceView, RolloutView};

use super::error::DemoError;
use super::message::Used;
use super::report::BadReport;
use super::scene::Scene;
use super::simulated::launched;
use super::story::{Story, count, expected};
use crate::draw::words;

/// Bad votes that decide every question that a release which does not come up is bad on.
const VOTES: usize = 8;
/// Below this share of a small fleet there would never be so many.
const FEWEST: usize = 12;
/// Salts that are drawn at most.
const DRAFTS: usize = 200;
/// How often the rollout is looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// 5 %, or as much more as it takes for a fleet of so few hosts.
fn share(hosts: usize) -> u16 {
    let points = (FEWEST * 10_000).div_ceil(hosts.max(1)).min(9_000);
    // In whole percents, as people would.
    let points = if hosts >= FEWEST * 15 { 500 } else { points.div_ceil(100) * 100 };
    u16::try_from(points).unwrap_or(9_000)
}

impl Story<'_> {
    /// Rolls the release out that does not come up, and sees it go back.
    pub(super) async fn roll_back(&mut self) -> Result<BadReport, DemoError> {
        let (app, bad) = (self.packages.app.clone(), self.packages.bad.clone());
        self.center.publish(&app, &bad.signed).await?;
        let basis_points = share(self.fleet.units().len());
        let named: Vec<String> = self.fleet.units().iter().take(1).cloned().collect();
        let (draft, drafts) = self.draw(basis_points, &named).await?;
        let view = draft.value;
        let (runs, inside) = expected(self.fleet.units(), &view, basis_points, &named);
        let in_bucket = count(inside.iter().copied());
        let percent = BasisPoints::new(basis_points).unwrap_or(BasisPoints::ALL);
        self.note(format!(
            "{percent}: {in_bucket} hosts by their buckets, and {}, a real one, by name",
            named.join(", ")
        ));
        self.center.client.start(view.id, &draft.etag).await?;
        self.settle("hosts have what they are to run", &runs).await?;

        let began = Instant::now();
        self.show(Scene::Work("every user opens the app, and some see it crash"));
        let used = self.fleet.use_app(true).await?;
        self.check_alarms(&used)?;
        let back = self.packages.second.seq;
        for ((unit, used), is_in) in self.fleet.units().iter().zip(&used).zip(&runs) {
            // Eight hosts are enough for the gates: some of the others may be spared before they ever launch it.
            let right = (*is_in == bad.seq || !launched(used).contains(&bad.seq)) && used.ran == back;
            if !right {
                let message = format!(
                    "{unit} was to get release {is_in} and to end up on {back}, and this is what happened: {used:?}"
                );
                return Err(DemoError::Broken(message));
            }
        }
        let launched = count(used.iter().map(|used| used.crashed.contains(&bad.seq)));
        self.note(format!(
            "{launched} hosts gave it up after three crashes, and went back to 1.1.0 by themselves"
        ));

        let (decided, evidence) = self.rolled_back(&view).await?;
        let everybody = vec![back; runs.len()];
        self.settle("hosts are back", &everybody).await?;
        let back_s = began.elapsed().as_secs_f64();
        let again = self.use_app(&everybody).await?;
        self.show_runs(&again);
        Ok(BadReport {
            basis_points,
            drafts,
            in_bucket,
            allowed: named.len(),
            launched,
            went_back_alone: went_back(&used, bad.seq, back),
            real_went_back_alone: went_back(used.get(..self.real).unwrap_or_default(), bad.seq, back),
            back_s,
            why: reasons(&evidence),
            replays: decided.replays,
            evidence,
        })
    }

    /// Drafts until the first step has as many devices as a gate needs to decide at all. A salt is drawn for each, so with
    /// few hosts it can have almost nobody in 5 %.
    async fn draw(
        &mut self,
        share: u16,
        named: &[String],
    ) -> Result<(Versioned<RolloutView>, usize), DemoError> {
        let percent = BasisPoints::new(share).unwrap_or(BasisPoints::ALL);
        let step = |percent| Step { percent, bake_s: 3_600, min_votes: 0 };
        let plan = Plan::new(vec![step(percent), step(BasisPoints::ALL)])
            .map_err(|error| DemoError::Registry(error.to_string()))?;
        for number in 1..=DRAFTS {
            let (app, seq) = (&self.packages.app, self.packages.bad.seq);
            let draft = self.center.draft(app, seq, plan.clone(), named.to_vec()).await?;
            let (_, inside) = expected(self.fleet.units(), &draft.value, share, named);
            // Who is named is no sample of anything, so it has no vote.
            let votes = inside.iter().zip(self.fleet.units());
            if count(votes.map(|(inside, unit)| *inside && !named.contains(unit))) >= VOTES {
                if number > 1 {
                    self.note(format!("{number} salts were drawn until {percent} were {VOTES} hosts"));
                }
                return Ok((draft, number));
            }
        }
        Err(DemoError::Broken(format!("in {DRAFTS} drafts there were never {VOTES} hosts in {percent}")))
    }

    /// Waits until the gates have rolled it back, and looks at what they decided by.
    async fn rolled_back(&mut self, view: &RolloutView) -> Result<(EvidenceView, Evidence), DemoError> {
        let began = Instant::now();
        loop {
            let now = self.center.client.rollout(view.id).await?.value;
            match &now.rollout.phase {
                Phase::RolledBack { to } if Some(to) == view.rollout.baseline.as_ref() => break,
                Phase::Running { .. } if began.elapsed() <= self.bound => {}
                phase => {
                    let what = format!("the rollout of a bad release is {phase:?}");
                    return Err(DemoError::Late { what, seconds: self.bound.as_secs() });
                }
            }
            self.show(Scene::Work("the gates count votes"));
            tokio::time::sleep(PAUSE).await;
        }
        let decided = self.center.evidence(view.id).await?;
        let decided = decided.into_iter().find(|it| matches!(it.evidence.verdict, Verdict::RollBack { .. }));
        let decided =
            decided.ok_or_else(|| DemoError::Broken("it was rolled back without evidence".to_owned()))?;
        let evidence = decided.evidence.clone();
        let again = replay(&evidence);
        if !decided.replays || again.as_ref() != Ok(&evidence.verdict) {
            let message = format!("deciding again gives another outcome than the evidence says: {again:?}");
            return Err(DemoError::Broken(message));
        }
        // As it stood when they decided.
        let mut glimpse = self.center.glimpse(view.clone()).await?;
        glimpse.view.rollout.phase = Phase::Running { step: evidence.inputs.step };
        glimpse.gate = Some(evidence.clone());
        self.show(Scene::Rollout(&glimpse));
        self.note(format!(
            "rolled back by the gates for {}; deciding again from the kept evidence gives the same",
            reasons(&evidence).join(" and ")
        ));
        Ok((decided, evidence))
    }
}

fn reasons(evidence: &Evidence) -> Vec<String> {
    match &evidence.verdict {
        Verdict::RollBack { why } => why.iter().map(|why| words::bad(*why).to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn went_back(used: &[Used], bad: u64, back: u64) -> usize {
    count(used.iter().map(|used| used.crashed.contains(&bad) && used.ran == back))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_fleets_get_a_larger_first_step() {
        assert_eq!([10, 24, 100, 180, 200, 10_000].map(share), [9_000, 5_000, 1_200, 500, 500, 500]);
    }
}
