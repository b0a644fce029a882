//! An open registry: its folder, keys and what runs beside requests.

use std::fs::{File, TryLockError};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::Clock;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use mpkg_fleet::Position;
use mpkg_package::{PublisherId, RootChain};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit;
use crate::auth::{Caller, Secret};
use crate::callers::Callers;
use crate::change::Change;
use crate::config::Config;
use crate::failure::{Failure, Refusal};
use crate::intake::Intake;
use crate::keys::Keys;
use crate::made::Making;
use crate::metrics::Metrics;
use crate::routes::Kind;
use crate::store::{OpenError, Store, people, retention};
use crate::stream::Hub;
use crate::{gates, intake, listeners, signing};
use mpkg_registry_client::wire::AuditReport;
use mpkg_registry_client::wire::Role;
use mpkg_registry_client::wire::TokenView;

/// Packages that are verified at once; each is in memory, with 64 MiB at most.
const VERIFYING: usize = 2;

/// How often it is looked for what is too old.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);

/// A registry, open.
pub struct Registry {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) keys: Arc<Keys>,
    pub(crate) roots: Arc<RwLock<RootChain>>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) intake: Intake,
    pub(crate) callers: Arc<Callers>,
    pub(crate) metrics: Metrics,
    pub(crate) verifying: Semaphore,
    pub(crate) making: Making,
    /// Held from the beginning of a change until its events are out, so that these come in the order of commits.
    pub(crate) order: Arc<tokio::sync::Mutex<()>>,
    /// Held as long by all but stops, which come to `order` past those that wait here.
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    limiter: DefaultKeyedRateLimiter<String>,
    _lock: Mutex<File>,
}

/// A registry that was just opened.
pub struct Opened {
    /// The registry.
    pub registry: Arc<Registry>,
    /// The first admin's token, on an empty folder. It is nowhere else: show it once.
    pub first_token: Option<String>,
}

impl Registry {
    /// Opens a folder, and makes everything in it that is missing: database, keys, root, first fleet head, first admin.
    pub async fn open(config: Config) -> Result<Opened, OpenError> {
        let folder = &config.folder;
        std::fs::create_dir_all(folder).map_err(OpenError::io(folder))?;
        let lock = lock(folder)?;
        let (keys, roots) = Keys::open(folder)?;
        let store = Store::open(folder).await?;
        let roots = match store.roots().await? {
            Some(database) => keys.settle(roots, database)?,
            None => roots,
        };
        store.keep_roots(&roots).await?;
        let quota = Quota::per_second(NonZeroU32::new(config.requests_per_second).unwrap_or(NonZeroU32::MIN));
        let (intake, batches) = Intake::new();
        let journal = store.journal().await?;
        let registry = Arc::new(Self {
            store,
            keys: Arc::new(keys),
            roots: Arc::new(RwLock::new(roots)),
            hub: Arc::new(Hub::new(config.connections)),
            intake,
            callers: Arc::default(),
            metrics: Metrics::default(),
            verifying: Semaphore::new(VERIFYING),
            making: Making::default(),
            order: Arc::default(),
            gate: Arc::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            limiter: RateLimiter::keyed(quota),
            _lock: Mutex::new(lock),
            config,
        });
        let first_token = registry.first_token().await.map_err(OpenError::First)?;
        registry.first_head().await.map_err(OpenError::First)?;
        tokio::spawn(listeners::send(Arc::clone(&registry.hub), registry.config.idle));
        registry.tasks.spawn(intake::write(Arc::clone(&registry), journal, batches));
        registry.repeat(registry.config.sign_every, signing::again);
        registry.repeat(registry.config.gates_every, gates::look);
        registry.repeat(FORGET_EVERY, retention::forget);
        let heart = Arc::clone(&registry);
        registry.tasks.spawn(async move {
            let mut beat = tokio::time::interval(heart.config.heartbeat_every);
            while heart.stopping.run_until_cancelled(beat.tick()).await.is_some() {
                heart.hub.heartbeat(heart.unix());
                heart.limiter.retain_recent();
            }
        });
        Ok(Opened { registry, first_token })
    }

    /// The id that hosts pin.
    pub fn id(&self) -> PublisherId {
        self.roots().publisher()
    }

    /// The registry's roots.
    pub fn roots(&self) -> RootChain {
        self.roots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where the newest fleet head stands.
    pub fn head(&self) -> Position {
        self.hub.at()
    }

    /// Follows the whole audit log.
    pub async fn verify_audit(&self) -> Result<AuditReport, Failure> {
        let (_turn, mut db) = self.store.read_long().await?;
        Ok(audit::verify(&mut db).await?)
    }

    /// Makes a token as the operator of the machine, who needs none for it.
    pub async fn make_token(&self, view: TokenView) -> Result<String, Failure> {
        let made = self.make_tokens(&[view]).await?;
        made.into_iter().next().ok_or_else(|| Refusal::Internal.into())
    }

    /// Makes several tokens, all or none: a fleet has many hosts, and each has its own.
    pub async fn make_tokens(&self, views: &[TokenView]) -> Result<Vec<String>, Failure> {
        let mut change = Change::own(self, "operator of the machine", Kind::Change).await?;
        let mut made = Vec::with_capacity(views.len());
        for view in views {
            let secret = Secret::generate().map_err(|error| Failure::internal(&error))?;
            people::insert_token(change.db(), &secret, view).await?;
            let detail = serde_json::json!({"owner": view.owner, "roles": view.roles});
            change.audit("token.create", secret.id(), &detail).await?;
            made.push(secret.reveal().to_owned());
        }
        change.commit().await?;
        Ok(made)
    }

    /// Looks at all rollouts now, as it does every so often.
    pub async fn look_at_gates(self: &Arc<Self>) -> Result<(), Failure> {
        gates::look(Arc::clone(self)).await
    }

    /// Signs the fleet head again now, as it does every so often.
    pub async fn sign_again(self: &Arc<Self>) -> Result<(), Failure> {
        signing::again(Arc::clone(self)).await
    }

    /// Forgets telemetry of more than a month ago now, and answers of more than a week, as it does every so often.
    pub async fn forget_telemetry(self: &Arc<Self>) -> Result<(), Failure> {
        retention::forget(Arc::clone(self)).await
    }

    /// Ends what runs beside requests, once no request comes any more: what was received is committed, then what was
    /// published is sent, then streams end.
    pub async fn close(&self) {
        self.stopping.cancel();
        self.intake.close();
        self.tasks.close();
        self.tasks.wait().await;
        self.hub.close();
        if tokio::time::timeout(self.config.drain, self.hub.streams.wait()).await.is_err() {
            tracing::warn!(left = self.hub.listeners(), "streams were cut off");
        }
        self.store.close().await;
    }

    pub(crate) fn limit(&self, token: &str) -> Result<(), Refusal> {
        self.limiter.check_key(&token.to_owned()).map_err(|until| {
            // The limiter's own clock: a new one asks the processor what it is, slowly, and this is what a flood meets.
            let wait = until.wait_time_from(self.limiter.clock().now());
            Refusal::TooMany { seconds: wait.as_secs() + 1 }
        })
    }

    fn repeat<F>(self: &Arc<Self>, every: Duration, what: fn(Arc<Self>) -> F)
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let registry = Arc::clone(self);
        self.tasks.spawn(async move {
            let mut tick = tokio::time::interval(every);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            // The first tick is at once, and opening has just done what there was to do.
            tick.tick().await;
            while registry.stopping.run_until_cancelled(tick.tick()).await.is_some() {
                if let Err(error) = what(Arc::clone(&registry)).await {
                    tracing::error!(%error, "will be tried again");
                }
            }
        });
    }

    async fn first_token(&self) -> Result<Option<String>, Failure> {
        let mut db = self.store.read.acquire().await?;
        if people::any_token(&mut db).await? {
            return Ok(None);
        }
        drop(db);
        let now = self.time()?;
        let view = TokenView {
            id: String::new(),
            owner: "first admin".into(),
            roles: [Role::Admin].into(),
            apps: Default::default(),
            publishers: Default::default(),
            created: now,
            created_by: "first start".into(),
            expires: None,
            revoked: None,
        };
        self.make_token(view).await.map(Some)
    }

    async fn first_head(&self) -> Result<(), Failure> {
        let mut change = Change::own(self, "registry", Kind::Change).await?;
        signing::open(&mut change).await?;
        change.commit().await
    }
}

fn lock(folder: &std::path::Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(OpenError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("folder", &self.config.folder).finish_non_exhaustive()
    }
}

impl Registry {
    /// Who has this token.
    pub(crate) async fn caller(&self, secret: &Secret) -> Result<Caller, Failure> {
        let (hash, now) = (secret.hash(), self.unix());
        let asked = match self.callers.find(hash, now) {
            Ok(caller) => return Ok(caller),
            Err(asked) => asked,
        };
        let mut db = self.store.callers.acquire().await?;
        let caller = people::find_caller(&mut db, secret, now).await?.ok_or(Refusal::BadToken)?;
        self.callers.remember(hash, &caller, asked);
        Ok(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_makes_a_request_is_found_while_all_others_read() {
        let folder = tempfile::tempdir().unwrap();
        let Opened { registry, first_token } = Registry::open(Config::new(folder.path())).await.unwrap();
        let mut reading = Vec::new();
        for _ in 0..registry.store.read.options().get_max_connections() {
            reading.push(registry.store.read.acquire().await.unwrap());
        }
        let secret = Secret::parse(&first_token.unwrap()).unwrap();
        assert_eq!(registry.caller(&secret).await.unwrap().owner, "first admin");
        drop(reading);
        registry.close().await;
    }
}
