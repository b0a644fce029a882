//! One call into an app, under all its limits.

use std::collections::VecDeque;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use smallvec::SmallVec;
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
pub(crate) type HandleFunc = TypedFunc<(String, String), (Result<String, WireError>,)>;

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

/// The error in a box, since it is large, rare, and handed on several times.
type Outcome = Result<String, Box<CallError>>;

/// A call under way, for whoever awaits its outcome.
pub(crate) struct Call<'c> {
    shared: &'c Arc<Shared>,
    method: &'c str,
    step: Step<'c>,
    /// Answered, it shows that the app works.
    from_outside: bool,
}

impl<'c> Call<'c> {
    pub(crate) fn refused(shared: &'c Arc<Shared>, method: &'c str, why: CallError) -> Self {
        Self { shared, method, step: Step::Refused(Some(Box::new(why))), from_outside: false }
    }
}

enum Step<'c> {
    Refused(Option<Box<CallError>>),
    Now(Unstoppable<'c, Outcome>),
    /// Boxed, or every call would have room for what few need.
    Later(Pin<Box<dyn Future<Output = Option<Outcome>> + Send + 'c>>),
}

impl Future for Call<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let outcome = match &mut this.step {
            Step::Refused(refused) => refused.take().map(Err),
            Step::Now(work) => ready!(Pin::new(work).poll(cx)),
            Step::Later(work) => ready!(work.as_mut().poll(cx)),
        };
        if this.from_outside && matches!(outcome, Some(Ok(_))) {
            this.shared.session.life.answered();
        }
        Poll::Ready(outcome.unwrap_or_else(|| {
            let method = this.method.to_owned();
            this.shared.session.life.stop(StopReason::Crashed { method, trap: HOST_FAILED.into() });
            Err(Box::new(this.shared.stopped()))
        }))
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
    ///
    /// Not an `async fn`: most calls are done when they are first polled, and each future around another one shows.
    #[inline]
    pub(crate) fn call<'c>(
        self: &'c Arc<Self>,
        method: &'c str,
        params: String,
        from_outside: bool,
    ) -> Call<'c> {
        let step = match self.enter(method.len() + params.len()) {
            Ok(Entered::Now(turn)) => {
                let (meter, heavy) = (&self.session.meter, &self.heavy);
                Step::Now(Unstoppable::new(turn.run(method, params), meter, &self.runtime, heavy))
            }
            Ok(Entered::Later(waiting)) => {
                Step::Later(Box::pin(self.call_later(waiting, method.to_owned(), params)))
            }
            Err(refused) => return Call::refused(self, method, refused),
        };
        Call { shared: self, method, step, from_outside }
    }

    /// Waits for its turn on a task of its own, which is polled whatever the caller does: one that did not would
    /// otherwise hold up everybody behind it. A caller who goes away before its turn gives it up.
    async fn call_later(
        self: &Arc<Self>,
        waiting: Waiting,
        method: String,
        params: String,
    ) -> Option<Outcome> {
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
                Err(ended) => Some(Err(Box::new(ended))),
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
    fn leave(self: &Arc<Self>, running: Option<Running>, inside: Option<Name>) {
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
                    let method = String::from_utf8_lossy(&inside.unwrap_or_default()).into_owned();
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

/// A method's name, without an allocation for most: it is only needed where something fails.
type Name = SmallVec<[u8; 32]>;

/// A call's turn in the store; dropped, it is the next one's.
struct Turn {
    shared: Arc<Shared>,
    running: Option<Running>,
    /// The method of the call that the guest is in the middle of. A guest that was interrupted anywhere, by whatever
    /// dropped the call, is never entered again.
    inside: Option<Name>,
}

impl Turn {
    fn new(shared: Arc<Shared>, running: Running) -> Self {
        Self { shared, running: Some(running), inside: None }
    }

    /// Runs one call.
    fn run(self, method: &str, params: String) -> Work<Outcome> {
        let span = span(&self.shared.session, method);
        let (name, told) = (Name::from_slice(method.as_bytes()), method.to_owned());
        match span {
            None => in_box(|| self.call(name, told, params)),
            Some(span) => Box::pin(self.call(name, told, params).instrument(span)),
        }
    }

    /// What is large is slow to allocate and to move.
    #[inline(always)]
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
    fn call(mut self, name: Name, told: String, params: String) -> impl Future<Output = Outcome> + Send {
        async move {
            // Taken as a whole, for the sake of the order in which its parts are dropped.
            let turn: &mut Self = &mut self;
            let session = &turn.shared.session;
            let switch = &session.life.switch;
            let Some(running) = &mut turn.running else { return Err(Box::new(turn.shared.stopped())) };
            let hold = session.ledger.hold_call(told.len() + params.len());
            let hold = hold.ok_or_else(|| Box::new(session.no_room("message").into()))?;
            session.ledger.forgive();
            session.meter.start_call();
            running.store.set_epoch_deadline(1);
            turn.inside = Some(name);
            let ended = {
                let call = running.handle.call_async(&mut running.store, (told, params)).map(small);
                let call = pin!(call);
                supervise(call, switch, &session.meter, session.limits.wall_per_call).await
            };
            drop(hold);
            match ended {
                Ended::Finished(Ok(text)) => turn.answered(text),
                Ended::Finished(Err(failed)) => turn.failed(*failed),
                Ended::Killed => turn.failed(Failed::Killed),
                Ended::WallBudget => turn.failed(Failed::Late),
            }
        }
    }

    /// The guest has given a result.
    fn answered(&mut self, text: String) -> Outcome {
        let session = &self.shared.session;
        session.metrics.record_call(false, session.meter.took(true), session.meter.used());
        // A kill that came while the last instructions ran holds all the same.
        if session.life.switch.reason().is_some() {
            return self.over(StopReason::Unloaded);
        }
        self.inside = None;
        let limit = session.limits.message_bytes;
        if text.len() > limit {
            session.metrics.hit(Limit::Message);
            return Err(Box::new(RpcError::too_large("The answer", text.len(), limit).into()));
        }
        Ok(text)
    }

    #[cold]
    fn failed(&mut self, failed: Failed) -> Outcome {
        let session = &self.shared.session;
        let method = &*String::from_utf8_lossy(self.inside.as_deref().unwrap_or_default());
        let is_answer = matches!(failed, Failed::Error(_));
        session.metrics.record_call(true, session.meter.took(is_answer), session.meter.used());
        if !failed.is_unheard(method) {
            session.metrics.record_failure();
        }
        let reason = match failed {
            Failed::Error(error) if session.life.switch.reason().is_none() => {
                let error = error.bounded(session.limits.message_bytes);
                self.inside = None;
                return Err(Box::new(CallError::Rpc(error)));
            }
            Failed::Error(_) | Failed::Killed => StopReason::Unloaded,
            Failed::Trap(error) => trap::reason(&error, session, method),
            Failed::Late => {
                StopReason::Wall { method: method.to_owned(), limit: session.limits.wall_per_call }
            }
        };
        self.over(reason)
    }

    /// Frees the guest, which is never entered again.
    #[cold]
    fn over(&mut self, reason: StopReason) -> Outcome {
        drop(self.running.take());
        self.shared.session.metrics.hit_by(&reason);
        self.shared.session.life.stop(reason);
        Err(Box::new(self.shared.stopped()))
    }
}

/// Why a call gave no result.
enum Failed {
    /// The guest's own error.
    Error(WireError),
    Trap(wasmtime::Error),
    Killed,
    Late,
}

impl Failed {
    /// Whether the app was told of something that it has no handler for: that is no failure of it.
    fn is_unheard(&self, method: &str) -> bool {
        told::is_lifecycle(method)
            && matches!(self, Self::Error(error) if error.code == code::METHOD_NOT_FOUND)
    }
}

/// What a call came to, in few bytes: it is handed on several times, and failures are rare.
fn small(outcome: wasmtime::Result<(Result<String, WireError>,)>) -> Result<String, Box<Failed>> {
    match outcome {
        Ok((Ok(text),)) => Ok(text),
        Ok((Err(error),)) => Err(Box::new(Failed::Error(error))),
        Err(error) => Err(Box::new(Failed::Trap(error))),
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let inside = self.inside.take();
        let running = self.running.take().filter(|_| inside.is_none());
        self.shared.leave(running, inside);
    }
}

/// A future in a box, made in its place.
#[inline(always)]
fn in_box<F: Future<Output = Outcome> + Send + 'static>(make: impl FnOnce() -> F) -> Work<Outcome> {
    let place = Box::<F>::new_uninit();
    let made: Pin<Box<F>> = Box::into_pin(Box::write(place, make()));
    made
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
