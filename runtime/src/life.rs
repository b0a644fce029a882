//! The life of an instance: from the moment its launch begins until its memory is freed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::account::nanos;
use crate::instance::{Instance, Shared};
use crate::metrics::HostMetrics;
use crate::nesting::Waiting;
use crate::stop::StopReason;
use crate::supervisor::KillSwitch;
use crate::ticker::Ticker;
use crate::updates::{Starts, Trial};

/// Where an instance is in its life, in the words of the [W3C MiniApp
/// Lifecycle](https://www.w3.org/TR/miniapp-lifecycle/). The app is told of every change but the last ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Being prepared, asked about, started.
    Launching,
    /// Running, and never shown yet.
    Launched,
    /// In front of the user.
    Shown,
    /// Out of the user's sight, and held still.
    Hidden,
    /// Ended in good order.
    Unloaded,
    /// Ended by a failure of its own.
    Error,
}

impl State {
    const ALL: [Self; 6] =
        [Self::Launching, Self::Launched, Self::Shown, Self::Hidden, Self::Unloaded, Self::Error];

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Launched => "launched",
            Self::Shown => "shown",
            Self::Hidden => "hidden",
            Self::Unloaded => "unloaded",
            Self::Error => "error",
        }
    }
}

/// How long the memory of an instance that has ended is waited for by who needs it: a guest in a bridge that blocks its
/// thread is not gone for as long as that takes.
pub(crate) const BURIED: Duration = Duration::from_secs(5);

pub(crate) struct Life {
    pub(crate) id: u64,
    pub(crate) app_id: String,
    pub(crate) user: String,
    pub(crate) switch: Arc<KillSwitch>,
    /// Which release it runs, and how that comes out.
    pub(crate) trial: Trial,
    /// An index into [`State::ALL`].
    state: AtomicU8,
    began: Instant,
    /// Nanoseconds after `began`.
    last_shown: AtomicU64,
    shared: OnceLock<Weak<Shared>>,
    alive: OnceLock<Weak<Alive>>,
    /// Cancelled when nothing of the instance is left.
    buried: CancellationToken,
    living: Weak<Living>,
}

impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, app_id, user, .. } = self;
        write!(f, "instance {id} of {app_id} for {user:?} ({:?})", self.state())
    }
}

impl Life {
    pub(crate) fn state(&self) -> State {
        match self.switch.reason() {
            Some(reason) if reason.is_failure() => State::Error,
            Some(_) => State::Unloaded,
            None => {
                let at = usize::from(self.state.load(Ordering::Acquire));
                State::ALL.get(at).copied().unwrap_or(State::Launching)
            }
        }
    }

    pub(crate) fn enter(&self, state: State) {
        let at = State::ALL.iter().position(|&s| s == state).unwrap_or(0);
        self.state.store(at as u8, Ordering::Release);
        if state == State::Shown {
            let since = nanos(self.began.elapsed());
            self.last_shown.store(since, Ordering::Relaxed);
        }
    }

    /// When it was last in front of the user, or began if it never was.
    pub(crate) fn last_shown(&self) -> Instant {
        self.began + Duration::from_nanos(self.last_shown.load(Ordering::Relaxed))
    }

    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// What runs, once it does, and while anybody has a handle to it.
    pub(crate) fn instance(&self) -> Option<Instance> {
        Instance::again(self)
    }

    /// All that live on its host.
    pub(crate) fn living(&self) -> Weak<Living> {
        self.living.clone()
    }

    pub(crate) fn alive(&self) -> Option<Arc<Alive>> {
        self.alive.get().and_then(Weak::upgrade)
    }

    /// What runs, once it does, and while any of it is left.
    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.get().and_then(Weak::upgrade)
    }

    pub(crate) fn bind(&self, shared: &Arc<Shared>) {
        // Set once, by the launch.
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// Ends it. True if this call was the one that did it.
    pub(crate) fn stop(&self, reason: StopReason) -> bool {
        let first = self.switch.kill(reason.clone());
        if first {
            tracing::info!(app = %self.app_id, instance = self.id, %reason, "instance stopped");
            if let Some(living) = self.living.upgrade() {
                living.metrics.stopped(&reason);
                living.starts.stopped(self, &reason);
                if reason.is_failure() {
                    living.failures.note(&self.app_id, &self.user, reason.clone());
                }
            }
        }
        if let Some(shared) = self.shared() {
            shared.ended(first.then_some(reason));
        }
        first
    }

    /// Nothing is done any more: hands what was to its host.
    pub(crate) fn over(&self) {
        if let Some(living) = self.living.upgrade() {
            living.metrics.over(self.id);
            living.starts.over(self);
        }
    }

    /// A call of the app was answered.
    #[inline]
    pub(crate) fn answered(&self) {
        if !self.trial.is_answered()
            && let Some(living) = self.living.upgrade()
        {
            living.starts.answered(self);
        }
    }

    /// Records that it has come up, if that is news.
    pub(crate) fn look(&self) {
        if let Some(living) = self.living.upgrade() {
            living.starts.look(self);
        }
    }

    /// Called when nothing of the instance is left.
    pub(crate) fn bury(&self) {
        if let Some(living) = self.living.upgrade() {
            living.remove(self.id);
        }
        self.buried.cancel();
    }

    pub(crate) async fn buried(&self) -> StopReason {
        self.buried.cancelled().await;
        self.switch.reason().cloned().unwrap_or(StopReason::Unloaded)
    }
}

/// What the handles to an instance have in common, and calls do not have: an app that computes, waits for its host or is
/// held still keeps itself alive no longer than somebody wants it.
pub(crate) struct Alive(Arc<Life>);

impl Alive {
    pub(crate) fn new(life: &Arc<Life>) -> Arc<Self> {
        let alive = Arc::new(Self(life.clone()));
        // Set once, by the launch.
        let _ = life.alive.set(Arc::downgrade(&alive));
        alive
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.stop(StopReason::Unloaded);
    }
}

/// Ends one instance, from before it is launched until it is gone. Holding it keeps nothing alive.
#[derive(Debug, Clone)]
pub struct KillHandle(pub(crate) Arc<Life>);

impl KillHandle {
    /// Unique within this host's run; the same as [`Instance::id`].
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The app's id.
    pub fn app_id(&self) -> &str {
        &self.0.app_id
    }

    /// The user it is launched for.
    pub fn user(&self) -> &str {
        &self.0.user
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        self.0.state()
    }

    /// Ends it at once, whatever it is doing: compiling, asking, starting, running, waiting or idle. Never waits.
    /// False if it had ended before.
    ///
    /// A compile cannot be interrupted: the launch is answered at once, and the compile runs to its end in its slot.
    pub fn kill(&self, why: impl Into<String>) -> bool {
        self.0.stop(StopReason::Killed { why: why.into() })
    }

    /// Why it has ended; `None` while it lives.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.0.switch.reason().cloned()
    }

    /// Waits until it has ended and its memory is freed.
    pub async fn stopped(&self) -> StopReason {
        self.0.buried().await
    }
}

/// Ends instances in good order, and waits until nothing of them is left.
pub(crate) async fn unload(lives: Vec<Arc<Life>>, reason: StopReason) {
    let unload = |life: Arc<Life>| {
        let reason = reason.clone();
        async move {
            match life.instance() {
                Some(instance) => instance.unload_because(reason).await,
                None => drop(life.stop(reason)),
            }
            // A launch under way that its owner does not poll is never buried; it has ended all the same.
            let _ = tokio::time::timeout(BURIED, life.buried()).await;
        }
    };
    join_all(lives.into_iter().map(unload)).await;
}

/// All that live on a host.
#[derive(Default)]
pub(crate) struct Living {
    pub(crate) waiting: Waiting,
    pub(crate) starts: Starts,
    pub(crate) failures: Failures,
    pub(crate) metrics: HostMetrics,
    lives: Mutex<HashMap<u64, Arc<Life>>>,
    next: AtomicU64,
    closed: AtomicBool,
}

impl Living {
    /// From now on nothing begins to live.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Whether that is so. To be asked once more of a life that has begun: it is among those that are ended, or sees it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// A new life, unless there are `limit` already.
    pub(crate) fn begin(
        self: &Arc<Self>,
        app_id: &str,
        user: &str,
        ticker: Arc<Ticker>,
        limit: usize,
    ) -> Option<Arc<Life>> {
        let mut lives = self.lock();
        if lives.len() >= limit {
            return None;
        }
        let life = Arc::new(Life {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            app_id: app_id.to_owned(),
            user: user.to_owned(),
            switch: KillSwitch::new(ticker),
            trial: Trial::default(),
            state: AtomicU8::new(0),
            began: Instant::now(),
            last_shown: AtomicU64::new(0),
            shared: OnceLock::new(),
            alive: OnceLock::new(),
            buried: CancellationToken::new(),
            living: Arc::downgrade(self),
        });
        lives.insert(life.id, life.clone());
        Some(life)
    }

    /// Those that have not ended, in the order in which they began.
    pub(crate) fn all(&self) -> Vec<Arc<Life>> {
        let mut all = self.with_memory();
        all.retain(|life| life.switch.reason().is_none());
        all
    }

    /// The same with those that have ended and still have memory.
    pub(crate) fn with_memory(&self) -> Vec<Arc<Life>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_by_key(|life| life.id);
        all
    }

    fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Life>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the last instance of each user's app failed, until the next one is told.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<(String, String), StopReason>>);

/// The most failures remembered; which app forgets its own matters little.
const FAILURES: usize = 4096;

impl Failures {
    pub(crate) fn note(&self, app_id: &str, user: &str, reason: StopReason) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= FAILURES
            && let Some(any) = failures.keys().next().cloned()
        {
            failures.remove(&any);
        }
        failures.insert((app_id.to_owned(), user.to_owned()), reason);
    }

    /// Forgets an app that was removed: another one may come under its name.
    pub(crate) fn forget(&self, app_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(app, _), _| app != app_id);
    }

    pub(crate) fn take(&self, app_id: &str, user: &str) -> Option<StopReason> {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.is_empty() {
            return None;
        }
        failures.remove(&(app_id.to_owned(), user.to_owned()))
    }
}
