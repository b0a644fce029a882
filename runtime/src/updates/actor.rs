//! The one task that decides: documents in, orders and installations out.
//!
//! It waits for the disk and for nothing else: what takes longer runs beside it, so that a kill never waits for a download,
//! for an app that is to end, or for a registry that does not answer.

mod apps;
mod papers;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mpkg_fleet::{Batch, Context, Fleet, KillId, Position, ReleaseRef, StreamEvent};
use mpkg_manifest::AppId;
use mpkg_package::Hash;
use mpkg_registry_client::ClientError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::agent::{AgentError, Opened};
use super::device::{Device, Shelf};
use super::event::{AppStatus, Event, Status};
use super::fetch::{FetchError, Papers, Wanted, some_of};
use super::installs::{Installing, Installs};
use super::orders::Orders;
use super::settings::Settings;
use super::unreported::Unreported;
use super::vault::{APPS, Vault};
use crate::data::DataError;
use crate::error::InstallError;

/// Calls that wait for news at the same time.
const ASKING: usize = 64;

type Answer<T> = oneshot::Sender<T>;

pub(crate) enum Message {
    Stream(StreamEvent),
    Lost(ClientError),
    Want { app: AppId, answer: Answer<Result<(), AgentError>> },
    Remove { app: AppId, answer: Answer<Result<(), AgentError>> },
    Refresh { answer: Answer<()> },
    Import { folder: PathBuf, papers: Papers, answer: Answer<()> },
    Status { answer: Answer<Result<Status, AgentError>> },
    Report { answer: Answer<()> },
}

/// What ran beside, and has ended.
enum Done {
    Fetched { wanted: Wanted, papers: Papers, error: Option<FetchError> },
    Installed(Installing),
    Switched { app: AppId, release: ReleaseRef, outcome: Result<bool, DataError> },
    Removed { app: AppId, outcome: Result<(), InstallError>, answer: Option<Answer<Result<(), AgentError>>> },
    Reported { batch: Batch, outcome: Result<(), ClientError>, answer: Option<Answer<()>> },
}

pub(crate) struct Actor<D: Device> {
    settings: Settings,
    context: Arc<Context>,
    vault: Vault,
    device: Arc<D>,
    fleet: Arc<Fleet>,
    wanted: BTreeSet<AppId>,
    events: broadcast::Sender<Event>,
    reached: watch::Sender<Option<Position>>,
    refresh: mpsc::Sender<oneshot::Sender<()>>,
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    beside: JoinSet<Done>,
    fetching: bool,
    /// Something asked for another fetch while one was under way; with the roots.
    fetch_again: Option<bool>,
    /// When roots were last asked for because something could not be judged by those that are here.
    roots_asked: Option<Instant>,
    /// Who waits for the news that are being fetched.
    waiting: Vec<Answer<()>>,
    installs: Installs,
    /// Apps that are being switched or removed, once for each time. Both may wait for an app to end, and nothing else is
    /// begun with it meanwhile.
    busy: Vec<AppId>,
    unreported: Unreported,
    reporting: bool,
    /// What is known is not on the disk, so nothing but what ends something is begun on its word.
    unsaved: bool,
    heard: Option<Instant>,
    warned: BTreeSet<(AppId, KillId)>,
    rejected: BTreeSet<(AppId, Hash)>,
}

/// What came of some documents.
#[derive(Default)]
struct Taken {
    persist: bool,
    killed: Vec<KillId>,
    lifted: Vec<KillId>,
    /// A refusal that newer roots may undo.
    roots: bool,
}

impl<D: Device> Actor<D> {
    /// Gives the position to follow from, too.
    pub(crate) fn new(
        settings: Settings,
        opened: Opened,
        device: Arc<D>,
        events: broadcast::Sender<Event>,
        reached: watch::Sender<Option<Position>>,
    ) -> (Self, Option<Position>) {
        let Opened { vault, fleet, wanted, telemetry } = opened;
        let (refresh, asked) = mpsc::channel(ASKING);
        let context = Arc::new(settings.context.clone());
        let installs = Installs::new(&settings, vault.clone());
        let actor = Self {
            context,
            vault,
            device,
            fleet: Arc::new(fleet),
            wanted: wanted.into_iter().collect(),
            events,
            reached,
            refresh,
            asked,
            beside: JoinSet::new(),
            fetching: false,
            fetch_again: None,
            roots_asked: None,
            waiting: Vec::new(),
            installs,
            busy: Vec::new(),
            unreported: Unreported::new(telemetry.as_deref()),
            reporting: false,
            unsaved: false,
            heard: None,
            warned: BTreeSet::new(),
            rejected: BTreeSet::new(),
            settings,
        };
        let known = actor.position();
        (actor, known)
    }

    /// Obeys what is known from before. What is here already is wanted, too: it is to be killed like anything else.
    pub(crate) async fn begin(mut self) -> Self {
        let device = self.device.clone();
        match self.on_disk(move || device.apps()).await {
            Some(Ok(here)) => self.wanted.extend(here),
            Some(Err(error)) => self.trouble(&error),
            None => {}
        }
        self.device.obey(&self.orders(&self.fleet));
        self.reached.send_replace(self.position());
        self.keep_time().await;
        self.settle().await;
        // What the last run did not survive was counted just now, and this one may not live long either.
        self.count().await;
        self.keep_unreported().await;
        self
    }

    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, stop: CancellationToken) {
        let every = |period: Duration| {
            let start = tokio::time::Instant::now() + some_of(period);
            let mut interval = tokio::time::interval_at(start, period.max(Duration::from_millis(1)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let mut look = every(self.settings.look_every);
        let mut report = every(self.settings.report_every);
        loop {
            // What comes now and then is first: a registry that never stops talking holds up nothing but what it says.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = look.tick() => {
                    self.look().await;
                    look.reset();
                }
                _ = report.tick() => self.report(None).await,
                Some(done) = self.beside.join_next() => {
                    if let Ok(done) = done {
                        self.finish(done).await;
                    }
                }
                Some(waiting) = self.asked.recv() => self.news(waiting),
                Some(message) = inbox.recv() => self.handle(message).await,
            }
        }
        self.beside.shutdown().await;
        self.count().await;
        self.keep_unreported().await;
    }

    fn tell(&self, event: Event) {
        tracing::debug!(?event, unit = self.context.unit, "updates");
        // Nobody has to listen.
        let _ = self.events.send(event);
    }

    fn trouble(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(%error, "updates");
        self.tell(Event::Trouble { message: error.to_string() });
    }

    fn position(&self) -> Option<Position> {
        self.fleet.position()
    }

    fn orders(&self, fleet: &Arc<Fleet>) -> Arc<Orders> {
        let (context, clock) = (self.context.clone(), self.settings.clock.clone());
        Arc::new(Orders::new(fleet.clone(), context, clock, self.refresh.clone()))
    }

    /// Runs what waits for the disk on a thread for that.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// What is here of an app; nothing where the runtime is shutting down.
    async fn shelf(&self, app: &AppId) -> Result<Option<Shelf>, DataError> {
        let (device, app) = (self.device.clone(), app.clone());
        self.on_disk(move || device.shelf(&app)).await.transpose()
    }

    async fn handle(&mut self, message: Message) {
        match message {
            Message::Stream(event) => self.streamed(event).await,
            Message::Lost(error) => self.trouble(&error),
            Message::Want { app, answer } => {
                let new = self.wanted.insert(app.clone());
                let kept = if new { self.keep_wanted().await } else { Ok(()) };
                if kept.is_err() {
                    self.wanted.remove(&app);
                }
                let _ = answer.send(kept.map_err(Into::into));
                if new {
                    self.fetch_missing();
                    self.settle().await;
                }
            }
            Message::Remove { app, answer } => {
                let was = self.wanted.remove(&app);
                match self.keep_wanted().await {
                    Ok(()) => {
                        self.installs.forget(&app);
                        self.remove(app, Some(answer));
                    }
                    Err(error) => {
                        if was {
                            self.wanted.insert(app);
                        }
                        let _ = answer.send(Err(error.into()));
                    }
                }
            }
            Message::Refresh { answer } => {
                // What has changed here since may be all that there is.
                self.settle().await;
                self.news(answer);
            }
            Message::Import { folder, papers, answer } => {
                self.installs.folder(folder);
                self.take_in(papers).await;
                self.settle().await;
                let _ = answer.send(());
            }
            Message::Status { answer } => {
                let status = self.status().await;
                let _ = answer.send(status.map_err(Into::into));
            }
            Message::Report { answer } => self.report(Some(answer)).await,
        }
    }

    async fn finish(&mut self, done: Done) {
        match done {
            Done::Fetched { wanted, papers, error } => self.fetched(wanted, papers, error).await,
            Done::Installed(installing) => {
                // It was given up too late for what was already being written.
                let left = installing.shelved().filter(|app| !self.wanted.contains(*app)).cloned();
                for event in self.installs.ended(installing) {
                    self.tell(event);
                }
                if let Some(app) = left {
                    self.remove(app, None);
                }
                self.settle().await;
            }
            Done::Switched { app, release, outcome } => {
                self.is_done_with(&app);
                match outcome {
                    Ok(true) => {
                        self.tell(Event::Switched { app, release });
                        // Something else may be decided by now.
                        self.settle().await;
                    }
                    Ok(false) => {}
                    Err(error) => self.trouble(&error),
                }
            }
            Done::Removed { app, outcome, answer } => {
                self.is_done_with(&app);
                if let (Err(error), None) = (&outcome, &answer) {
                    self.trouble(error);
                }
                let _ = answer.map(|answer| answer.send(outcome.map_err(Into::into)));
                // It may be wanted again.
                self.settle().await;
            }
            Done::Reported { batch, outcome, answer } => self.reported(batch, outcome, answer).await,
        }
    }

    async fn keep_wanted(&mut self) -> Result<(), DataError> {
        let (vault, wanted) = (self.vault.clone(), self.wanted.clone());
        let kept = self.on_disk(move || vault.write(APPS, &serde_json::to_vec(&wanted)?)).await;
        kept.unwrap_or(Ok(()))
    }

    /// What changes by time alone, and what failed.
    async fn look(&mut self) {
        self.keep_time().await;
        if self.unsaved {
            self.save().await;
        }
        if !self.unsaved {
            self.device.obey(&self.orders(&self.fleet));
        }
        self.settle().await;
    }

    /// Keeps what time it is, where that is due: a clock that is set back later makes nothing newer.
    async fn keep_time(&mut self) {
        if let Some(fleet) = self.fleet.at((self.settings.clock)()) {
            self.fleet = Arc::new(fleet);
            self.save().await;
        }
    }

    async fn status(&self) -> Result<Status, DataError> {
        let orders = self.orders(&self.fleet);
        let mut apps = BTreeMap::new();
        for app in self.wanted.clone() {
            let Some(shelf) = self.shelf(&app).await? else { continue };
            let decision = orders.decide(&app, shelf.current.as_ref());
            apps.insert(app, AppStatus { decision, shelf });
        }
        Ok(Status {
            head: self.position(),
            age_s: self.fleet.age_s((self.settings.clock)()),
            heard: self.heard.map(|heard| heard.elapsed()),
            unsaved: self.unsaved,
            apps,
        })
    }
}
