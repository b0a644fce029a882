//! A running app: one component instance in a store of its own, for one user.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::error::CallError;
use crate::guest::Guest;
use crate::link::WireError;
use crate::metrics::InstanceMetrics;
use crate::notify::{Notification, Notifications};
use crate::rpc::{self, RpcError, code};
use crate::session::Session;
use crate::stop::StopReason;
use crate::supervisor::{Ended, supervise};
use crate::trap;

/// The type of the guest's one export, `handle`.
pub(crate) type HandleFunc = TypedFunc<(String, String), (Result<String, WireError>,)>;

/// What a call needs; gone as soon as the instance ends.
pub(crate) struct Running {
    pub(crate) store: Store<Guest>,
    pub(crate) handle: HandleFunc,
}

/// Limits on one call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallLimits {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    pub(crate) in_flight: u32,
}

pub(crate) struct Shared {
    pub(crate) session: Arc<Session>,
    running: Arc<Mutex<Option<Running>>>,
    limits: CallLimits,
    in_flight: AtomicU32,
    runtime: Handle,
    /// Cancelled when the store is gone.
    buried: CancellationToken,
}

impl Shared {
    /// Ends the instance with `reason`, unless it has ended already. Its memory is freed now if it is idle, else by
    /// the call that runs in it, which the switch has interrupted.
    pub(crate) fn stop(&self, reason: StopReason) -> bool {
        let first = self.session.switch.kill(reason.clone());
        if first {
            tracing::info!(app = %self.session.identity.app_id, %reason, "instance stopped");
            self.session.notifications.send(Notification::Stopped { reason });
        }
        self.bury();
        first
    }

    /// Frees the store of an instance that has ended, if nobody is in it. Who is in it calls this when done.
    fn bury(&self) {
        if let Ok(mut running) = self.running.try_lock() {
            drop(running.take());
            self.buried.cancel();
        }
    }

    fn stopped(&self) -> CallError {
        let reason = self.session.switch.reason().cloned().unwrap_or(StopReason::Unloaded);
        CallError::Stopped { app_id: self.session.identity.app_id.clone(), reason }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.session.switch.kill(StopReason::Unloaded) {
            self.session.notifications.send(Notification::Stopped { reason: StopReason::Unloaded });
        }
        self.buried.cancel();
    }
}

/// A handle to a running app. Clones are the same instance; when the last one is dropped it ends.
#[derive(Clone)]
pub struct Instance {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shared.session.fmt(f)
    }
}

impl Instance {
    pub(crate) fn new(session: Arc<Session>, running: Running, limits: CallLimits, runtime: Handle) -> Self {
        let shared = Shared {
            session,
            running: Arc::new(Mutex::new(Some(running))),
            limits,
            in_flight: AtomicU32::new(0),
            runtime,
            buried: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Unique within this host's run.
    pub fn id(&self) -> u64 {
        self.shared.session.id
    }

    /// The app's id.
    pub fn app_id(&self) -> &str {
        &self.shared.session.identity.app_id
    }

    /// The user the app runs for.
    pub fn user(&self) -> &str {
        &self.shared.session.identity.user
    }

    /// The app's version, as its manifest names it.
    pub fn version(&self) -> &str {
        &self.shared.session.identity.version
    }

    /// Calls a method of the app with typed parameters and result.
    ///
    /// Calls queue: an instance runs one at a time. Dropping the future does not stop the guest, which runs on to the
    /// call's end or a limit; [`Instance::kill`] does.
    ///
    /// # Errors
    /// [`CallError`]: the app answered with an error, or has stopped, or the answer is not an `R`.
    pub async fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> Result<R, CallError> {
        let params = serde_json::to_string(params)
            .map_err(|e| RpcError::invalid_params(format!("The parameters do not serialize: {e}.")))?;
        let text = self.run(method, params).await?;
        serde_json::from_str(&text).map_err(|error| CallError::BadAnswer { method: method.to_owned(), error })
    }

    /// Calls a method with JSON text and gives its result as JSON text.
    ///
    /// # Errors
    /// As for [`Instance::call`].
    pub async fn call_json(&self, method: &str, params: &str) -> Result<String, CallError> {
        if let Err(e) = serde_json::from_str::<IgnoredAny>(params) {
            return Err(RpcError::invalid_params(format!("The parameters are not JSON: {e}.")).into());
        }
        let text = self.run(method, params.to_owned()).await?;
        match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(CallError::BadAnswer { method: method.to_owned(), error }),
        }
    }

    /// Answers one JSON-RPC 2.0 request text; `None` for a notification.
    pub async fn rpc(&self, request: &str) -> Option<String> {
        let request = match rpc::Request::parse(request) {
            Ok(request) => request,
            Err(error) => return Some(rpc::response(None, Err(&error))),
        };
        let params = request.params.map_or("{}", RawValue::get);
        let outcome = self.call_json(&request.method, params).await;
        let id = request.id?;
        Some(match outcome {
            Ok(result) => rpc::response(Some(id), Ok(&result)),
            Err(error) => rpc::response(Some(id), Err(&error.into_rpc())),
        })
    }

    /// Tells the app something. An app without a handler for it is not disturbed.
    ///
    /// # Errors
    /// As for [`Instance::call`], but never that the method is unknown.
    pub async fn notify(&self, method: &str, params: &impl Serialize) -> Result<(), CallError> {
        match self.call::<IgnoredAny>(method, params).await {
            Ok(_) | Err(CallError::BadAnswer { .. }) => Ok(()),
            Err(CallError::Rpc(error)) if error.code == code::METHOD_NOT_FOUND => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the app tells its host: events, log lines, its end. The first stream asked for begins at the launch, so
    /// that what the app said while it started is in it; others begin now.
    pub fn notifications(&self) -> Notifications {
        self.shared.session.notifications.subscribe()
    }

    /// Ends the app at once, whatever it is doing. Never waits. False if it had ended before.
    ///
    /// The memory is freed when the call that runs in it, if any, has noticed: await [`Instance::stopped`] to see
    /// that.
    pub fn kill(&self, why: impl Into<String>) -> bool {
        self.shared.stop(StopReason::Killed { why: why.into() })
    }

    /// Tells the app that it is unloaded, then ends it.
    pub async fn unload(&self) {
        let _ = self.notify("lifecycle.unloaded", &serde_json::json!({})).await;
        self.shared.stop(StopReason::Unloaded);
    }

    /// Waits until the app has ended and its memory is freed.
    pub async fn stopped(&self) -> StopReason {
        self.shared.buried.cancelled().await;
        self.shared.session.switch.reason().cloned().unwrap_or(StopReason::Unloaded)
    }

    /// Why the app has ended; `None` while it runs.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.shared.session.switch.reason().cloned()
    }

    /// The permissions that are effective now.
    pub fn permissions(&self) -> Vec<String> {
        self.shared.session.permissions.effective_names()
    }

    /// What the app has done and used so far.
    pub fn metrics(&self) -> InstanceMetrics {
        let session = &self.shared.session;
        let ledger = &session.ledger;
        let mut metrics = session.metrics.snapshot(ledger.used(), ledger.peak(), ledger.cap());
        (metrics.inbox_delivered, metrics.inbox_dropped) = session.local.lane.counts();
        metrics
    }

    async fn run(&self, method: &str, params: String) -> Result<String, CallError> {
        let shared = &self.shared;
        let limit = shared.session.message_bytes;
        let bytes = method.len() + params.len();
        if bytes > limit {
            return Err(RpcError::too_large("The message", bytes, limit).into());
        }
        let place = InFlight::enter(shared)?;
        let guard = match shared.running.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => tokio::select! {
                biased;
                () = shared.session.switch.gone.cancelled() => {
                    // The turn may have come to this call just before the kill, which then found somebody there.
                    shared.bury();
                    return Err(shared.stopped());
                }
                guard = shared.running.clone().lock_owned() => guard,
            },
        };
        Unstoppable {
            call: Some(Box::pin(run_to_end(place, guard, method.to_owned(), params))),
            entered: false,
            runtime: &shared.runtime,
        }
        .await
    }
}

/// A place among the calls that an instance has in flight.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn enter(shared: &Arc<Shared>) -> Result<Self, CallError> {
        let limit = shared.limits.in_flight;
        if shared.in_flight.fetch_add(1, Ordering::AcqRel) >= limit {
            shared.in_flight.fetch_sub(1, Ordering::AcqRel);
            let message = format!("{limit} calls are waiting for this app already.");
            return Err(RpcError::new(code::BUSY, message).into());
        }
        Ok(Self(shared.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Runs one call. The store is taken out and put back only after a call that ended well, so that a guest that was
/// interrupted anywhere, by whatever dropped this future, is never entered again.
async fn run_to_end(
    place: InFlight,
    mut guard: OwnedMutexGuard<Option<Running>>,
    method: String,
    params: String,
) -> Result<String, CallError> {
    let shared = &*place.0;
    let session = &shared.session;
    let Some(mut running) = guard.take() else { return Err(shared.stopped()) };
    let Some(_hold) = session.ledger.hold(method.len() + params.len()) else {
        *guard = Some(running);
        let error = RpcError::new(code::TOO_LARGE, "The app's memory budget has no room for this message.");
        return Err(error.into());
    };
    session.ledger.forgive();
    session.meter.start_call(shared.limits.cpu);
    running.store.set_epoch_deadline(1);
    let name = method.clone();
    let started = Instant::now();
    let call = running.handle.call_async(&mut running.store, (method, params));
    let ended = supervise(call, &session.switch, &session.meter, shared.limits.wall).await;
    let (answer, stop) = match ended {
        Ended::Finished(Ok((answer,))) => (Some(answer), None),
        Ended::Finished(Err(error)) => (None, Some(trap::reason(&error, session, &name, shared.limits))),
        Ended::Killed => (None, None),
        Ended::WallBudget => (None, Some(StopReason::Wall { method: name, limit: shared.limits.wall })),
    };
    let failed = !matches!(answer, Some(Ok(_)));
    session.metrics.record_call(failed, started.elapsed(), session.meter.used());
    match answer {
        // A kill that came while the last instructions ran holds all the same.
        Some(answer) if session.switch.reason().is_none() => {
            *guard = Some(running);
            drop(guard);
            // A kill between the check and here found the store taken, and left it to this call.
            if session.switch.reason().is_some() {
                shared.bury();
            }
            let limit = session.message_bytes;
            match answer {
                Ok(text) if text.len() > limit => {
                    Err(RpcError::too_large("The answer", text.len(), limit).into())
                }
                Ok(text) => Ok(text),
                Err(error) => Err(CallError::Rpc(error.into())),
            }
        }
        _ => {
            drop(running);
            drop(guard);
            shared.stop(stop.unwrap_or(StopReason::Unloaded));
            Err(shared.stopped())
        }
    }
}

type Call = Pin<Box<dyn Future<Output = Result<String, CallError>> + Send>>;

/// Awaits a call, and lets it run to its end in the background when the one who awaits goes away: a guest must not
/// be left in the middle of something because a host's request timed out.
struct Unstoppable<'a> {
    call: Option<Call>,
    entered: bool,
    runtime: &'a Handle,
}

impl Future for Unstoppable<'_> {
    type Output = Result<String, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.entered = true;
        let Some(call) = self.call.as_mut() else { return Poll::Pending };
        let polled = call.as_mut().poll(cx);
        if polled.is_ready() {
            self.call = None;
        }
        polled
    }
}

impl Drop for Unstoppable<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.call.take()
            && self.entered
        {
            self.runtime.spawn(call);
        }
    }
}
