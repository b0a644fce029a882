//! The bridge over WebSocket and HTTP, for an app's own user interface in a web view.
//!
//! Full JSON-RPC envelopes by way of jsonrpsee, whose default settings suit a public node and not this: here nobody
//! gets in without the token of one instance, pages of other origins are turned away, and every member of a batch is
//! authorized by itself. What a page may do is what its app may do: the calls go through the same gate.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use futures_util::FutureExt;
use hyper::StatusCode;
use jsonrpsee::ResponsePayload;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceBuilder, RpcServiceT};
use jsonrpsee::server::{
    BatchRequestConfig, BatchResponseBuilder, HttpBody, HttpRequest, HttpResponse, MethodResponse, Methods,
    PingConfig, Server, ServerConfig, StopHandle, serve, stop_channel, ws,
};
use jsonrpsee::types::{ErrorObject, Id, Request};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::call::Shared;
use crate::instance::Instance;
use crate::rpc::{RpcError, code};

/// Members of one batch.
const BATCH: u32 = 16;
/// Connections to one gateway, and to one instance.
const CONNECTIONS: usize = 256;
const CONNECTIONS_EACH: u32 = 8;
/// A WebSocket that does not answer for this long is closed.
const SILENCE: Duration = Duration::from_secs(40);
/// Calls the app itself, with `{"method": …, "params": …}`; all other methods are the bridge's.
const APP_CALL: &str = "app.call";
/// Room around a message for its envelope, in bytes.
const ENVELOPE: usize = 4096;

/// Serves the bridges of instances to their user interfaces. Dropping it closes all connections.
///
/// ```no_run
/// # async fn example(app: miniapp_runtime::Instance) -> std::io::Result<()> {
/// use miniapp_runtime::Gateway;
/// let gateway = Gateway::listen("127.0.0.1:0".parse().unwrap()).await?;
/// let door = gateway.open(&app, "app://com.example.shop");
/// println!("the page connects to {}", door.web_socket());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Gateway {
    inner: Arc<Inner>,
    _closing: DropGuard,
}

struct Inner {
    address: SocketAddr,
    doors: Mutex<HashMap<String, Arc<Behind>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish()
    }
}

/// What lies behind one token.
struct Behind {
    app: Weak<Shared>,
    origin: String,
    connections: AtomicU32,
    closing: CancellationToken,
    /// Ends what jsonrpsee runs for its WebSockets.
    stop: StopHandle,
}

/// The way into one instance. Dropping it closes the way and every connection that came through it.
#[derive(Debug)]
pub struct Door {
    gateway: Weak<Inner>,
    address: SocketAddr,
    token: String,
    closing: CancellationToken,
}

impl Door {
    /// The secret that opens the instance, as `Authorization: Bearer …`. Whoever has it may do what the app may do.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Where a page posts its requests, the token in the path: a web view cannot set headers everywhere.
    pub fn http(&self) -> String {
        format!("http://{}/{}", self.address, self.token)
    }

    /// Where a page opens its WebSocket.
    pub fn web_socket(&self) -> String {
        format!("ws://{}/{}", self.address, self.token)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closing.cancel();
        if let Some(gateway) = self.gateway.upgrade() {
            gateway.lock().remove(&self.token);
        }
    }
}

impl Inner {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Behind>>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Listens at `address`, which should be a loopback address: the connection is not encrypted.
    ///
    /// # Errors
    /// If the address cannot be listened at.
    pub async fn listen(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let inner = Arc::new(Inner { address: listener.local_addr()?, doors: Mutex::default() });
        let closing = CancellationToken::new();
        tokio::spawn(accept(listener, inner.clone(), closing.clone()));
        Ok(Self { inner, _closing: closing.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Opens the way into one instance for pages of `origin`, such as `app://com.example.shop`. It closes when the
    /// instance ends, or when the door is dropped.
    pub fn open(&self, app: &Instance, origin: impl Into<String>) -> Door {
        // A child of the switch: a kill closes the connections at once.
        let closing = app.shared.session.life.switch.gone.child_token();
        let (stop, server) = stop_channel();
        let closed = closing.clone();
        app.shared.runtime.spawn(async move {
            closed.cancelled().await;
            drop(server);
        });
        let behind = Behind {
            app: Arc::downgrade(&app.shared),
            origin: origin.into(),
            connections: AtomicU32::new(0),
            closing: closing.clone(),
            stop,
        };
        let token = token();
        self.inner.lock().insert(token.clone(), Arc::new(behind));
        Door { gateway: Arc::downgrade(&self.inner), address: self.inner.address, token, closing }
    }
}

/// 256 random bits.
fn token() -> String {
    let mut bytes = [0; 32];
    // Without randomness nobody gets in: a token that nobody knows is better than one that can be guessed.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "no randomness for a token");
        return String::new();
    }
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

async fn accept(listener: TcpListener, inner: Arc<Inner>, closing: CancellationToken) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = closing.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                // Out of files, most likely: let others finish before trying again.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = room.clone().try_acquire_owned() else { continue };
        let (inner, closing) = (inner.clone(), closing.clone());
        tokio::spawn(async move {
            let connection = Arc::new(Connection::new(place));
            let service = tower::service_fn({
                let connection = connection.clone();
                move |request| answer(inner.clone(), connection.clone(), request).boxed()
            });
            tokio::select! {
                () = closing.cancelled() => {}
                () = connection.closing() => {}
                served = serve(stream, service) => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a connection ended");
                    }
                }
            }
        });
    }
}

/// A connection belongs to the instance that its first request names. It counts until its WebSocket is closed, if it
/// became one.
struct Connection {
    behind: OnceLock<(String, Arc<Behind>)>,
    entered: Notify,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(place: OwnedSemaphorePermit) -> Self {
        Self { behind: OnceLock::new(), entered: Notify::new(), _place: place }
    }

    /// Makes this a connection of `behind`, unless it is another's.
    fn enter(&self, token: &str, behind: Arc<Behind>) -> Result<(), Refused> {
        match self.behind.get() {
            Some((known, _)) if known == token => Ok(()),
            Some(_) => Err((StatusCode::FORBIDDEN, "This connection is another instance's.")),
            None => {
                if behind.connections.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_EACH {
                    behind.connections.fetch_sub(1, Ordering::AcqRel);
                    return Err((StatusCode::TOO_MANY_REQUESTS, "The instance has too many connections."));
                }
                let _ = self.behind.set((token.to_owned(), behind));
                self.entered.notify_one();
                Ok(())
            }
        }
    }

    /// Waits until the instance behind this connection is closed.
    async fn closing(&self) {
        loop {
            match self.behind.get() {
                Some((_, behind)) => return behind.closing.cancelled().await,
                None => self.entered.notified().await,
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some((_, behind)) = self.behind.get() {
            behind.connections.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

type Refused = (StatusCode, &'static str);

async fn answer(
    inner: Arc<Inner>,
    connection: Arc<Connection>,
    mut request: HttpRequest<hyper::body::Incoming>,
) -> Result<HttpResponse, Infallible> {
    let (shared, behind) = match admit(&inner, &request) {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refusal(refused)),
    };
    let token = token_of(&request).to_owned();
    let stop = behind.stop.clone();
    if let Err(refused) = connection.enter(&token, behind) {
        return Ok(refusal(refused));
    }
    // Not to be seen by what logs requests.
    *request.uri_mut() = hyper::Uri::from_static("/");
    request.headers_mut().remove(hyper::header::AUTHORIZATION);
    let bytes = u32::try_from(shared.session.limits.message_bytes + ENVELOPE).unwrap_or(u32::MAX);
    let config = ServerConfig::builder()
        .max_request_body_size(bytes)
        .max_response_body_size(bytes)
        .set_batch_request_config(BatchRequestConfig::Limit(BATCH))
        .max_subscriptions_per_connection(0)
        .enable_ws_ping(PingConfig::new().ping_interval(SILENCE / 2).inactive_limit(SILENCE))
        .build();
    let limit = usize::try_from(bytes).unwrap_or(usize::MAX);
    let app = Arc::downgrade(&shared);
    let gate = RpcServiceBuilder::new().layer_fn(move |_| Calls { app: app.clone(), limit });
    let builder = Server::builder().set_config(config).set_rpc_middleware(gate).to_service_builder();
    let mut service = builder.build(Methods::new(), stop);
    if ws::is_upgrade_request(&request) {
        // The WebSocket outlives the request.
        let closed = service.on_session_closed();
        tokio::spawn(async move {
            closed.await;
            drop(connection);
        });
    }
    match tower::Service::call(&mut service, request.map(HttpBody::new)).await {
        Ok(response) => Ok(response),
        Err(error) => {
            tracing::warn!(%error, "a request to a bridge failed");
            Ok(refusal((StatusCode::INTERNAL_SERVER_ERROR, "The host failed to answer.")))
        }
    }
}

fn bearer<B>(request: &HttpRequest<B>) -> Option<&str> {
    request.headers().get(hyper::header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn token_of<B>(request: &HttpRequest<B>) -> &str {
    bearer(request).unwrap_or_else(|| request.uri().path().trim_start_matches('/'))
}

/// The instance that a request is for, if it has the right to it.
fn admit<B>(inner: &Inner, request: &HttpRequest<B>) -> Result<(Arc<Shared>, Arc<Behind>), Refused> {
    let unknown = (StatusCode::UNAUTHORIZED, "No instance has this token, or it has ended.");
    let token = token_of(request);
    if token.is_empty() {
        return Err(unknown);
    }
    // Found by hash: how long that takes says nothing about how much of a guess was right.
    let behind = inner.lock().get(token).cloned().ok_or(unknown)?;
    // A page of another origin that got hold of an address must not use it: browsers always say where a WebSocket or
    // a posted request comes from. What is no browser has to show the token in a header.
    match request.headers().get(hyper::header::ORIGIN) {
        Some(origin) if origin.as_bytes() == behind.origin.as_bytes() => {}
        None if bearer(request).is_some() => {}
        _ => return Err((StatusCode::FORBIDDEN, "The instance is not open to this origin.")),
    }
    let shared = behind.app.upgrade().ok_or(unknown)?;
    Ok((shared, behind))
}

fn refusal((status, why): Refused) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(why));
    *response.status_mut() = status;
    response
}

/// Carries out the calls of one connection as the app's own. A connection keeps no app alive.
#[derive(Clone)]
struct Calls {
    app: Weak<Shared>,
    limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppCall {
    method: String,
    #[serde(default)]
    params: Option<Box<RawValue>>,
}

impl Calls {
    async fn carry_out(&self, method: &str, params: &str) -> Result<Box<RawValue>, RpcError> {
        let shared = self.app.upgrade();
        let shared = shared.ok_or_else(|| RpcError::new(code::CANCELLED, "The app has ended."))?;
        let app = Instance { shared };
        let result = if method == APP_CALL {
            let call: AppCall = serde_json::from_str(params)
                .map_err(|e| RpcError::invalid_params(format!("The parameters do not fit: {e}.")))?;
            let params = call.params.as_deref().map_or("{}", RawValue::get);
            app.call_json(&call.method, params).await.map_err(crate::error::CallError::into_rpc)?
        } else {
            app.dispatch(method, params).await?
        };
        RawValue::from_string(result).map_err(|error| {
            tracing::error!(%error, method, "an answer is not JSON");
            RpcError::internal()
        })
    }

    async fn respond(
        &self,
        id: Id<'static>,
        method: String,
        params: Option<Box<RawValue>>,
    ) -> MethodResponse {
        let params = params.as_deref().map_or("{}", RawValue::get);
        match self.carry_out(&method, params).await {
            Ok(result) => MethodResponse::response(id, ResponsePayload::success(result), self.limit),
            Err(RpcError { code, message, data }) => {
                MethodResponse::error(id, ErrorObject::owned(code, message, data))
            }
        }
    }
}

impl RpcServiceT for Calls {
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (this, request) = (self.clone(), owned(request));
        async move {
            let (id, method, params) = request;
            this.respond(id, method, params).await
        }
    }

    // Each member goes through `call`: a guard on single calls alone would be walked around with a batch of one.
    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let mut answers = BatchResponseBuilder::new_with_limit(this.limit);
            for entry in batch {
                let answer = match entry {
                    Ok(BatchEntry::Call(request)) => this.call(request).await,
                    Ok(BatchEntry::Notification(notification)) => {
                        this.notification(notification).await;
                        continue;
                    }
                    Err(error) => {
                        let (error, id) = error.into_parts();
                        MethodResponse::error(id, error)
                    }
                };
                if let Err(too_large) = answers.append(answer) {
                    return too_large;
                }
            }
            if answers.is_empty() {
                return MethodResponse::notification();
            }
            MethodResponse::from_batch(answers.finish())
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let this = self.clone();
        async move {
            let method = notification.method_name().to_owned();
            let params = notification.params.as_ref().map(|params| params.clone().into_owned());
            // Nobody hears of a failure but the metrics and, for a denial, the audit.
            let _ = this.carry_out(&method, params.as_deref().map_or("{}", RawValue::get)).await;
            MethodResponse::notification()
        }
    }
}

fn owned(request: Request<'_>) -> (Id<'static>, String, Option<Box<RawValue>>) {
    let params = request.params.as_ref().map(|params| params.clone().into_owned());
    (request.id.into_owned(), request.method.into_owned(), params)
}
