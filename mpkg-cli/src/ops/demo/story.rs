//! What every part of the story needs: hosts, registry, somebody who watches, and waiting with a bound.

use std::time::{Duration, Instant};

use mpkg_fleet::bucket_of;
use mpkg_registry_client::wire::RolloutView;

use super::center::Center;
use super::error::DemoError;
use super::fleet::Fleet;
use super::message::{Look, Used};
use super::packages::Packages;
use super::report::{Latency, Transfer};
use super::scene::Scene;
use super::system::now_us;

/// How often something that is waited for is looked at. What is measured is measured where it happens.
const PAUSE: Duration = Duration::from_millis(40);

/// The story so far.
pub(super) struct Story<'a> {
    pub(super) center: Center,
    pub(super) fleet: Fleet,
    pub(super) packages: Packages,
    pub(super) transfer: Transfer,
    /// Hosts that run the app in its sandbox: the first ones.
    pub(super) real: usize,
    /// How long anything may take before the demo gives up.
    pub(super) bound: Duration,
    pub(super) stage: &'a mut dyn FnMut(Scene<'_>),
}

/// The release of each host that is in a rollout's first so many hundredths of a percent, or named; the baseline of all
/// others. It is computed here, from the names alone, and not asked of anybody.
pub(super) fn expected(
    units: &[String],
    view: &RolloutView,
    basis_points: u16,
    named: &[String],
) -> (Vec<u64>, Vec<bool>) {
    let rollout = &view.rollout;
    let baseline = rollout.baseline.as_ref().map_or(0, |baseline| baseline.release_seq);
    let salt = rollout.salt.as_str();
    let inside: Vec<bool> =
        units.iter().map(|unit| bucket_of(salt, unit) < u32::from(basis_points)).collect();
    let release = |(unit, inside): (&String, &bool)| {
        if *inside || named.contains(unit) { rollout.release.release_seq } else { baseline }
    };
    (units.iter().zip(&inside).map(release).collect(), inside)
}

/// How many are so.
pub(super) fn count(all: impl IntoIterator<Item = bool>) -> usize {
    all.into_iter().filter(|it| *it).count()
}

impl Story<'_> {
    pub(super) fn show(&mut self, scene: Scene<'_>) {
        (self.stage)(scene);
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.show(Scene::Note(text.into()));
    }

    /// Waits until every host is as `is_so` says, and gives how they stand then.
    pub(super) async fn until(
        &mut self,
        what: &str,
        is_so: impl Fn(usize, &Look) -> bool,
    ) -> Result<Vec<Look>, DemoError> {
        let began = Instant::now();
        loop {
            let looks = self.fleet.look().await?;
            let all = looks.len();
            let done = looks.iter().enumerate().filter(|(index, look)| is_so(*index, look)).count();
            self.show(Scene::Progress { what, done, all });
            if done == all {
                return Ok(looks);
            }
            if began.elapsed() > self.bound {
                let late = looks.iter().enumerate().find(|(index, look)| !is_so(*index, look));
                let unit = late.and_then(|(index, _)| self.fleet.units().get(index));
                let (unit, look) = (unit.cloned().unwrap_or_default(), late.map(|(_, look)| *look));
                let what = format!("{what}: {done} of {all} hosts, and {unit} stands at {look:?}");
                return Err(DemoError::Late { what, seconds: self.bound.as_secs() });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until every host will run what it is to run, and gives how long that took in seconds.
    pub(super) async fn settle(&mut self, what: &str, expected: &[u64]) -> Result<f64, DemoError> {
        let began = Instant::now();
        self.until(what, |index, look| expected.get(index) == Some(&look.ahead)).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Every user opens the app, and every host has to run what it is to run: no other one does.
    pub(super) async fn use_app(&mut self, expected: &[u64]) -> Result<Vec<Used>, DemoError> {
        self.show(Scene::Work("every user opens the app"));
        // Reported afterwards: the gates must not go on while somebody has yet to open what this step gave them.
        let used = self.fleet.use_app(false).await?;
        self.fleet.report().await?;
        for ((unit, used), expected) in self.fleet.units().iter().zip(&used).zip(expected) {
            if used.ran != *expected || !used.crashed.is_empty() {
                let message =
                    format!("{unit} is to run release {expected}, and this is what happened: {used:?}");
                return Err(DemoError::Broken(message));
            }
        }
        self.check_alarms(&used)?;
        for used in &used {
            self.transfer.by_delta += used.deltas.len();
            self.transfer.by_whole += usize::try_from(used.whole).unwrap_or_default();
        }
        Ok(used)
    }

    /// That no agent saw the registry contradict itself.
    pub(super) fn check_alarms(&self, used: &[Used]) -> Result<(), DemoError> {
        let both = self.fleet.units().iter().zip(used);
        match both.filter_map(|(unit, used)| Some((unit, used.alarms.first()?))).next() {
            Some((unit, alarm)) => Err(DemoError::Broken(format!("{unit} raises an alarm: {alarm}"))),
            None => Ok(()),
        }
    }

    /// How many hosts run what.
    pub(super) fn show_runs(&mut self, used: &[Used]) {
        let Packages { first, second, bad, .. } = &self.packages;
        let runs = [first, second, bad].map(|release| {
            let label = format!("{} (release {})", release.version, release.seq);
            (label, count(used.iter().map(|used| used.ran == release.seq)))
        });
        let runs = runs.into_iter().filter(|(_, hosts)| *hosts > 0).collect();
        self.show(Scene::Runs(runs));
    }

    /// Waits until the app is barred on every host, or on none any more, and gives how long that took from `began_us` on.
    pub(super) async fn reached(
        &mut self,
        what: &str,
        barred: bool,
        began_us: u64,
        accepted_us: u64,
    ) -> Result<Latency, DemoError> {
        let looks = self.until(what, |_, look| look.barred == barred).await?;
        let mut times = Vec::with_capacity(looks.len());
        for (unit, look) in self.fleet.units().iter().zip(&looks) {
            let time = look.since_us.checked_sub(began_us);
            let early = || DemoError::Broken(format!("{unit} did it before anybody told it to: {what}"));
            times.push(time.ok_or_else(early)?);
        }
        let latency = Latency::of(&times, accepted_us);
        let latency =
            latency.ok_or_else(|| DemoError::Broken("times of hosts cannot be counted".to_owned()))?;
        self.show(Scene::Reached { what, latency: &latency });
        Ok(latency)
    }
}

/// Does something, and gives when it began and how long it took in microseconds.
pub(super) async fn timed<T, E>(what: impl Future<Output = Result<T, E>>) -> Result<(T, u64, u64), E> {
    let began = now_us();
    let done = what.await?;
    Ok((done, began, now_us().saturating_sub(began)))
}
