//! The two servers: a registry, and what somebody would write with axum in an afternoon.

use std::convert::Infallible;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use mpkg_registry::{Config, Registry, Role, TokenView, serve};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use crate::common::config;
use crate::process::tell;

pub const REGISTRY: &str = "registry";
pub const PLAIN: &str = "plain";
/// Where a registry has its folder.
pub const FOLDER: &str = "MPKG_BENCH_FOLDER";
/// How many hosts it is to have.
pub const HOSTS: &str = "MPKG_BENCH_HOSTS";

/// Until whoever started this has gone.
async fn wait() {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    read.await.unwrap().unwrap();
}

/// A registry. It tells its address and first token, and has written its hosts' tokens beside its folder by then.
#[tokio::main]
pub async fn registry() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let settings = Config { requests_per_second: u32::MAX, ..config(&folder) };
    let opened = Registry::open(settings).await.unwrap();
    let token = opened.first_token.unwrap();
    let hosts: Vec<_> =
        (0..crate::number(HOSTS, 0)).map(|host| host_token(&format!("device-{host}"))).collect();
    let tokens = opened.registry.make_tokens(&hosts).await.unwrap();
    std::fs::write(folder.with_extension("hosts"), tokens.join("\n")).unwrap();
    let running = serve(opened.registry).await.unwrap();
    tell(&format!("{} {token}", running.address));
    wait().await;
    running.stop().await;
}

fn host_token(owner: &str) -> TokenView {
    TokenView {
        id: String::new(),
        owner: owner.into(),
        roles: [Role::Host].into(),
        apps: Default::default(),
        publishers: Default::default(),
        created: mpkg_package::Time::from_unix(1_767_225_600).unwrap(),
        created_by: "benchmark".into(),
        expires: None,
        revoked: None,
    }
}

type Sender = broadcast::Sender<Arc<str>>;

fn follow(sender: &Sender) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
    let hello = stream::once(async { Ok(Event::default().data("hello")) });
    let events = stream::unfold(sender.subscribe(), |mut receiver| async move {
        let event = receiver.recv().await.ok()?;
        Some((Ok(Event::default().event("kill").data(event.as_ref())), receiver))
    });
    hello.chain(events)
}

/// Server-sent events as axum's documentation does them, over a broadcast channel. Serving is what `axum::serve` does.
#[tokio::main]
pub async fn plain() {
    let sender: Sender = broadcast::Sender::new(256);
    let app = Router::new()
        .route("/v1/stream", get(|State(sender): State<Sender>| async move { Sse::new(follow(&sender)) }))
        .route(
            "/v1/kills",
            post(|State(sender): State<Sender>, body: String| async move {
                for event in body.split(' ') {
                    let _ = sender.send(event.into());
                }
            }),
        )
        .with_state(sender);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell(&format!("{} -", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let app = TowerToHyperService::new(app.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), app));
        }
    });
    wait().await;
}
