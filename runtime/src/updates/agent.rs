//! The agent: a handle, and the tasks behind it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mpkg_fleet::{Fleet, Position, RestoreError, StateFile, StateFileError, limits};
use mpkg_manifest::AppId;
use mpkg_registry_client::{Client, ClientError};
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Message};
use super::device::Device;
use super::event::{Event, Paper, Status};
use super::fetch::{bounded, some_of};
use super::settings::Settings;
use super::vault::{APPS, FLEET, TELEMETRY, Vault};
use crate::data::DataError;
use crate::error::InstallError;

/// Messages that wait for the agent. The stream waits when there is no room.
const INBOX: usize = 64;
/// Events that a slow receiver may be behind. There is room for them from the start, in each of many agents.
const EVENTS: usize = 64;

/// Why an agent does not start, or does not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// Its folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// What it knew cannot be read. An agent that began anew would forget its kills.
    #[error("{0}")]
    Restore(#[from] RestoreError),
    /// What it knew is another registry's.
    #[error("the folder holds the state of registry {found}, and this host is to believe {pinned}")]
    Registry {
        /// Whose state it is.
        found: mpkg_package::PublisherId,
        /// Whose it has to be.
        pinned: mpkg_package::PublisherId,
    },
    /// A state file that is none.
    #[error("{0}")]
    StateFile(#[from] StateFileError),
    /// A folder to import from.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An app could not be removed.
    #[error(transparent)]
    Remove(#[from] InstallError),
    /// The agent is shutting down.
    #[error("the agent has been shut down")]
    Gone,
}

impl AgentError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data(_) | Self::Read { .. } | Self::Gone => "MPKG-H01",
            Self::Restore(error) => error.code(),
            Self::Registry { .. } => "MPKG-F31",
            Self::StateFile(error) => error.code(),
            Self::Remove(error) => error.code(),
        }
    }
}

/// Follows a registry for a device: takes in its signed state, obeys kills at once, fetches what is decided, and reports
/// what was counted.
///
/// What it knows survives restarts, and nothing is begun before that is on the disk; only what ends something does not
/// wait. When it is dropped it ends, and the device goes on by the last orders.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use miniapp_runtime::Host;
/// use miniapp_runtime::updates::{Agent, Settings};
/// use mpkg_package::{Root, SecretKey, Trust};
/// # let folder = tempfile::tempdir().unwrap();
/// let host = Host::builder(folder.path()).supervised(true).build().unwrap();
/// let registry = Root::single(&SecretKey::from_seed(&[1; 32]).public());
/// let context = serde_json::from_str(
///     r#"{"unit": "device-1", "platform": "android", "host_version": "3.1.0"}"#,
/// ).unwrap();
/// let settings = Settings::new(Trust::root(&registry).unwrap(), context, folder.path().join("updates"));
/// let agent = Agent::start(settings, host).await.unwrap();
/// agent.want("org.example.app".parse().unwrap()).await.unwrap();
/// assert!(agent.status().await.unwrap().head.is_none()); // without a registry nothing is offered
/// # });
/// ```
#[derive(Debug)]
pub struct Agent {
    inbox: mpsc::Sender<Message>,
    events: broadcast::Sender<Event>,
    reached: watch::Receiver<Option<Position>>,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Agent {
    /// Starts an agent. Orders from before the restart are obeyed when this returns.
    ///
    /// # Errors
    /// [`AgentError`], if its folder cannot be used or what it knew cannot be read.
    pub async fn start<D: Device>(settings: Settings, device: D) -> Result<Self, AgentError> {
        let (folder, durable, trust) = (settings.folder.clone(), settings.durable, settings.trust);
        let opened = tokio::task::spawn_blocking(move || open(&folder, durable, trust)).await;
        let opened = opened.map_err(|_| AgentError::Gone)??;
        let (inbox, messages) = mpsc::channel(INBOX);
        let (events, _) = broadcast::channel(EVENTS);
        let (tell, reached) = watch::channel(None);
        let stop = CancellationToken::new();
        let client = settings.registry.clone();
        let backoff = settings.backoff;
        let look_every = settings.look_every;
        let (actor, first) = Actor::new(settings, opened, Arc::new(device), events.clone(), tell);
        if let Some(client) = client {
            let following = follow(client, backoff, look_every, first, inbox.clone());
            let stopped = stop.clone();
            tokio::spawn(async move { stopped.run_until_cancelled(following).await });
        }
        let actor = actor.begin().await;
        let task = Some(tokio::spawn(actor.run(messages, stop.clone())));
        Ok(Self { inbox, events, reached, stop, task })
    }

    /// Has this app kept here: its release is fetched when the registry offers one, and kept up to date from then on.
    ///
    /// # Errors
    /// [`AgentError`], if that cannot be recorded.
    pub async fn want(&self, app: AppId) -> Result<(), AgentError> {
        self.ask(|answer| Message::Want { app, answer }).await?
    }

    /// Removes an app with its data, and no longer keeps it here.
    ///
    /// # Errors
    /// [`AgentError`], if that cannot be recorded or the app not removed.
    pub async fn remove(&self, app: AppId) -> Result<(), AgentError> {
        self.ask(|answer| Message::Remove { app, answer }).await?
    }

    /// Asks the registry for news now, and waits until they are obeyed. Without a registry it does nothing.
    ///
    /// # Errors
    /// [`AgentError::Gone`].
    pub async fn refresh(&self) -> Result<(), AgentError> {
        self.ask(|answer| Message::Refresh { answer }).await
    }

    /// Takes in what `mpkg fleet export` wrote into this folder: signed state, and packages that are fetched from there
    /// from now on. What it holds counts as if the registry had sent it, which is by its signatures alone.
    ///
    /// # Errors
    /// [`AgentError`], if there is no state file in the folder. Documents in it that are refused are [`Event::Refused`].
    pub async fn import(&self, folder: impl Into<PathBuf>) -> Result<(), AgentError> {
        let folder = folder.into();
        let path = folder.join(StateFile::NAME);
        let bytes = bounded(path.clone(), limits::STATE_FILE).await;
        let file = StateFile::parse(&bytes.map_err(|source| AgentError::Read { path, source })?)?;
        let mut papers = vec![(Paper::Roots, file.roots), (Paper::Head, file.head.into_bytes())];
        papers.extend(file.apps.into_iter().map(|(app, state)| (Paper::State { app }, state.into_bytes())));
        self.ask(|answer| Message::Import { folder, papers, answer }).await
    }

    /// How things stand.
    ///
    /// # Errors
    /// [`AgentError`], if the device's records cannot be read.
    pub async fn status(&self) -> Result<Status, AgentError> {
        self.ask(|answer| Message::Status { answer }).await?
    }

    /// What happens from now on. A receiver that is 64 events behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Waits until what a head at this position says, or a later one, is obeyed.
    ///
    /// # Errors
    /// [`AgentError::Gone`].
    pub async fn reached(&self, at: Position) -> Result<Position, AgentError> {
        let mut reached = self.reached.clone();
        let newest = reached.wait_for(|newest| newest.is_some_and(|newest| newest >= at)).await;
        newest.map_err(|_| AgentError::Gone)?.ok_or(AgentError::Gone)
    }

    /// Sends what was counted until now, without waiting for the next time.
    ///
    /// # Errors
    /// [`AgentError::Gone`].
    pub async fn report(&self) -> Result<(), AgentError> {
        self.ask(|answer| Message::Report { answer }).await
    }

    /// Ends, with what was counted kept for the next start.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, AgentError> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(message(answer)).await.map_err(|_| AgentError::Gone)?;
        answered.await.map_err(|_| AgentError::Gone)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What was found in an agent's folder.
pub(crate) struct Opened {
    pub(crate) vault: Vault,
    pub(crate) fleet: Fleet,
    pub(crate) wanted: Vec<AppId>,
    pub(crate) telemetry: Option<Vec<u8>>,
}

fn open(folder: &std::path::Path, durable: bool, trust: mpkg_package::Trust) -> Result<Opened, AgentError> {
    let vault = Vault::open(folder, durable)?;
    let pinned = trust.publisher_id();
    let fleet = match vault.read(FLEET)? {
        Some(bytes) => Fleet::from_bytes(&bytes)?,
        None => Fleet::new(trust),
    };
    if fleet.registry() != pinned {
        return Err(AgentError::Registry { found: fleet.registry(), pinned });
    }
    let wanted = match vault.read(APPS)? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(DataError::from)?,
        None => Vec::new(),
    };
    let telemetry = vault.read(TELEMETRY)?;
    Ok(Opened { vault, fleet, wanted, telemetry })
}

/// Hands on what a registry streams, for as long as somebody listens. A token that no longer counts may count again:
/// somebody at the registry made a mistake, and ten thousand hosts must not have to be restarted for it.
async fn follow(
    client: Client,
    backoff: mpkg_registry_client::Backoff,
    pause: Duration,
    known: Option<Position>,
    inbox: mpsc::Sender<Message>,
) {
    let mut follower = client.follow(known, backoff);
    loop {
        let message = match follower.next().await {
            Ok(event) => Message::Stream(event),
            Err(error) => {
                let refused = matches!(error, ClientError::Refused { .. });
                if inbox.send(Message::Lost(error)).await.is_err() {
                    return;
                }
                // What is broken in itself is soon there again; who is not let in is not let in a moment later.
                let last = follower.last();
                let wait = if refused { pause + some_of(pause) } else { some_of(backoff.most.min(pause)) };
                tokio::time::sleep(wait).await;
                follower = client.follow(last, backoff);
                continue;
            }
        };
        if inbox.send(message).await.is_err() {
            return;
        }
    }
}
