//! One call into an app, under all its limits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{Instrument, Span, debug_span};
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::error::CallError;
use crate::guest::Guest;
use crate::heavy::{HeavyThreads, Unstoppable, Work};
use crate::limits::Limit;
use crate::link::WireError;
use crate::notify::Notification;
use crate::rpc::{RpcError, code};
use crate::session::Session;
use crate::stop::StopReason;
use crate::supervisor::{Ended, supervise};
use crate::trap;

/// The type of the guest's one export, `handle`.
pub(crate) type HandleFunc = TypedFunc<(Arc<str>, String), (Result<String, WireError>,)>;

/// What a call needs; gone as soon as the instance ends.
pub(crate) struct Running {
    pub(crate) store: Store<Guest>,
    pub(crate) handle: HandleFunc,
}

/// A running instance, shared by its handles.
pub(crate) struct Shared {
    pub(crate) session: Arc<Session>,
    running: Arc<Mutex<Option<Running>>>,
    in_flight: AtomicU32,
    pub(crate) runtime: Handle,
    heavy: Arc<HeavyThreads>,
    /// Set when its figures were handed to its host, once, after its end.
    kept: AtomicBool,
    /// Held while the app is being shown, hidden or unloaded: one change at a time.
    pub(crate) turn: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(
        session: Arc<Session>,
        running: Running,
        runtime: Handle,
        heavy: Arc<HeavyThreads>,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            session,
            running: Arc::new(Mutex::new(Some(running))),
            in_flight: AtomicU32::new(0),
            runtime,
            heavy,
            kept: AtomicBool::new(false),
            turn: Mutex::new(()),
        });
        shared.session.life.bind(&shared);
        shared
    }

    /// Says why the instance ended, if that is news, and frees its memory if it is idle. Else the call that runs in it,
    /// which the switch has interrupted, does.
    pub(crate) fn ended(&self, news: Option<StopReason>) {
        if let Some(reason) = news {
            self.session.notifications.send(Notification::Stopped { reason });
        }
        self.bury();
    }

    /// Frees the store of an instance that has ended, if nobody is in it. Who is in it calls this when done.
    fn bury(&self) {
        if let Ok(mut running) = self.running.try_lock() {
            drop(running.take());
            drop(running);
            self.close();
        }
    }

    fn close(&self) {
        let session = &self.session;
        if !self.kept.swap(true, Ordering::AcqRel) {
            session.local.release();
            session.seat.release();
            session.life.keep(&session.metrics.snapshot(&session.ledger, &session.meter));
        }
        session.life.bury();
    }

    pub(crate) fn stopped(&self) -> CallError {
        let life = &self.session.life;
        let reason = life.switch.reason().cloned().unwrap_or(StopReason::Unloaded);
        CallError::Stopped { app_id: life.app_id.clone(), reason }
    }

    /// True while no call runs or waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    /// Calls the app's `handle`. Calls queue: one runs at a time.
    pub(crate) async fn call(self: &Arc<Self>, method: &str, params: String) -> Result<String, CallError> {
        let session = &self.session;
        let limit = session.limits.message_bytes;
        let bytes = method.len() + params.len();
        if bytes > limit {
            session.metrics.hit(Limit::Message);
            return Err(RpcError::too_large("The message", bytes, limit).into());
        }
        let place = InFlight::enter(self)?;
        let guard = match self.running.clone().try_lock_owned() {
            Ok(guard) => guard,
            Err(_) => tokio::select! {
                biased;
                () = session.life.switch.gone.cancelled() => return Err(self.stopped()),
                guard = self.running.clone().lock_owned() => guard,
            },
        };
        let span = debug_span!(
            "call",
            app = session.identity.app_id,
            version = session.identity.version,
            instance = session.life.id,
            method,
        );
        let call = run_to_end(Turn { guard, place }, method.into(), params, span);
        match Unstoppable::new(call, &session.meter, &self.runtime, &self.heavy).await {
            Some(outcome) => outcome,
            None => {
                session.life.stop(StopReason::Crashed {
                    method: method.to_owned(),
                    trap: "the host failed while it ran".into(),
                });
                Err(self.stopped())
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.session.life.stop(StopReason::Unloaded) {
            self.session.notifications.send(Notification::Stopped { reason: StopReason::Unloaded });
        }
        // Nobody else is left who could be in it.
        self.bury();
    }
}

/// A place among the calls that an instance has in flight.
struct InFlight(Arc<Shared>);

impl InFlight {
    fn enter(shared: &Arc<Shared>) -> Result<Self, CallError> {
        let limit = shared.session.limits.calls_in_flight;
        if shared.in_flight.fetch_add(1, Ordering::AcqRel) >= limit {
            shared.in_flight.fetch_sub(1, Ordering::AcqRel);
            shared.session.metrics.hit(Limit::CallsInFlight);
            let message = format!("{limit} calls are waiting for this app already.");
            return Err(RpcError::new(code::BUSY, message).with_limit(Limit::CallsInFlight).into());
        }
        Ok(Self(shared.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        // A kill that found the store taken, or given to a call that was waiting for it, left it to that call.
        if self.0.session.life.switch.reason().is_some() {
            self.0.bury();
        }
    }
}

/// A call's turn in the store. The guard comes first, and so is dropped first: the place then frees what a kill
/// meanwhile could not.
struct Turn {
    guard: OwnedMutexGuard<Option<Running>>,
    place: InFlight,
}

/// Runs one call. The store is taken out and put back only after a call that ended well, so that a guest that was
/// interrupted anywhere, by whatever dropped this future, is never entered again.
///
/// Not an `async fn`: these keep their arguments twice, and a future of a kilobyte is slow to allocate and to move.
fn run_to_end(
    mut turn: Turn,
    method: Arc<str>,
    params: String,
    span: Span,
) -> Work<Result<String, CallError>> {
    let call = async move {
        // Taken as a whole, for the sake of the order in which its parts are dropped.
        let turn: &mut Turn = &mut turn;
        let (guard, shared) = (&mut turn.guard, &*turn.place.0);
        let session = &shared.session;
        let switch = &session.life.switch;
        let Some(mut running) = guard.take() else { return Err(shared.stopped()) };
        let Some(_hold) = session.ledger.hold(method.len() + params.len()) else {
            **guard = Some(running);
            session.metrics.hit(Limit::Memory);
            let error =
                RpcError::new(code::TOO_LARGE, "The app's memory budget has no room for this message.");
            return Err(error.with_limit(Limit::Memory).into());
        };
        session.ledger.forgive();
        session.meter.start_call();
        running.store.set_epoch_deadline(1);
        let ended = {
            let call = pin!(running.handle.call_async(&mut running.store, (method.clone(), params)));
            supervise(call, switch, &session.meter, session.limits.wall_per_call).await
        };
        let (answer, stop) = match ended {
            Ended::Finished(Ok((answer,))) => (Some(answer), None),
            Ended::Finished(Err(error)) => (None, Some(trap::reason(&error, session, &method))),
            Ended::Killed => (None, None),
            Ended::WallBudget => (
                None,
                Some(StopReason::Wall { method: method.to_string(), limit: session.limits.wall_per_call }),
            ),
        };
        let failed = !matches!(answer, Some(Ok(_)));
        session.metrics.record_call(failed, session.meter.took(answer.is_some()), session.meter.used());
        if failed && !is_unheard(&method, answer.as_ref()) {
            session.metrics.record_failure();
        }
        match answer {
            // A kill that came while the last instructions ran holds all the same.
            Some(answer) if switch.reason().is_none() => {
                **guard = Some(running);
                let limit = session.limits.message_bytes;
                match answer {
                    Ok(text) if text.len() > limit => {
                        session.metrics.hit(Limit::Message);
                        Err(RpcError::too_large("The answer", text.len(), limit).into())
                    }
                    Ok(text) => Ok(text),
                    Err(error) => Err(CallError::Rpc(error.into())),
                }
            }
            _ => {
                drop(running);
                let reason = stop.unwrap_or(StopReason::Unloaded);
                if let Some(limit) = reason.limit() {
                    session.metrics.hit(limit);
                }
                session.life.stop(reason);
                Err(shared.stopped())
            }
        }
    };
    // Most of the time nobody looks, and then a span is not worth its room.
    if span.is_disabled() { Box::pin(call) } else { Box::pin(call.instrument(span)) }
}

/// Whether the app was told of something that it has no handler for: that is no failure of it.
#[cold]
fn is_unheard(method: &str, answer: Option<&Result<String, WireError>>) -> bool {
    method.starts_with("lifecycle.")
        && matches!(answer, Some(Err(error)) if error.code == code::METHOD_NOT_FOUND)
}
