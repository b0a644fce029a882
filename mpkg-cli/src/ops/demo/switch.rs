//! The app is switched off everywhere, with a registry and without one, and on again.

use std::time::Instant;

use mpkg_fleet::KillId;
use mpkg_registry_client::wire::KillView;

use super::center::Center;
use super::error::DemoError;
use super::report::{Latency, Outage};
use super::scene::Scene;
use super::story::{Story, timed};

/// Hosts that are restarted while the registry is away, the real ones among them.
const RESTARTED: usize = 10;
/// Calls of the other app meanwhile, on each real host.
const CALLS: usize = 10;

impl Story<'_> {
    /// Kills the app, and sees it end everywhere.
    pub(super) async fn kill(&mut self) -> Result<(KillId, Latency), DemoError> {
        let kill = Center::kill_of(&self.packages.app, "sends contacts away")?;
        let (killed, began, accepted) = timed(self.center.client.kill(&kill)).await?;
        let latency =
            self.reached("the app has ended, and cannot be launched", true, began, accepted).await?;
        Ok((killed.value.id, latency))
    }

    /// Lifts a kill, and sees everybody run again.
    pub(super) async fn lift(&mut self, id: KillId) -> Result<Latency, DemoError> {
        let seen = self.center.client.find_kill(id).await?;
        let because = Center::because("false alarm")?;
        let (lifted, began, accepted) = timed(self.center.client.lift(id, &seen.etag, &because)).await?;
        let KillView { lift, .. } = lifted.value;
        if lift.is_none() {
            return Err(DemoError::Broken(
                "the registry answers a lift with a kill that is not lifted".into(),
            ));
        }
        let latency = self.reached("the app can be launched again", false, began, accepted).await?;
        let everybody = vec![self.packages.second.seq; self.fleet.units().len()];
        self.use_app(&everybody).await?;
        Ok(latency)
    }

    /// Every user tries to open the app, and none can.
    async fn nobody_can(&mut self, report: bool) -> Result<usize, DemoError> {
        self.show(Scene::Work("every user tries to open the app"));
        let used = self.fleet.use_app(report).await?;
        for (unit, used) in self.fleet.units().iter().zip(&used) {
            if !used.refused || used.ran != 0 || !used.crashed.is_empty() {
                let message = format!("{unit} launched an app that is switched off: {used:?}");
                return Err(DemoError::Broken(message));
            }
        }
        Ok(used.len())
    }

    /// The registry goes away while the app is switched off, and comes back.
    pub(super) async fn outage(&mut self) -> Result<Outage, DemoError> {
        self.fleet.use_other().await?;
        let (id, kill) = self.kill().await?;
        self.center.stop().await;
        let down = Instant::now();
        if let Ok(listeners) = self.center.listeners().await {
            let message = format!("a registry that was stopped says that {listeners} hosts listen");
            return Err(DemoError::Broken(message));
        }
        self.note("the registry is down");
        let refused = self.nobody_can(false).await?;
        self.note(format!(
            "{refused} of {refused} hosts still refuse to launch the app: a kill that is known holds"
        ));
        self.show(Scene::Work("some hosts restart"));
        let restarted = self.fleet.restart(RESTARTED).await?;
        self.nobody_can(false).await?;
        self.note(format!("{restarted} hosts were restarted, and refuse it by what is on their disks"));
        for _ in 0..CALLS {
            self.fleet.use_other().await?;
        }
        let other_calls = CALLS * self.real;
        self.note(format!(
            "another app answered {other_calls} calls meanwhile: hosts go on with what they know"
        ));
        self.center.restart().await?;
        let down_s = down.elapsed().as_secs_f64();
        let back_s = self.all_listen().await?;
        self.note(format!("the registry is back, and after {back_s:.2} s so is every host"));
        self.nobody_can(true).await?;
        let lift = self.lift(id).await?;
        Ok(Outage { kill, down_s, restarted, refused, other_calls, back_s, lift })
    }

    /// Waits until every host listens to the registry, and gives how long that took in seconds.
    pub(super) async fn all_listen(&mut self) -> Result<f64, DemoError> {
        let began = Instant::now();
        let all = self.fleet.units().len();
        loop {
            let done = self.center.listeners().await?;
            self.show(Scene::Progress { what: "hosts listen to the registry", done, all });
            if done >= all {
                return Ok(began.elapsed().as_secs_f64());
            }
            if began.elapsed() > self.bound {
                let what = format!("{done} of {all} hosts listen to the registry");
                return Err(DemoError::Late { what, seconds: self.bound.as_secs() });
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}
