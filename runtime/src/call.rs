//! One call into an app, under all its limits.

use std::collections::VecDeque;
use std::mem;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, Span, debug_span};
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::budget::Hold;
use crate::error::CallError;
use crate::guest::Guest;
use crate::heavy::{HeavyThreads, Task, Unstoppable, Work};
use crate::limits::Limit;
use crate::link::WireError;
use crate::notify::Notification;
use crate::rpc::{RpcError, code};
use crate::session::Session;
use crate::stop::StopReason;
use crate::supervisor::{Ended, supervise};
use crate::told;
use crate::trap;

/// Why an instance ends in whose call the host itself failed.
const HOST_FAILED: &str = "the host failed while it ran";

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
    queue: std::sync::Mutex<Queue>,
    pub(crate) runtime: Handle,
    heavy: Arc<HeavyThreads>,
    /// Set when its figures were handed to its host, once, after its end.
    kept: AtomicBool,
    /// Held while the app is being shown, hidden or unloaded: one change at a time.
    pub(crate) turn: Mutex<()>,
}

/// The store of an instance, and who waits for it. One lock for both, since a short call pays for every one it takes.
struct Queue {
    place: Place,
    waiting: VecDeque<Waiter>,
}

/// Who waits for the store, and whether they still want it.
struct Waiter {
    turn: oneshot::Sender<Turn>,
    wanted: CancellationToken,
}

enum Place {
    Idle(Running),
    /// A call has it, which frees it if the instance ends meanwhile.
    Busy,
    /// The instance has ended.
    Gone,
}

impl Queue {
    /// Calls that run or wait.
    fn in_flight(&self) -> usize {
        self.waiting.len() + usize::from(matches!(self.place, Place::Busy))
    }
}

/// How a call comes to its turn.
enum Entered {
    Now(Turn),
    Later(Waiting),
}

impl Shared {
    pub(crate) fn new(
        session: Arc<Session>,
        running: Running,
        runtime: Handle,
        heavy: Arc<HeavyThreads>,
    ) -> Arc<Self> {
        let queue = Queue { place: Place::Idle(running), waiting: VecDeque::new() };
        let shared = Arc::new(Self {
            session,
            queue: std::sync::Mutex::new(queue),
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
        let mut queue = self.queue();
        if !matches!(queue.place, Place::Busy) {
            let place = mem::replace(&mut queue.place, Place::Gone);
            drop(queue);
            drop(place);
            self.close();
        }
    }

    fn close(&self) {
        let session = &self.session;
        if !self.kept.swap(true, Ordering::AcqRel) {
            session.local.release();
            session.seat.release();
            session.life.over();
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
        self.queue().in_flight() == 0
    }

    /// Calls the app's `handle`. Calls queue: one runs at a time.
    pub(crate) async fn call(self: &Arc<Self>, method: &str, params: String) -> Result<String, CallError> {
        let session = &self.session;
        let outcome = match self.enter(method.len() + params.len())? {
            Entered::Now(turn) => {
                let work = turn.run(method, params);
                Unstoppable::new(work, &session.meter, &self.runtime, &self.heavy).await
            }
            // Boxed, or every call would have room for what few need.
            Entered::Later(waiting) => Box::pin(self.call_later(waiting, method.to_owned(), params)).await,
        };
        match outcome {
            Some(outcome) => outcome,
            None => {
                session
                    .life
                    .stop(StopReason::Crashed { method: method.to_owned(), trap: HOST_FAILED.into() });
                Err(self.stopped())
            }
        }
    }

    /// Waits for its turn on a task of its own, which is polled whatever the caller does: one that did not would
    /// otherwise hold up everybody behind it. A caller who goes away before its turn gives it up.
    async fn call_later(
        self: &Arc<Self>,
        waiting: Waiting,
        method: String,
        params: String,
    ) -> Option<Result<String, CallError>> {
        let wanted = waiting.wanted.clone();
        let _caller = WaitingCaller { shared: self, wanted: wanted.clone() };
        let (meter, heavy) = (self.session.meter.clone(), self.heavy.clone());
        let call = async move {
            let turn = tokio::select! {
                biased;
                () = wanted.cancelled() => return None,
                turn = waiting.turn() => turn,
            };
            match turn {
                Ok(turn) => Task::new(turn.run(&method, params), meter, heavy).await,
                Err(ended) => Some(Err(ended)),
            }
        };
        self.runtime.spawn(call).await.ok().flatten()
    }

    /// Gives a call with a message of so many bytes the store, or a place among those that wait for it.
    fn enter(self: &Arc<Self>, bytes: usize) -> Result<Entered, CallError> {
        let limits = &self.session.limits;
        if bytes > limits.message_bytes {
            self.session.metrics.hit(Limit::Message);
            return Err(RpcError::too_large("The message", bytes, limits.message_bytes).into());
        }
        let limit = limits.calls_in_flight;
        let mut queue = self.queue();
        if queue.in_flight() >= usize::try_from(limit).unwrap_or(usize::MAX) {
            drop(queue);
            self.session.metrics.hit(Limit::CallsInFlight);
            let message = format!("{limit} calls are waiting for this app already.");
            return Err(RpcError::new(code::BUSY, message).with_limit(Limit::CallsInFlight).into());
        }
        match mem::replace(&mut queue.place, Place::Busy) {
            Place::Idle(running) => Ok(Entered::Now(Turn::new(self.clone(), running))),
            Place::Busy => {
                let held = self.session.ledger.hold(bytes).ok_or_else(|| self.session.no_room("message"))?;
                let (sender, turn) = oneshot::channel();
                let wanted = CancellationToken::new();
                queue.waiting.push_back(Waiter { turn: sender, wanted: wanted.clone() });
                Ok(Entered::Later(Waiting { shared: self.clone(), turn, wanted, _held: held }))
            }
            Place::Gone => {
                queue.place = Place::Gone;
                Err(self.stopped())
            }
        }
    }

    /// Gives the store to the next who waits, or keeps it for one who comes. Without it, nobody is let in any more.
    /// `inside` is the method that was interrupted.
    fn leave(self: &Arc<Self>, running: Option<Running>, inside: Option<&str>) {
        let mut queue = self.queue();
        match (running, queue.waiting.pop_front()) {
            (Some(running), None) => {
                queue.place = Place::Idle(running);
                drop(queue);
            }
            (Some(running), Some(next)) => {
                drop(queue);
                // Given to one who went away meanwhile, it is dropped, and so comes back here.
                let _ = next.turn.send(Turn::new(self.clone(), running));
            }
            (None, next) => {
                queue.place = Place::Gone;
                let waiting = mem::take(&mut queue.waiting);
                drop(queue);
                drop((next, waiting));
                // A bridge that panicked took the call with it, and nobody else tells that the instance has ended.
                if self.session.life.switch.reason().is_none() {
                    let method = inside.unwrap_or_default().to_owned();
                    self.session.life.stop(StopReason::Crashed { method, trap: HOST_FAILED.into() });
                }
            }
        }
        // A kill that found the store taken, or given to a call that was waiting for it, left it to that call.
        if self.session.life.switch.reason().is_some() {
            self.bury();
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A place among the calls that wait for the store.
struct Waiting {
    shared: Arc<Shared>,
    turn: oneshot::Receiver<Turn>,
    wanted: CancellationToken,
    /// What waits is the app's memory.
    _held: Hold,
}

impl Waiting {
    async fn turn(mut self) -> Result<Turn, CallError> {
        tokio::select! {
            biased;
            () = self.shared.session.life.switch.gone.cancelled() => Err(self.shared.stopped()),
            turn = &mut self.turn => turn.map_err(|_| self.shared.stopped()),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.turn.close();
        self.shared.queue().waiting.retain(|waiting| !waiting.turn.is_closed());
    }
}

/// Who called and waits. Gone, its place is free at once.
struct WaitingCaller<'s> {
    shared: &'s Arc<Shared>,
    wanted: CancellationToken,
}

impl Drop for WaitingCaller<'_> {
    fn drop(&mut self) {
        self.wanted.cancel();
        self.shared.queue().waiting.retain(|waiting| !waiting.wanted.is_cancelled());
    }
}

/// A call's turn in the store; dropped, it is the next one's.
struct Turn {
    shared: Arc<Shared>,
    running: Option<Running>,
    /// The method of the call that the guest is in the middle of. A guest that was interrupted anywhere, by whatever
    /// dropped the call, is never entered again.
    inside: Option<Arc<str>>,
}

impl Turn {
    fn new(shared: Arc<Shared>, running: Running) -> Self {
        Self { shared, running: Some(running), inside: None }
    }

    /// Runs one call.
    ///
    /// Not an `async fn`: these keep their arguments twice, and a future of a kilobyte is slow to allocate and to move.
    fn run(mut self, method: &str, params: String) -> Work<Result<String, CallError>> {
        let span = span(&self.shared.session, method);
        let method = Arc::<str>::from(method);
        let call = async move {
            // Taken as a whole, for the sake of the order in which its parts are dropped.
            let turn: &mut Self = &mut self;
            let session = &turn.shared.session;
            let switch = &session.life.switch;
            let Some(running) = &mut turn.running else { return Err(turn.shared.stopped()) };
            let hold = session.ledger.hold_here(method.len() + params.len());
            let _hold = hold.ok_or_else(|| session.no_room("message"))?;
            session.ledger.forgive();
            session.meter.start_call();
            running.store.set_epoch_deadline(1);
            turn.inside = Some(method.clone());
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
                    Some(StopReason::Wall {
                        method: method.to_string(),
                        limit: session.limits.wall_per_call,
                    }),
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
                    turn.inside = None;
                    let limit = session.limits.message_bytes;
                    match answer {
                        Ok(text) if text.len() > limit => {
                            session.metrics.hit(Limit::Message);
                            Err(RpcError::too_large("The answer", text.len(), limit).into())
                        }
                        Ok(text) => Ok(text),
                        Err(error) => Err(CallError::Rpc(error.bounded(limit))),
                    }
                }
                _ => {
                    drop(turn.running.take());
                    let reason = stop.unwrap_or(StopReason::Unloaded);
                    session.metrics.hit_by(&reason);
                    session.life.stop(reason);
                    Err(turn.shared.stopped())
                }
            }
        };
        match span {
            None => Box::pin(call),
            Some(span) => Box::pin(call.instrument(span)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let inside = self.inside.take();
        let running = self.running.take().filter(|_| inside.is_none());
        self.shared.leave(running, inside.as_deref());
    }
}

/// Most of the time nobody looks, and then a span is not worth its room, nor asking more than once.
fn span(session: &Session, method: &str) -> Option<Span> {
    if LevelFilter::current() < LevelFilter::DEBUG {
        return None;
    }
    let span = debug_span!(
        "call",
        app = session.identity.app_id,
        version = session.identity.version,
        instance = session.life.id,
        method,
    );
    (!span.is_disabled()).then_some(span)
}

/// Whether the app was told of something that it has no handler for: that is no failure of it.
#[cold]
fn is_unheard(method: &str, answer: Option<&Result<String, WireError>>) -> bool {
    told::is_lifecycle(method) && matches!(answer, Some(Err(error)) if error.code == code::METHOD_NOT_FOUND)
}
