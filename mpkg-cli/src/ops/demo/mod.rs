//! A whole fleet, from a first release to a kill and back: a registry and hosts with real agents, which follow it over
//! real connections. Most hosts only act as if they ran apps; the first few run them.
//!
//! Everything that is told is checked first. Hosts that run what they should not, or run on when they should not, end it.

mod bad;
mod center;
mod error;
mod fleet;
mod group;
mod member;
mod message;
mod packages;
mod real;
mod report;
mod rollout;
mod scene;
mod simulated;
mod story;
mod switch;
mod system;
mod worker;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use report::{By, Latency, Report};
pub(crate) use scene::Scene;
pub(crate) use worker::work;

use center::Center;
use error::DemoError;
use fleet::{Common, Fleet};
use message::{Pace, Seed, Setup};
use packages::{Packages, Release};
use report::{MemoryReport, Released, Transfer};
use story::Story;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::build::Toolchain;
use crate::rules;

/// Hosts that run the app in its sandbox.
const REAL: usize = 3;
/// Threads that wait for the disk, and that verify.
const BLOCKING: usize = 32;
/// Open files and sockets that are not a host's.
const FILES: u64 = 2_000;
/// How long anything may take at least, and for each host, before the demo gives up.
const BOUND: Duration = Duration::from_secs(60);
const BOUND_EACH: Duration = Duration::from_millis(20);

/// What to show.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) hosts: usize,
    /// The folder of the example, where it is not to be looked for.
    pub(crate) project: Option<PathBuf>,
    pub(crate) toolchain: Toolchain,
}

/// Tells the whole story.
pub(crate) fn run(demo: &Demo, stage: &mut dyn FnMut(Scene<'_>)) -> Outcome<Report> {
    let project = packages::project(demo.project.as_deref())?;
    let needed = u64::try_from(demo.hosts).unwrap_or(u64::MAX).saturating_mul(3) / 2 + FILES;
    if let Some(most) = system::raise_files().filter(|most| *most < needed) {
        return Err(DemoError::Files { hosts: demo.hosts, needed, most }.into());
    }
    stage(Scene::Chapter("A Mini App is built, and signed by a publisher that nobody has heard of before"));
    let packages = packages::make(&project, &demo.toolchain, &mut |line| stage(Scene::Work(line)))?;
    let folder = tempfile::Builder::new()
        .prefix("mpkg-demo-")
        .tempdir()
        .map_err(|error| Failure::write(&std::env::temp_dir(), &error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("no threads: {error}")))?;
    let report = runtime.block_on(async {
        tokio::select! {
            told = tell(demo.hosts, folder.path().to_owned(), packages, stage) => told.map_err(Failure::from),
            // Processes and the folder go as this returns.
            _ = tokio::signal::ctrl_c() => Err(Failure::new(&rules::INTERRUPTED, Exit::Failed, "interrupted")),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    report
}

async fn tell(
    hosts: usize,
    folder: PathBuf,
    packages: Packages,
    stage: &mut dyn FnMut(Scene<'_>),
) -> Result<Report, DemoError> {
    let began = Instant::now();
    for release in [&packages.first, &packages.second, &packages.bad] {
        let Release { version, digest, .. } = release;
        stage(Scene::Note(format!(
            "{} {version}, {} bytes, sha256:{}",
            packages.app, digest.size, digest.sha256
        )));
    }
    stage(Scene::Work("a registry starts"));
    let (center, seeds) = Center::open(folder.join("registry"), hosts).await?;
    let fleet = Fleet::open(hosts)?;
    let bound = BOUND + BOUND_EACH * u32::try_from(hosts).unwrap_or(u32::MAX);
    let transfer = Transfer { whole_bytes: packages.second.digest.size, ..Transfer::default() };
    let real = REAL.min(hosts);
    let mut story = Story { center, fleet, packages, transfer, real, bound, stage };
    let told = story.tell(folder, seeds, began).await;
    let Story { mut center, fleet, .. } = story;
    fleet.shutdown().await;
    center.stop().await;
    told
}

impl Story<'_> {
    async fn tell(&mut self, folder: PathBuf, seeds: Vec<Seed>, began: Instant) -> Result<Report, DemoError> {
        let hosts = seeds.len();
        let real = self.real;
        let memory = self.start(folder, seeds).await?;
        let install_s = self.install().await?;

        self.show(Scene::Chapter("1.1.0 goes out: 5 %, 25 %, everybody"));
        let steps = self.roll_out().await?;
        self.measure_transfer().await?;

        self.show(Scene::Chapter("1.2.0 crashes when it is launched"));
        let bad = self.roll_back().await?;

        self.show(Scene::Chapter("The app is switched off, everywhere"));
        let (id, kill) = self.kill().await?;
        self.note(format!("{real} hosts ran it in a sandbox: it has ended there, and its memory is free"));

        self.show(Scene::Chapter("A false alarm: the kill is lifted"));
        let lift = self.lift(id).await?;

        self.show(Scene::Chapter("It is switched off again, and then the registry fails"));
        let outage = self.outage().await?;

        let Packages { app, publisher, first, second, bad: third, .. } = &self.packages;
        Ok(Report {
            hosts,
            real_hosts: real,
            processes: self.fleet.processes(),
            app: app.to_string(),
            registry: self.center.id().to_string(),
            publisher: publisher.to_string(),
            releases: [first, second, third].map(released).into(),
            install_s,
            steps,
            bad,
            kill,
            lift,
            outage,
            transfer: std::mem::take(&mut self.transfer),
            memory,
            took_s: began.elapsed().as_secs_f64(),
        })
    }

    /// Starts all hosts; the real ones by themselves first, so that the others' memory is theirs alone.
    async fn start(&mut self, folder: PathBuf, hosts: Vec<Seed>) -> Result<Option<MemoryReport>, DemoError> {
        let (count, processes) = (hosts.len(), self.fleet.processes());
        self.show(Scene::Chapter("A registry and a fleet"));
        self.show(Scene::Work("hosts start"));
        let setup = Setup {
            address: self.center.address(),
            registry: self.center.id(),
            app: self.packages.app.clone(),
            other: self.packages.other.clone(),
            crashes: self.packages.bad.digest.sha256,
            folder: folder.join("hosts"),
            hosts: Vec::new(),
            real: self.real,
            pace: Pace::of(count),
        };
        let before = self.fleet.start(Common { setup, hosts }).await?;
        self.all_listen().await?;
        let after = self.fleet.memory().await?;
        let (real, simulated) = (self.real, count.saturating_sub(self.real));
        self.note(format!("{count} hosts in {processes} processes listen to {}", self.center.address()));
        self.note(format!("{real} of them run apps in a sandbox, {simulated} act as if; all of them verify"));
        let memory = before.zip(after).map(|(before, after)| {
            let hosts_bytes = after.saturating_sub(before);
            let each = u64::try_from(simulated).unwrap_or(u64::MAX).max(1);
            MemoryReport { hosts_bytes, per_host_bytes: hosts_bytes / each }
        });
        Ok(memory)
    }

    /// The first releases of both apps, on every host that wants them.
    async fn install(&mut self) -> Result<f64, DemoError> {
        self.show(Scene::Chapter("1.0.0 is everybody's"));
        self.center.claim(&self.packages).await?;
        let Packages { app, first, other, of_other, .. } = &self.packages;
        for (app, release) in [(app, first), (other, of_other)] {
            self.center.publish(app, &release.signed).await?;
            self.center.give_all(app, release.seq).await?;
        }
        let everybody = vec![first.seq; self.fleet.units().len()];
        self.fleet.want().await?;
        let took = self.settle("hosts have downloaded and verified 1.0.0", &everybody).await?;
        let used = self.use_app(&everybody).await?;
        self.show_runs(&used);
        // The first of an app comes whole, to everybody; what is counted are updates.
        self.transfer.by_whole = 0;
        Ok(took)
    }

    async fn measure_transfer(&mut self) -> Result<(), DemoError> {
        let (first, second) = (&self.packages.first, &self.packages.second);
        let patch = self.center.client.delta(first.digest.sha256, second.digest).await?;
        self.transfer.delta_bytes = patch.and_then(|patch| u64::try_from(patch.len()).ok());
        Ok(())
    }
}

fn released(release: &Release) -> Released {
    Released {
        version: release.version.to_owned(),
        release_seq: release.seq,
        sha256: release.digest.sha256.to_string(),
        bytes: release.digest.size,
    }
}
