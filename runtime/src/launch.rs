//! From an installed app to a running instance.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use mpkg_manifest::AppId;
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use wasmtime::{AsContextMut, PoolConcurrencyLimitError};

use crate::app::App;
use crate::bridge::{BLOCKING, Connections};
use crate::broker::{self, Subject};
use crate::budget::Ledger;
use crate::call::{Running, Shared};
use crate::dispatch::InFlight;
use crate::error::{CallError, LaunchError};
use crate::gateway::CONNECTIONS_EACH;
use crate::guest;
use crate::heavy::Unstoppable;
use crate::host::{Host, Inner};
use crate::instance::Instance;
use crate::life::{KillHandle, Life, State};
use crate::memory::{Fit, Seat, settle};
use crate::meter::Meter;
use crate::metrics::{Metrics, Phase};
use crate::notify::Outbox;
use crate::page_time::PageTime;
use crate::prepare::{ahead, prepare};
use crate::rates::{Rate, Rates};
use crate::rpc::shown;
use crate::session::{Identity, Session};
use crate::stop::StopReason;
use crate::supervisor::{Ended, supervise};
use crate::trap;
use crate::updates::choose;

/// The longest user id, in bytes.
const USER: usize = 128;

/// A launch under way: await it for the instance. Dropping it ends whatever has been started.
#[must_use = "a launch does nothing until it is awaited"]
pub struct Launching {
    life: Arc<Life>,
    outcome: Pin<Box<dyn Future<Output = Result<Instance, LaunchError>> + Send>>,
}

impl std::fmt::Debug for Launching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.life.fmt(f)
    }
}

impl Launching {
    /// Ends the launch wherever it is, and later the instance.
    pub fn kill_handle(&self) -> KillHandle {
        KillHandle(self.life.clone())
    }
}

impl Future for Launching {
    type Output = Result<Instance, LaunchError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.outcome.as_mut().poll(cx)
    }
}

impl Host {
    /// Starts an installed app for a user. Required permissions that nothing is recorded about are asked for first;
    /// the app is told `lifecycle.launched` before this returns.
    ///
    /// # Errors
    /// [`LaunchError`]. Nothing is left running then.
    pub async fn launch(&self, app_id: &str, user: &str) -> Result<Instance, LaunchError> {
        self.begin_launch(app_id, user)?.await
    }

    /// The same, with a handle that can end it before it has ended: while it compiles, asks the user, or starts.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// let launching = host.begin_launch("com.example.shop", "ann").unwrap();
    /// let handle = launching.kill_handle();
    /// assert!(handle.kill("the user went back"));
    /// assert_eq!(launching.await.unwrap_err().code(), "MPKG-H20");
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`LaunchError`], if it cannot even begin.
    pub fn begin_launch(&self, app_id: &str, user: &str) -> Result<Launching, LaunchError> {
        let inner = &self.inner;
        let life =
            begin(inner, app_id, user).inspect_err(|error| inner.living.metrics.refused(error.code()))?;
        let span = info_span!("launch", app = app_id, version = Empty, instance = life.id);
        let outcome = Box::pin(launch(inner.clone(), Birth(life.clone())).instrument(span));
        Ok(Launching { life, outcome })
    }

    /// Whether an instance of an installed app fits into the host's memory now, and what would have to go. Compiles
    /// the app if that has not been done.
    ///
    /// # Errors
    /// [`LaunchError`], as for [`Host::prepare`].
    pub async fn fit(&self, app_id: &str) -> Result<Fit, LaunchError> {
        let app = prepare(&self.inner, ahead(&self.inner, app_id)?).await?;
        Ok(self.inner.fit(&app))
    }
}

fn begin(inner: &Inner, app_id: &str, user: &str) -> Result<Arc<Life>, LaunchError> {
    if user.is_empty() || user.len() > USER {
        return Err(LaunchError::BadUser { bytes: user.len() });
    }
    // What cannot be an app's id is kept out of logs and metrics, whoever passed it on.
    if app_id.parse::<AppId>().is_err() {
        return Err(LaunchError::NotInstalled { app_id: shown(app_id).to_string() });
    }
    let limit = inner.policy.instances;
    let life = inner.living.begin(app_id, user, inner.ticker.clone(), limit);
    let life = life.ok_or(LaunchError::Full { limit })?;
    if inner.living.is_closed() {
        life.stop(StopReason::HostShutdown);
        life.bury();
        return Err(LaunchError::Closing);
    }
    Ok(life)
}

/// A life whose launch has not come to its end. Dropped before that, it takes everything with it.
struct Birth(Arc<Life>);

impl Drop for Birth {
    fn drop(&mut self) {
        if self.0.state() == State::Launching {
            self.0.stop(StopReason::Unloaded);
        }
        // Where there is an instance by now, its own end does this.
        if self.0.switch.reason().is_some() && self.0.shared().is_none() {
            self.0.over();
            self.0.bury();
        }
    }
}

async fn launch(inner: Arc<Inner>, birth: Birth) -> Result<Instance, LaunchError> {
    let launched = bring_up(&inner, &birth).await;
    if let Err(error) = &launched {
        inner.living.metrics.refused(error.code());
        inner.living.starts.refused(&birth.0, error);
    }
    launched
}

async fn bring_up(inner: &Arc<Inner>, birth: &Birth) -> Result<Instance, LaunchError> {
    let life = &birth.0;
    inner.orders.await_first(&life.app_id)?;
    let installed = unless_killed(life, choose(inner, life)).await??;
    Span::current().record("version", installed.version.as_str());
    inner.check_orders(life)?;
    let app = unless_killed(life, prepare(inner, installed)).await??;
    let started = Instant::now();
    let seat = unless_killed(life, inner.admit(&app)).await??;
    let session = session(inner, &app, life, seat)?;
    inner.living.metrics.follow(&session);
    unless_killed(life, broker::ask_required(&session)).await?.map_err(|(permission, denial)| {
        LaunchError::PermissionDenied { app_id: life.app_id.clone(), permission, denial }
    })?;
    inner.living.metrics.phase(Phase::Admit, started.elapsed());
    unless_killed(life, inner.living.starts.begin(inner, life)).await??;
    // Once more: a kill may have come since. One that comes from here on finds this launch and stops it.
    inner.check_orders(life)?;

    let measured = app.is_to_be_measured();
    if measured {
        session.meter.touched.start();
    }
    let started = Instant::now();
    let running = instantiate(inner, &app, &session).await?;
    let shared = Shared::new(session.clone(), running, inner.heavy.clone());
    inner.living.starts.follow(&session);
    let instance = Instance::new(shared);
    inner.living.metrics.phase(Phase::Instantiate, started.elapsed());

    let started = Instant::now();
    // An app that fails to handle the event has been told so in its own log; it is running all the same.
    if let Err(CallError::Stopped { app_id, reason }) = instance.launched().await {
        return Err(LaunchError::Stopped { app_id, reason });
    }
    if measured {
        settle(&app, &session);
    }
    inner.living.starts.launched(life, &inner.runtime);
    inner.living.metrics.phase(Phase::Launched, started.elapsed());
    if let Some(reason) = inner.living.failures.take(&life.app_id, &life.user) {
        let params = json!({ "code": reason.code(), "message": reason.to_string() });
        let _ = instance.notify("lifecycle.error", &params).await;
    }
    life.enter(State::Launched);
    session.local.lane.start(Arc::downgrade(&instance.shared), inner.runtime.clone());
    match life.switch.reason() {
        Some(reason) => Err(stopped(life, reason)),
        None => Ok(instance),
    }
}

impl Inner {
    /// Refuses a launch of what the fleet's orders do not let run.
    fn check_orders(&self, life: &Life) -> Result<(), LaunchError> {
        life.trial.chosen().map_or(Ok(()), |chosen| self.orders.check(&chosen.release))
    }
}

fn stopped(life: &Life, reason: &StopReason) -> LaunchError {
    LaunchError::Stopped { app_id: life.app_id.clone(), reason: reason.clone() }
}

/// `work`, unless the life ends first.
async fn unless_killed<T>(life: &Life, work: impl Future<Output = T>) -> Result<T, LaunchError> {
    if let Some(reason) = life.switch.reason() {
        return Err(stopped(life, reason));
    }
    tokio::select! {
        biased;
        // First, because most of the time it is done at once, and then nobody has to listen for the end. The work may
        // have listened itself: a launch that was killed says so, whatever else became of it.
        done = work => life.switch.reason().map_or(Ok(done), |reason| Err(stopped(life, reason))),
        () = life.switch.gone.cancelled() => {
            let reason = life.switch.reason().cloned().unwrap_or(StopReason::Unloaded);
            Err(stopped(life, &reason))
        }
    }
}

fn session(inner: &Inner, app: &App, life: &Arc<Life>, seat: Arc<Seat>) -> Result<Arc<Session>, LaunchError> {
    let user = life.user.as_str();
    let of = app.installed.namespace(user);
    // Set by then: the release was chosen first.
    let release = life.trial.chosen().map(|chosen| chosen.release.clone()).ok_or(LaunchError::Interrupted)?;
    let subject = Subject { orders: inner.orders.clone(), release };
    let permissions = inner.broker.admit(&of, app.declared.clone(), subject, &inner.policy)?;
    let limits = app.limits;
    let covered = app.declared_memory.load(Ordering::Relaxed);
    let ledger = Ledger::new(limits.memory_bytes, seat.clone(), covered);
    let local = inner.local.join(of, app, life.id, life.switch.clone(), ledger.clone(), permissions.clone());
    Ok(Arc::new(Session {
        life: life.clone(),
        identity: Identity {
            app_id: app.installed.app_id.clone(),
            app_name: app.name.clone(),
            publisher: app.installed.publisher.clone(),
            version: app.installed.version.clone(),
            release_seq: app.installed.release_seq,
            user: user.to_owned(),
        },
        permissions,
        broker: inner.broker.clone(),
        endpoints: app.endpoints.clone(),
        data: inner.data.clone(),
        storage_quota: app.storage_quota,
        limits,
        optimized: app.optimized,
        suspend_hidden: inner.policy.suspend_hidden,
        grace: inner.policy.grace,
        notifications: Outbox::new(inner.policy.notification_queue, ledger.clone()),
        ledger,
        seat,
        meter: Meter::new(limits.cpu_per_call, limits.cpu_per_second),
        local,
        log_rate: Rate::per_second(limits.log_lines_per_second),
        rates: Rates::new(app.rates.clone()),
        disk_rate: OnceLock::new(),
        disk_bytes_per_second: inner.policy.disk_bytes_per_second,
        senses: inner.senses.launched(),
        network: Connections::new(&inner.policy.network),
        connections: Arc::new(Semaphore::new(CONNECTIONS_EACH)),
        page_time: PageTime::new(limits.cpu_per_second),
        in_flight: InFlight::default(),
        runtime: inner.runtime.clone(),
        blocking: Arc::new(Semaphore::new(BLOCKING)),
        metrics: Metrics::new(inner.methods.clone()),
    }))
}

/// Runs the component's start-up code under the same supervision as any call.
async fn instantiate(inner: &Inner, app: &Arc<App>, session: &Arc<Session>) -> Result<Running, LaunchError> {
    let work = Box::pin(start(app.clone(), session.clone(), inner.policy.instances));
    let started = Unstoppable::new(work, &session.meter, &inner.runtime, &inner.heavy).await;
    started.unwrap_or(Err(LaunchError::Interrupted))
}

async fn start(app: Arc<App>, session: Arc<Session>, most: usize) -> Result<Running, LaunchError> {
    const START: &str = "start";
    let switch = &session.life.switch;
    let wall = session.limits.wall_per_call;
    let mut store = guest::store(app.pre.engine(), session.clone());
    session.meter.start_call();
    let ended = {
        let starting = pin!(app.pre.instantiate_async(&mut store));
        supervise(starting, switch, &session.meter, wall).await
    };
    let reason = match ended {
        Ended::Finished(Ok(instance)) => {
            let handle = instance
                .get_func(store.as_context_mut(), app.handle)
                .ok_or_else(|| wasmtime::Error::msg("`handle` is no function"))
                .and_then(|handle| handle.typed(&store));
            match handle {
                Ok(handle) => {
                    session.metrics.count_start(session.meter.used());
                    return Ok(Running { store, handle });
                }
                Err(error) => {
                    let (app_id, reason) = (app.installed.app_id.clone(), format!("{error:#}"));
                    return Err(LaunchError::Unusable { app_id, reason });
                }
            }
        }
        Ended::Finished(Err(error)) if error.is::<PoolConcurrencyLimitError>() => {
            // Some have more memories than most; these leave less for others.
            return Err(LaunchError::Full { limit: most });
        }
        Ended::Finished(Err(error)) => trap::reason(&error, &session, START),
        Ended::Killed => switch.reason().cloned().unwrap_or(StopReason::Unloaded),
        Ended::WallBudget => StopReason::Wall { method: START.into(), limit: wall },
    };
    session.metrics.count_start(session.meter.used());
    session.metrics.hit_by(&reason);
    session.life.stop(reason.clone());
    Err(stopped(&session.life, &reason))
}
