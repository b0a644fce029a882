//! Listening, and what every request passes before its handler.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mpkg_fleet::Position;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Access, Secret};
use crate::call::{bearer, idempotency_key};
use crate::failure::{Failure, Refusal};
use crate::linger::{Linger, Watched};
use crate::listeners::{Listener, catch_up};
use crate::registry::Registry;
use crate::routes::{Kind, Route, routes};
use crate::seats::Seat;

/// Bytes of a connection's buffers, which bound its headers too.
const BUFFER: usize = 8 << 10;

/// A registry that answers.
pub struct Running {
    /// Where.
    pub address: SocketAddr,
    registry: Arc<Registry>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops: no new connection, requests that are under way are answered, streams send what was published and end.
    pub async fn stop(self) {
        self.stop.cancel();
        // It ends by itself, and a panic in it has been logged.
        let _ = self.task.await;
        self.registry.close().await;
    }
}

/// Listens, and answers until it is stopped.
pub async fn serve(registry: Arc<Registry>) -> io::Result<Running> {
    let listener = TcpListener::bind(registry.config.listen).await?;
    let (address, stop) = (listener.local_addr()?, CancellationToken::new());
    let task = tokio::spawn(accept(Arc::clone(&registry), listener, stop.clone()));
    Ok(Running { address, registry, stop, task })
}

async fn accept(registry: Arc<Registry>, listener: TcpListener, stop: CancellationToken) {
    let app = router(&registry);
    let places = Arc::new(Semaphore::new(registry.config.connections));
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let run = async {
        loop {
            // Semaphores that nobody closes always give.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            match listener.accept().await {
                Ok((socket, _)) => {
                    let connection =
                        connection(Arc::clone(&registry), app.clone(), socket, place, stop.clone());
                    let cut = cut.clone();
                    connections.spawn(async move { cut.run_until_cancelled(connection).await });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others have to end first.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(run).await;
    drop(listener);
    connections.close();
    if tokio::time::timeout(registry.config.drain, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "connections were cut off");
        cut.cancel();
        connections.wait().await;
    }
}

/// In a response: its connection is that of a listener from now on.
#[derive(Clone)]
pub(crate) struct Follow {
    /// The head that the listener knows.
    pub(crate) known: Option<Position>,
    /// Its place, and the token that it ends with.
    pub(crate) seat: Arc<Seat>,
    /// When that is, as far as is known.
    pub(crate) expires: Option<i64>,
}

/// The beginning of a response whose body ends with the connection. Events say themselves where they end, and nothing
/// else is needed to read them with HTTP/1.0 too, which proxies still speak.
fn beginning(response: &Response) -> Bytes {
    let mut bytes = b"HTTP/1.1 200 OK\r\nconnection: close\r\n".to_vec();
    // That of the empty response that this was until here.
    let length = header::CONTENT_LENGTH;
    for (name, value) in response.headers().iter().filter(|(name, _)| **name != length) {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes.into()
}

async fn connection(
    registry: Arc<Registry>,
    app: Router,
    socket: TcpStream,
    place: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let idle = registry.config.idle;
    let (give, mut taken) = oneshot::channel();
    let (app, give) = (TowerToHyperService::new(app), Arc::new(Mutex::new(Some(give))));
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (follows, give) = (request.method() == Method::GET, Arc::clone(&give));
        let answer = app.call(request);
        async move {
            let mut response = answer.await?;
            let follow = response.extensions_mut().remove::<Follow>().filter(|_| follows);
            let give =
                follow.as_ref().and_then(|_| give.lock().unwrap_or_else(PoisonError::into_inner).take());
            if let (Some(follow), Some(give)) = (follow, give) {
                // The connection is taken away from under this, so nobody waits for it.
                let _ = give.send((beginning(&response), follow));
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http1::Builder::new();
    // Who sends headers slowly, or nothing, holds no connection.
    server.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(BUFFER);
    let mut served = server.serve_connection(TokioIo::new(Linger::new(socket)), service);
    let mut stopping = false;
    let (beginning, follow) = loop {
        tokio::select! {
            result = &mut served => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            Ok(taken) = &mut taken => break taken,
            () = stop.cancelled(), if !stopping => {
                std::pin::Pin::new(&mut served).graceful_shutdown();
                stopping = true;
            }
        }
    };
    let socket = served.into_parts().io.into_inner().into_inner();
    let hub = &registry.hub;
    let (mut missed, next) = hub.begin(follow.known);
    missed.push_front(beginning);
    let listener = Listener::new(hub, socket, next, follow, place);
    tokio::spawn(catch_up(Arc::clone(hub), listener, missed, idle));
}

/// The router: nothing but the routes of the table, each behind its guard.
pub(crate) fn router(registry: &Arc<Registry>) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let Route { method, path, access, kind, handler, .. } = route;
        let guard = Guard { registry: Arc::clone(registry), method, path, access, kind };
        router = router.route(path, handler.layer(middleware::from_fn_with_state(guard, pass)));
    }
    router
        .fallback(|| async { Failure::from(Refusal::NoRoute) })
        .method_not_allowed_fallback(|| async { Failure::from(Refusal::Method) })
        .with_state(Arc::clone(registry))
}

#[derive(Clone)]
struct Guard {
    registry: Arc<Registry>,
    method: &'static str,
    path: &'static str,
    access: Access,
    kind: Kind,
}

async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let (body, ended) = Watched::watch(body);
    let mut request = Request::from_parts(parts, body);
    let mut response = match admit(&guard, &mut request).await {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    let status = response.status().as_u16();
    let took = begun.elapsed();
    guard.registry.metrics.request(guard.method, guard.path, status, took);
    // The route, never the path or a header: what callers write there is theirs, and may be secret.
    tracing::info!(
        method = guard.method,
        route = guard.path,
        status,
        us = took.as_micros() as u64,
        "request"
    );
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !ended.load(Ordering::Relaxed) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn admit(guard: &Guard, request: &mut Request) -> Result<(), Failure> {
    let Guard { registry, access, kind, .. } = guard;
    if let Access::Roles(needed) = access {
        let token = bearer(request.headers()).ok_or(Refusal::NoToken)?;
        let secret = Secret::parse(token).ok_or(Refusal::BadToken)?;
        let caller = registry.caller(&secret).await?;
        // Stops wait for nothing.
        if *kind != Kind::Stop {
            registry.limit(&caller.token)?;
        }
        if !access.admits(&caller.roles) {
            let names: Vec<_> = needed.iter().map(|role| role.name()).collect();
            return Err(Refusal::Role { needed: names.join(" or ") }.into());
        }
        request.extensions_mut().insert(caller);
    }
    request.extensions_mut().insert(*kind);
    if matches!(kind, Kind::Change | Kind::Go | Kind::Stop) && idempotency_key(request.headers()).is_none() {
        return Err(Refusal::NoKey.into());
    }
    if *kind == Kind::Go && !request.headers().contains_key(header::IF_MATCH) {
        return Err(Refusal::NoMatch.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::FutureExt;

    use super::*;
    use crate::change::Change;
    use crate::{Config, Opened};

    /// What a route is says in which order its changes are made.
    #[tokio::test]
    async fn a_kill_overtakes_requests_that_wait() {
        let folder = tempfile::tempdir().unwrap();
        let opened = Registry::open(Config::new(folder.path())).await.unwrap();
        let Opened { registry, first_token } = opened;
        let (token, app) = (first_token.unwrap(), TowerToHyperService::new(router(&registry)));
        let send = |path: &str, key: &str, body: &'static str| {
            let request = axum::http::Request::post(path).header("authorization", format!("Bearer {token}"));
            Box::pin(app.call(request.header("idempotency-key", key).body(Body::from(body)).unwrap()))
        };
        let warn = r#"{ "level": "warn", "scope": {}, "reason": "now" }"#;
        let kill = r#"{ "level": "freeze", "scope": {}, "reason": "now" }"#;
        // From then on it is known whose token it is.
        assert_eq!(send("/v1/kills", "first", warn).await.unwrap().status(), 201);

        let before = Change::own(&registry, "test", Kind::Change).await.unwrap();
        let mut change = send("/v1/tokens", "change", r#"{ "owner": "x", "roles": ["host"] }"#);
        let mut kill = send("/v1/kills", "second", kill);
        for waiting in [&mut change, &mut kill] {
            assert!(waiting.now_or_never().is_none());
        }
        before.commit().await.unwrap();
        assert!(registry.gate.try_lock().is_err(), "it is the change's, which nobody asks for now");
        let killed = tokio::time::timeout(Duration::from_secs(60), kill).await.expect("its turn");
        assert_eq!(killed.unwrap().status(), 201);
        assert_eq!(change.await.unwrap().status(), 201);
        registry.close().await;
    }
}
