//! Calls into an app: one runs at a time, and the others wait for their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use crate::budget::Hold;
use crate::error::CallError;
use crate::guest::Guest;
use crate::heavy::{HeavyThreads, Task, Unstoppable};
use crate::limits::Limit;
use crate::link::WireError;
use crate::nesting::{self, Nested, Within};
use crate::notify::Notification;
use crate::rpc::{RpcError, code};
use crate::session::Session;
use crate::slot::Slot;
use crate::stop::StopReason;
use crate::turn::{Name, Turn};

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
    slot: Slot<Running, Waiter>,
    heavy: Arc<HeavyThreads>,
    /// Set when its figures were handed to its host, once, after its end.
    kept: AtomicBool,
    /// Held while the app is being shown, hidden or unloaded: one change at a time.
    pub(crate) turn: Mutex<()>,
}

/// Who waits for the store, and whether they still want it.
struct Waiter {
    turn: oneshot::Sender<Turn>,
    wanted: CancellationToken,
}

/// The error in a box, since it is large, rare, and handed on several times.
pub(crate) type Outcome = Result<String, Box<CallError>>;

/// A call under way, for whoever awaits its outcome.
pub(crate) struct Call<'c> {
    shared: &'c Arc<Shared>,
    step: Step<'c>,
    /// Answered, it shows that the app works.
    from_outside: bool,
}

impl<'c> Call<'c> {
    pub(crate) fn refused(shared: &'c Arc<Shared>, why: CallError) -> Self {
        Self { shared, step: Step::Refused(Some(Box::new(why))), from_outside: false }
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
            // After a panic there is a reason already.
            this.shared.session.life.stop(StopReason::HostShutdown);
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
    pub(crate) fn new(session: Arc<Session>, running: Running, heavy: Arc<HeavyThreads>) -> Arc<Self> {
        let shared = Arc::new(Self {
            session,
            slot: Slot::new(running),
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

    /// Frees the store of an instance that has ended, if nobody is in it. Who is in it does that when done.
    fn bury(&self) {
        if let Some(running) = self.slot.take() {
            drop(running);
            self.slot.lost();
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
        self.slot.is_idle()
    }

    /// Calls the app's `handle`. Calls queue: one runs at a time.
    ///
    /// Not an `async fn`: most calls are done when they are first polled, and each future around another one shows.
    #[inline]
    pub(crate) fn call<'c>(
        self: &'c Arc<Self>,
        method: &str,
        params: String,
        from_outside: bool,
    ) -> Call<'c> {
        if nesting::is_nested() {
            return self.call_within(method, params, from_outside);
        }
        let step = match self.enter(method.len() + params.len(), from_outside) {
            Ok(Entered::Now(turn)) => {
                let (meter, heavy) = (&self.session.meter, &self.heavy);
                Step::Now(Unstoppable::new(turn.run(method, params), meter, &self.session.runtime, heavy))
            }
            Ok(Entered::Later(waiting)) => {
                Step::Later(Box::pin(self.call_later(waiting, method.to_owned(), params, None)))
            }
            Err(refused) => return Call::refused(self, refused),
        };
        Call { shared: self, step, from_outside }
    }

    /// The same from a bridge that another app's call waits for.
    #[cold]
    fn call_within<'c>(self: &'c Arc<Self>, method: &str, params: String, from_outside: bool) -> Call<'c> {
        let Nested { within, waits } = match nesting::enter(self, from_outside) {
            Ok(nested) => nested,
            Err(refused) => return Call::refused(self, refused.into()),
        };
        let work: Pin<Box<dyn Future<Output = Option<Outcome>> + Send + 'c>> =
            match self.enter(method.len() + params.len(), from_outside) {
                Ok(Entered::Now(turn)) => {
                    let work = turn.run_within(method, params, Some(within));
                    Box::pin(Unstoppable::new(work, &self.session.meter, &self.session.runtime, &self.heavy))
                }
                Ok(Entered::Later(waiting)) => {
                    Box::pin(self.call_later(waiting, method.to_owned(), params, Some(within)))
                }
                Err(refused) => return Call::refused(self, refused),
            };
        let step = Step::Later(Box::pin(async move {
            let _waits = waits;
            work.await
        }));
        Call { shared: self, step, from_outside }
    }

    /// Waits for its turn on a task of its own, which is polled whatever the caller does: one that did not would
    /// otherwise hold up everybody behind it. A caller who goes away before its turn gives it up.
    async fn call_later(
        self: &Arc<Self>,
        waiting: Waiting,
        method: String,
        params: String,
        within: Option<Within>,
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
                Ok(turn) => Task::new(turn.run_within(&method, params, within), meter, heavy).await,
                Err(ended) => Some(Err(Box::new(ended))),
            }
        };
        self.session.runtime.spawn(call).await.ok().flatten()
    }

    /// Gives a call with a message of so many bytes the store, or a place among those that wait for it.
    #[inline]
    fn enter(self: &Arc<Self>, bytes: usize, from_outside: bool) -> Result<Entered, CallError> {
        let limits = &self.session.limits;
        if bytes > limits.message_bytes {
            self.session.metrics.hit(Limit::Message);
            return Err(RpcError::too_large("The message", bytes, limits.message_bytes).into());
        }
        match self.slot.take() {
            Some(running) => Ok(Entered::Now(Turn::new(self.clone(), running))),
            None => self.wait(bytes, from_outside).map(Entered::Later),
        }
    }

    #[cold]
    fn wait(self: &Arc<Self>, bytes: usize, from_outside: bool) -> Result<Waiting, CallError> {
        let session = &self.session;
        if session.life.switch.reason().is_some() {
            return Err(self.stopped());
        }
        // Aside: that it has no room is not why the call that runs might crash.
        let held = session.ledger.hold_aside(bytes).ok_or_else(|| session.no_room("message"))?;
        let (sender, turn) = oneshot::channel();
        let wanted = CancellationToken::new();
        let waiter = Waiter { turn: sender, wanted: wanted.clone() };
        let limit = session.limits.calls_in_flight;
        // What the host itself has to say is not kept out by others' calls.
        let most = if from_outside { usize::try_from(limit).unwrap_or(usize::MAX) } else { usize::MAX };
        if self.slot.wait(waiter, most).is_err() {
            session.metrics.hit(Limit::CallsInFlight);
            let message = format!("{limit} calls are waiting for this app already.");
            return Err(RpcError::new(code::BUSY, message).with_limit(Limit::CallsInFlight).into());
        }
        // It may have become free before that was seen; then it goes to the first who waits.
        if let Some(running) = self.slot.take() {
            self.leave(Some(running), None);
        }
        Ok(Waiting { shared: self.clone(), turn, wanted, _held: held })
    }

    /// Gives the store to the next who waits, or keeps it for one who comes. Without it, nobody is let in any more.
    /// `inside` is the method that was interrupted.
    #[inline]
    pub(crate) fn leave(self: &Arc<Self>, running: Option<Box<Running>>, inside: Option<Name>) {
        let Some(running) = running else { return self.lost(inside) };
        if let Some((running, next)) = self.slot.put(running) {
            // Given to one who went away meanwhile, it is dropped, and so comes back here.
            let _ = next.turn.send(Turn::new(self.clone(), running));
        }
        // A kill that found the store taken, or given to a call that was waiting for it, left it to that call.
        if self.session.life.switch.reason().is_some() {
            self.bury();
        }
    }

    /// The store is gone, and so is the instance.
    #[cold]
    fn lost(&self, inside: Option<Name>) {
        drop(self.slot.lost());
        // Nobody else tells that the instance has ended: a bridge that panicked took the call with it, or the host's
        // runtime was shut down, which is no fault of the app's.
        if self.session.life.switch.reason().is_none() {
            let method = String::from_utf8_lossy(&inside.unwrap_or_default()).into_owned();
            self.session.life.stop(match std::thread::panicking() {
                true => StopReason::Crashed { method, trap: HOST_FAILED.into() },
                false => StopReason::HostShutdown,
            });
        }
        self.close();
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
        self.shared.slot.retain(|waiting| !waiting.turn.is_closed());
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
        self.shared.slot.retain(|waiting| !waiting.wanted.is_cancelled());
    }
}
