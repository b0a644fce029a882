//! A call's turn in the store of its app: what runs in the guest, and what becomes of that.

use std::pin::{Pin, pin};
use std::sync::Arc;

use smallvec::SmallVec;
use tracing::level_filters::LevelFilter;
use tracing::{Instrument, Span, debug_span};

use crate::call::{Outcome, Running, Shared};
use crate::error::CallError;
use crate::heavy::Work;
use crate::limits::Limit;
use crate::link::WireError;
use crate::nesting::Within;
use crate::rpc::{RpcError, code};
use crate::session::Session;
use crate::stop::StopReason;
use crate::supervisor::{Ended, supervise};
use crate::told;
use crate::trap;

/// A method's name, without an allocation for most: it is only needed where something fails.
pub(crate) type Name = SmallVec<[u8; 32]>;

/// A call's turn in the store; dropped, it is the next one's.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    running: Option<Box<Running>>,
    /// The method of the call that the guest is in the middle of. A guest that was interrupted anywhere, by whatever
    /// dropped the call, is never entered again.
    inside: Option<Name>,
}

impl Turn {
    #[inline]
    pub(crate) fn new(shared: Arc<Shared>, running: Box<Running>) -> Self {
        Self { shared, running: Some(running), inside: None }
    }

    /// Runs one call.
    #[inline]
    pub(crate) fn run(self, method: &str, params: String) -> Work<Outcome> {
        let span = span(&self.shared.session, method);
        let (name, told) = (Name::from_slice(method.as_bytes()), method.to_owned());
        match span {
            None => in_box(|| self.call(name, told, params)),
            Some(span) => Box::pin(self.call(name, told, params).instrument(span)),
        }
    }

    /// Runs one call, and lets what it calls know what that is within.
    pub(crate) fn run_within(self, method: &str, params: String, within: Option<Within>) -> Work<Outcome> {
        let work = self.run(method, params);
        match within {
            None => work,
            Some(within) => Box::pin(within.scope(work)),
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
                let running = &mut **running;
                let call = running.handle.call_async(&mut running.store, (told, params));
                let call = pin!(async move { small(call.await) });
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
    #[inline]
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
