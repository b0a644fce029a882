//! Taking an exported folder into a host's data, as the host itself would.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use miniapp_runtime::Host;
use miniapp_runtime::updates::{Agent, AppStatus, Event, Settings};
use mpkg_fleet::{Context, StateFile, limits};
use mpkg_manifest::AppId;
use tokio::sync::broadcast::Receiver;

use crate::cli::FleetImport;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::run::failure;
use crate::ops::{files, keys};

/// How long nothing may happen while releases are installed. Compiling one takes seconds.
const QUIET: Duration = Duration::from_secs(120);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Imported {
    pub(crate) head: Option<mpkg_fleet::Position>,
    pub(crate) age_s: Option<u64>,
    pub(crate) apps: BTreeMap<AppId, AppStatus>,
    /// Documents and packages that were refused: which, by which rule, and why.
    pub(crate) refused: Vec<(String, Option<String>, String)>,
}

pub(crate) fn import(args: &FleetImport) -> Outcome<Imported> {
    let trust = keys::trust(&args.trust)?;
    let path = args.folder.join(StateFile::NAME);
    let file = StateFile::parse(&files::read(&path, limits::STATE_FILE as u64)?).map_err(|error| {
        Failure::with_code(error.code(), Exit::Refused, format!("{}: {error}", path.display()))
            .hint("Export it again with `mpkg fleet export`.")
    })?;
    let context = Context {
        unit: args.unit.clone(),
        platform: args.platform.clone(),
        host_version: args.host_version.clone(),
        region: args.region.clone(),
        segments: BTreeSet::new(),
    };
    let settings = Settings::new(trust, context, args.data.join("updates"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("no event loop: {error}")))?;
    runtime.block_on(async {
        let host = Host::builder(&args.data).supervised(true).build();
        let host = host.map_err(|error| failure::host(&error))?;
        let agent = Agent::start(settings, host).await.map_err(|error| refused(&error))?;
        let mut events = agent.events();
        let kept = agent.status().await.map_err(|error| refused(&error))?.apps;
        let all = if kept.is_empty() && args.app.is_empty() { file.apps.keys() } else { Default::default() };
        for app in args.app.iter().chain(all) {
            agent.want(app.clone()).await.map_err(|error| refused(&error))?;
        }
        agent.import(&args.folder).await.map_err(|error| refused(&error))?;
        let done = settled(&agent, &mut events).await?;
        agent.shutdown().await;
        Ok(done)
    })
}

fn refused(error: &miniapp_runtime::updates::AgentError) -> Failure {
    Failure::with_code(error.code(), Exit::Failed, error.to_string())
        .hint(format!("`mpkg explain {}` tells more.", error.code()))
}

/// Waits until each app is where the state wants it, or cannot get there.
async fn settled(agent: &Agent, events: &mut Receiver<Event>) -> Outcome<Imported> {
    let mut done = Imported::default();
    let mut failed = BTreeSet::new();
    loop {
        while let Ok(event) = events.try_recv() {
            note(event, &mut done, &mut failed);
        }
        let status = agent.status().await.map_err(|error| refused(&error))?;
        let waits = status.apps.iter().any(|(app, it)| {
            let there = it.decision.run.as_ref().is_none_or(|run| {
                it.shelf.rejects(run) || it.shelf.ahead().is_some_and(|ahead| ahead.package == run.package)
            });
            !there && !failed.contains(app)
        });
        (done.head, done.age_s, done.apps) = (status.head, status.age_s, status.apps);
        if !waits {
            return Ok(done);
        }
        match tokio::time::timeout(QUIET, events.recv()).await {
            Ok(Ok(event)) => note(event, &mut done, &mut failed),
            Ok(Err(_)) => {}
            Err(_) => return Err(Failure::internal("the installation does not come to an end")),
        }
    }
}

fn note(event: Event, done: &mut Imported, failed: &mut BTreeSet<AppId>) {
    match event {
        Event::Refused { paper, code, message, .. } => {
            let paper = serde_json::to_value(&paper).unwrap_or_default();
            let name = paper.get("app").or(paper.get("document")).and_then(|it| it.as_str());
            done.refused.push((name.unwrap_or_default().to_owned(), Some(code.to_owned()), message));
        }
        Event::Failed { app, release, code, message } => {
            failed.insert(app.clone());
            done.refused.push((format!("{app} {release}"), code, message));
        }
        _ => {}
    }
}
