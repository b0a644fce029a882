//! Bridge calls that do not come through a component's import: from an app's own UI, over whatever carries it.
//!
//! A guest makes one call and waits for it; a page makes as many as it likes. So each takes a place among those in
//! flight, is charged to the app from its parameters to its answer, and has its time.

use std::sync::atomic::{AtomicU32, Ordering};

use mpkg_manifest::permission;
use tracing::{Instrument, debug_span};

use crate::bridge::Caller;
use crate::budget::Hold;
use crate::error::CallError;
use crate::instance::Instance;
use crate::limits::Limit;
use crate::link::{Endpoint, no_such};
use crate::nesting::{Waits, bridge};
use crate::page_time::metered;
use crate::rpc::{RpcError, code};
use crate::session::Session;

/// An answer, charged to the app for as long as it is kept.
pub(crate) struct Held {
    pub(crate) text: String,
    pub(crate) hold: Hold,
}

impl Held {
    pub(crate) fn new(session: &Session, text: String) -> Result<Self, RpcError> {
        let hold = session.ledger.hold_aside(text.len());
        let hold = hold.ok_or_else(|| session.no_room("answer"))?;
        Ok(Self { text, hold })
    }
}

/// Who passes a page's call on.
#[derive(Clone, Copy)]
pub(crate) enum By {
    /// The gateway, where all that a connection costs is counted.
    Gateway,
    /// An embedder's own way from its web view.
    Host,
}

/// Calls of one instance that came through here and are not answered yet.
#[derive(Debug, Default)]
pub(crate) struct InFlight(AtomicU32);

struct Place<'f>(&'f InFlight);

impl InFlight {
    /// A place for one more, if there are not `limit` already.
    fn enter(&self, limit: u32) -> Option<Place<'_>> {
        let more = |calls: u32| calls.checked_add(1).filter(|&calls| calls <= limit);
        let entered = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Authorizes and carries out one call of an app, by the method's name alone. Parameters and result are JSON text.
///
/// The gate is the one that the guest's own calls pass: a permission that the app does not have opens nothing here
/// either. When the instance ends the call is dropped where it waits. It keeps no instance alive.
///
/// # Errors
/// What the guest would get; [`code::BUSY`] for one call too many, and while the app is held still;
/// [`code::TIMED_OUT`] for one that takes too long; and [`code::CANCELLED`] once the instance has ended.
pub(crate) async fn dispatch(caller: Caller, method: &str, params: &str, by: By) -> Result<Held, RpcError> {
    let session = &caller.session;
    let answer = carry_out(&caller, method, params, by).await;
    let answer = answer.and_then(|text| Held::new(session, text));
    answer.map_err(|error| error.bounded(session.limits.message_bytes))
}

async fn carry_out(caller: &Caller, method: &str, params: &str, by: By) -> Result<String, RpcError> {
    let session = &*caller.session;
    let limits = &session.limits;
    let bytes = method.len() + params.len();
    if bytes > limits.message_bytes {
        session.metrics.hit(Limit::Message);
        return Err(RpcError::too_large("The message", bytes, limits.message_bytes));
    }
    let endpoint = endpoint(caller, method)?;
    let Some(_place) = session.in_flight.enter(limits.calls_in_flight) else {
        return Err(too_many(session));
    };
    let hold = session.ledger.hold_aside(bytes).ok_or_else(|| session.no_room("message"))?;
    let span = debug_span!(
        "dispatch",
        app = session.identity.app_id,
        version = session.identity.version,
        instance = session.life.id,
        method,
    );
    let answer = async {
        if let Some(answer) = endpoint.begin(caller, params) {
            return answer;
        }
        let authorized = endpoint.authorize(caller).await?;
        if session.life.switch.is_suspended() {
            // Hidden while its user was being asked.
            return Err(suspended(session));
        }
        // What is carried out is charged for its parameters itself.
        drop(hold);
        let answer = bridge(Waits::Page, authorized.carry_out(caller, params.to_owned()));
        // A person who takes time to answer does not count: that was before.
        let answer = tokio::time::timeout(limits.wall_per_call, answer).await;
        answer.unwrap_or_else(|_| Err(too_slow(session)))
    };
    let answer = answer.instrument(span);
    let answer = async {
        match by {
            By::Gateway => answer.await,
            By::Host => metered(|| Some(session), answer).await,
        }
    };
    tokio::select! {
        biased;
        () = session.life.switch.gone.cancelled() => Err(ended(caller)),
        answer = answer => answer,
    }
}

fn endpoint<'c>(caller: &'c Caller, method: &str) -> Result<&'c Endpoint, RpcError> {
    let session = &caller.session;
    if session.life.switch.reason().is_some() {
        return Err(ended(caller));
    }
    if session.life.switch.is_suspended() {
        return Err(suspended(session));
    }
    session.endpoints.get(method).ok_or_else(|| {
        let host_permission = permission::host_permission_for_method(method);
        let interface = match permission::method(method) {
            Some(spec) => Some(spec.interface),
            None => host_permission.as_deref().and_then(permission::interface_for),
        };
        no_such(method, interface.is_none_or(|name| session.endpoints.have_interface(name)))
    })
}

#[cold]
fn ended(caller: &Caller) -> RpcError {
    let reason = caller.session.life.switch.reason().map(ToString::to_string).unwrap_or_default();
    RpcError::new(code::CANCELLED, format!("`{}` has stopped: {reason}.", caller.app_id()))
}

#[cold]
fn suspended(session: &Session) -> RpcError {
    CallError::Suspended { app_id: session.life.app_id.clone() }.into_rpc()
}

#[cold]
fn too_many(session: &Session) -> RpcError {
    session.metrics.hit(Limit::CallsInFlight);
    let message =
        format!("{} calls of this app's page are under way already.", session.limits.calls_in_flight);
    RpcError::new(code::BUSY, message).with_limit(Limit::CallsInFlight)
}

#[cold]
fn too_slow(session: &Session) -> RpcError {
    session.metrics.hit(Limit::Wall);
    let wall = session.limits.wall_per_call.as_millis();
    let message = format!("The call took longer than {wall} ms; what it has begun may still happen.");
    RpcError::new(code::TIMED_OUT, message).with_limit(Limit::Wall)
}

impl Instance {
    /// Carries out a bridge call as the app's own, for its UI in a web view or behind a socket: the same methods, the
    /// same permissions, the same errors. `params` is JSON text, and so is the result.
    ///
    /// As many may be under way as [`Limits::calls_in_flight`](crate::Limits) says, and each may take
    /// [`Limits::wall_per_call`](crate::Limits), a question to the user not counted. What they cost the host in CPU time is
    /// held to [`Limits::cpu_per_second`](crate::Limits), apart from the app's own.
    ///
    /// # Errors
    /// What the component would get; [`code::BUSY`] for one call too many, and while the app is hidden and held still;
    /// [`code::TIMED_OUT`]; and [`code::CANCELLED`] once the instance has ended.
    pub async fn dispatch(&self, method: &str, params: &str) -> Result<String, RpcError> {
        let caller = Caller { session: self.shared.session.clone() };
        dispatch(caller, method, params, By::Host).await.map(|answer| answer.text)
    }

    /// Whether the app may call a method now, as its call would find out: whoever is to be asked is asked.
    ///
    /// # Errors
    /// What the call would get.
    pub async fn authorize(&self, method: &str) -> Result<(), RpcError> {
        let caller = Caller { session: self.shared.session.clone() };
        endpoint(&caller, method)?.authorize(&caller).await.map(|_| ())
    }
}
