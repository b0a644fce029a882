//! `network`: HTTP requests to the hosts in the signed manifest. Permission `network`.
//!
//! Every request passes the rules in `egress` (its text), `address` and `resolve` (where the name leads), for each
//! redirect anew. `docs/network.md` lists rules and limits for those who write apps or embed the host.

mod address;
mod body;
mod client;
mod egress;
mod error;
mod exchange;
mod policy;
mod resolve;
mod streams;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use hyper::Method;
use hyper::header::{HeaderMap, SET_COOKIE};
use hyper::http::response::Parts;
use mpkg_manifest::{HostPattern, ScopeValue};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Bridge, Caller};
use crate::rpc::{Denial, RpcError};
use crate::session::Session;
use body::{Encoded, Growing, room};
use client::{Client, Opened, Outgoing};
use error::FetchError;
pub use policy::NetworkPolicy;
pub use resolve::{Lookup, Resolve, ResolveFuture, Resolver};
use streams::{Stream, Streams};

const PERMISSION: &str = "network";
/// Bytes in an answer around headers and body: names of members, numbers, punctuation.
const ENVELOPE: usize = 256;
/// What one `network.read` gives at most, and unless it asks for less.
const READ: usize = 64 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_base64: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    stream: u64,
    #[serde(default)]
    max_bytes: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    stream: u64,
}

/// Status, headers and where they came from.
#[derive(Serialize)]
struct Head {
    status: u16,
    headers: BTreeMap<String, String>,
    url: String,
}

#[derive(Serialize)]
struct Fetched {
    #[serde(flatten)]
    head: Head,
    body_base64: Encoded,
}

#[derive(Serialize)]
struct Open {
    #[serde(flatten)]
    head: Head,
    stream: u64,
}

#[derive(Serialize)]
struct Piece {
    body_base64: Encoded,
    done: bool,
}

#[derive(Serialize)]
struct Closed {
    existed: bool,
}

/// What one instance has on the network.
pub(crate) struct Connections {
    places: Arc<Semaphore>,
    streams: Arc<Streams>,
}

impl Connections {
    pub(crate) fn new(policy: &NetworkPolicy) -> Self {
        let places = Arc::new(Semaphore::new(policy.requests_per_instance));
        Self { places, streams: Arc::default() }
    }
}

/// The hosts that the signed manifest lists. A grant that does not cover all of them is not effective at all, so
/// these are the granted ones as well.
fn declared_hosts(session: &Session) -> &[HostPattern] {
    let network = session.permissions.declared().iter().find(|declared| declared.name.as_str() == PERMISSION);
    match network.map(|declared| &declared.scope) {
        Some(ScopeValue::Hosts(hosts)) => hosts,
        _ => &[],
    }
}

/// Asked again wherever a request goes on after waiting: a permission that was taken back ends it.
fn still_allowed(session: &Session) -> Result<(), RpcError> {
    let permissions = &session.permissions;
    match permissions.index_of(PERMISSION).map(|index| permissions.holds(index, None)) {
        Some(held) => held.map_err(denied),
        None => Err(denied(Denial::NotDeclared)),
    }
}

fn denied(denial: Denial) -> RpcError {
    // It was granted when the request began: whoever forgets it, and the time that it was for, take it back.
    let told = if denial == Denial::NotGranted { Denial::Revoked } else { denial };
    RpcError::permission_denied(PERMISSION, told)
}

/// Carries out `work` until the permission is lost, and drops it then wherever it waits: for a name, a connection, or a
/// server that says nothing.
async fn while_allowed<T>(
    session: &Session,
    work: impl Future<Output = Result<T, FetchError>>,
) -> Result<T, FetchError> {
    let Some(index) = session.permissions.index_of(PERMISSION) else {
        return Err(denied(Denial::NotDeclared).into());
    };
    tokio::select! {
        biased;
        denial = session.permissions.lost(index, |_| true) => Err(denied(denial).into()),
        done = work => done,
    }
}

/// Ready when the permission is lost under which a stream is open.
fn taken_back(session: &Session) -> impl Future<Output = ()> + Send + 'static + use<> {
    let permissions = session.permissions.clone();
    async move {
        // While its app is hidden nobody reads it; it waits, as the app does.
        let ends = |denial: Denial| denial != Denial::NotInUse;
        if let Some(index) = permissions.index_of(PERMISSION) {
            permissions.lost(index, ends).await;
        }
    }
}

/// Checks everything but the URL.
fn outgoing(wanted: Wanted, limit: usize) -> Result<Outgoing, FetchError> {
    let method = wanted.method.as_deref().map_or(Ok(Method::GET), egress::method)?;
    let headers = egress::headers(&wanted.headers)?;
    let body = match (wanted.body, wanted.body_base64) {
        (Some(_), Some(_)) => {
            return Err(RpcError::invalid_params("`body` and `body_base64` exclude each other.").into());
        }
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => Some(BASE64.decode(text.as_bytes()).map_err(|error| {
            RpcError::invalid_params(format!("`body_base64` is no base64 with padding: {error}."))
        })?),
        (None, None) => None,
    };
    egress::check_body(&method, body.is_some())?;
    let body = Bytes::from(body.unwrap_or_default());
    if body.len() > limit {
        return Err(RpcError::too_large("The body", body.len(), limit).into());
    }
    Ok(Outgoing { url: wanted.url, method, headers, body })
}

impl Head {
    fn new(parts: &Parts, url: String) -> Self {
        Self { status: parts.status.as_u16(), headers: header_texts(&parts.headers), url }
    }

    /// Bytes of the message that this leaves for the body.
    fn room(&self, message: usize) -> Result<usize, FetchError> {
        let head = serde_json::to_string(self).map_err(|_| RpcError::internal())?.len();
        Ok(room(message, head + ENVELOPE))
    }
}

/// Headers by name in lower case; several of one name are joined as HTTP joins them. Cookies are nobody's here: there
/// is no jar, and apps cannot send any.
fn header_texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::<String, String>::new();
    for (name, value) in headers.iter().filter(|(name, _)| *name != SET_COOKIE) {
        let value = String::from_utf8_lossy(value.as_bytes());
        texts
            .entry(name.as_str().to_owned())
            .and_modify(|text| {
                text.push_str(", ");
                text.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    texts
}

impl Client {
    /// When a request that asks for `timeout_ms` has to be over.
    fn deadline(&self, timeout_ms: Option<u64>) -> Instant {
        let asked = timeout_ms.map_or(Duration::MAX, Duration::from_millis);
        Instant::now() + asked.min(self.policy.timeout)
    }

    async fn fetch(&self, caller: &Caller, wanted: Wanted) -> Result<Fetched, FetchError> {
        let deadline = self.deadline(wanted.timeout_ms);
        let session = &caller.session;
        let fetching = while_allowed(session, self.fetch_whole(session, wanted, deadline));
        tokio::time::timeout_at(deadline, fetching).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn fetch_whole(
        &self,
        session: &Session,
        wanted: Wanted,
        deadline: Instant,
    ) -> Result<Fetched, FetchError> {
        let mut opened = self.send(session, outgoing(wanted, self.policy.request_bytes)?).await?;
        let head = Head::new(&opened.parts, std::mem::take(&mut opened.url));
        let room = head.room(session.limits.message_bytes)?;
        let mut stream = Stream::new(opened, self.policy.response_bytes, deadline)?;
        let long = FetchError::LongMessage { limit: u64::try_from(room).unwrap_or(u64::MAX) };
        if stream.length().is_some_and(|length| usize::try_from(length).map_or(true, |length| length > room))
        {
            return Err(long);
        }
        let mut body = Growing::new(&session.ledger);
        while let Some(piece) = stream.read(usize::MAX, self.policy.idle_timeout).await? {
            still_allowed(session)?;
            session.metrics.count_received(piece.len());
            if body.len() + piece.len() > room {
                return Err(long);
            }
            body.push(&piece)?;
        }
        Ok(Fetched { head, body_base64: body.encoded()? })
    }

    async fn open(&self, caller: &Caller, wanted: Wanted) -> Result<Open, FetchError> {
        let session = &caller.session;
        let deadline = self.deadline(wanted.timeout_ms);
        let sending = async { self.send(session, outgoing(wanted, self.policy.request_bytes)?).await };
        let sending = while_allowed(session, sending);
        let opened: Result<Opened, _> =
            tokio::time::timeout_at(deadline, sending).await.unwrap_or(Err(FetchError::TimedOut));
        let mut opened = opened?;
        still_allowed(session)?;
        let head = Head::new(&opened.parts, std::mem::take(&mut opened.url));
        let deadline = Instant::now() + self.policy.stream_time;
        let stream = Stream::new(opened, self.policy.response_bytes, deadline)?;
        let gone = session.life.switch.gone.clone();
        let stream = session.network.streams.insert(stream, gone, taken_back(session));
        Ok(Open { head, stream })
    }

    async fn read(&self, caller: &Caller, wanted: Read) -> Result<Piece, FetchError> {
        let session = &caller.session;
        let most =
            wanted.max_bytes.unwrap_or(READ).min(READ).min(room(session.limits.message_bytes, ENVELOPE));
        if most == 0 {
            return Err(RpcError::invalid_params("`max_bytes` must be at least 1.").into());
        }
        let mut borrowed = session.network.streams.borrow(wanted.stream)?;
        let stream = borrowed.stream()?;
        let piece = while_allowed(session, stream.read(most, self.policy.idle_timeout)).await?;
        still_allowed(session)?;
        let done = piece.is_none() || stream.is_done();
        let piece = piece.unwrap_or_default();
        session.metrics.count_received(piece.len());
        let body_base64 = Encoded::new(piece, None, &session.ledger)?;
        if !done {
            borrowed.give_back();
        }
        Ok(Piece { body_base64, done })
    }
}

/// The bridge of one host; its instances share a client.
pub(super) fn bridge(policy: &NetworkPolicy) -> Bridge {
    let client = Arc::new(Client::new(policy.clone()));
    let (for_fetch, for_open, for_read) = (client.clone(), client.clone(), client);
    Bridge::new(PERMISSION)
        .method("network.fetch", move |caller, wanted: Wanted| {
            let client = for_fetch.clone();
            async move { Ok(client.fetch(&caller, wanted).await?) }
        })
        .method("network.open", move |caller, wanted: Wanted| {
            let client = for_open.clone();
            async move { Ok(client.open(&caller, wanted).await?) }
        })
        .method("network.read", move |caller, wanted: Read| {
            let client = for_read.clone();
            async move { Ok(client.read(&caller, wanted).await?) }
        })
        .immediate("network.close", |caller, Close { stream }: Close| {
            Ok(Closed { existed: caller.session.network.streams.close(stream) })
        })
}
