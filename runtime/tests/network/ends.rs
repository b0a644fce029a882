//! What is left of a request whose app ends, or loses its permission.

use std::time::Duration;

use miniapp_runtime::rpc::code;
use miniapp_runtime::updates::Device;
use miniapp_runtime::{
    CallError, Decision, Instance, Lookup, NetworkPolicy, Policy, PromptPermissions, Resolve, ResolveFuture,
    Resolver,
};
use mpkg_fleet::{KillId, KillScope, Level};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{head, host, http, method, open_when_free, package, policy, silent, start};
use crate::common::fleet::Registry;
use crate::common::{APP, TestHost, host_with};
use crate::net::{PATIENCE, Reply, Server};

async fn killed(parked: tokio::task::JoinHandle<Result<Value, CallError>>) {
    let error = tokio::time::timeout(PATIENCE, parked).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Stopped { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_no_socket() {
    let server = Server::plain(|seen| match seen.path() {
        "/body" => Reply::Hang(head("Content-Length: 5\r\n")),
        _ => Reply::Hang(Vec::new()),
    })
    .await;
    // One place for the whole host: the next round starts only if the last one gave it back.
    let host = host(NetworkPolicy { requests: 1, ..policy(&[&server]) });
    host.install(package().signed()).await.unwrap();
    let url = |path: &str| json!({ "url": format!("http://a.example.com:{}/{path}", server.port) });
    for (name, path) in [("0network.fetch", "head"), ("0network.fetch", "body"), ("0network.open", "head")] {
        let app = host.launch(APP, "ann").await.unwrap();
        let parked = start(&app, name, url(path));
        server.arrived().await;
        app.kill("test");
        killed(parked).await;
        server.closed().await;
    }
    for parked in [false, true] {
        let app = host.launch(APP, "ann").await.unwrap();
        let opened = open_when_free(&app, url("body")).await;
        server.arrived().await;
        let reading = parked.then(|| start(&app, "0network.read", json!({ "stream": opened["stream"] })));
        if parked {
            // The message is charged once the guest is inside.
            while app.metrics().memory_bytes.is_multiple_of(65536) {
                tokio::task::yield_now().await;
            }
        }
        app.kill("test");
        if let Some(reading) = reading {
            killed(reading).await;
        }
        server.closed().await;
        assert!(app.stop_reason().is_some(), "the instance's name is still held, its sockets are gone");
    }
    let app = host.launch(APP, "ann").await.unwrap();
    open_when_free(&app, url("body")).await;
    drop(app);
    server.closed().await;
    assert!(host.instances().is_empty());
}

/// A resolver, and a server, that never come to an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_works_before_there_is_a_request() {
    struct Never(tokio::sync::mpsc::UnboundedSender<()>);
    impl Resolve for Never {
        fn resolve(&self, lookup: Lookup) -> ResolveFuture {
            let _ = self.0.send(());
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(lookup);
                Ok(Vec::new())
            })
        }
    }
    let (asked, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let network =
        NetworkPolicy { resolver: Resolver::new(Never(asked)), requests: 1, ..NetworkPolicy::default() };
    let lost = host(network);
    lost.install(package().signed()).await.unwrap();
    for _ in 0..3 {
        let app = lost.launch(APP, "ann").await.unwrap();
        let parked = start(&app, "0network.fetch", json!({ "url": "https://a.example.com/" }));
        waiting.recv().await.unwrap();
        app.kill("test");
        killed(parked).await;
    }

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let network = NetworkPolicy { ports: vec![port], ..policy(&[]) };
    let host = host(network);
    let app = host.run(&package()).await;
    let parked = start(&app, "0network.fetch", json!({ "url": format!("https://a.example.com:{port}/") }));
    let (mut socket, _) = listener.accept().await.unwrap();
    let mut hello = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut socket, &mut hello).await.unwrap();
    assert_eq!(hello[0], 22, "a TLS handshake has begun");
    app.kill("test");
    killed(parked).await;
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut rest);
    let _ = tokio::time::timeout(PATIENCE, closed).await.expect("the socket is still open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_taken_back_ends_what_is_under_way() {
    let server = Server::plain(|_| {
        Reply::Forever(head("Content-Length: 500000\r\n"), b"x".to_vec(), Duration::from_millis(5))
    })
    .await;
    let host = host(policy(&[&server]));
    let app = host.run(&package()).await;
    let fetching = start(&app, "0network.fetch", json!({ "url": http(&server) }));
    server.arrived().await;
    host.revoke("ann", APP, "network").unwrap();
    let error = tokio::time::timeout(PATIENCE, fetching).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.into_rpc().data, Some(json!({ "permission": "network", "reason": "revoked" })));
    server.closed().await;
}

async fn denied(parked: tokio::task::JoinHandle<Result<Value, CallError>>, reason: &str) {
    let error = tokio::time::timeout(PATIENCE, parked).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.into_rpc().data, Some(json!({ "permission": "network", "reason": reason })));
}

/// The ways to lose a permission, and to get it back.
#[derive(Clone, Copy, Debug)]
enum Way {
    Revoked,
    Forgotten,
    Killed,
}

struct Taking<'h> {
    host: &'h TestHost,
    way: Way,
    registry: Registry,
    kill: Option<KillId>,
}

impl Taking<'_> {
    fn take(&mut self) {
        match self.way {
            Way::Revoked => self.host.revoke("ann", APP, "network").unwrap(),
            Way::Forgotten => drop(self.host.forget("ann", APP, "network").unwrap()),
            Way::Killed => {
                let network = |scope: &mut KillScope| scope.permission = Some("network".parse().unwrap());
                self.kill = Some(self.registry.kill(Level::Revoke, network));
                self.host.obey(&self.registry.orders());
            }
        }
    }

    fn give_back(&mut self) {
        match self.kill.take() {
            Some(kill) => {
                self.registry.lift(kill);
                self.host.obey(&self.registry.orders());
            }
            None => assert!(self.host.grant("ann", APP, "network").unwrap()),
        }
    }
}

/// Nothing is waited for: no byte of the server's, no reader, no deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_that_is_lost_takes_its_sockets_with_it() {
    let server = silent().await;
    let url = |path: &str| json!({ "url": format!("http://a.example.com:{}/{path}", server.port) });
    for (way, reason) in [(Way::Revoked, "revoked"), (Way::Forgotten, "revoked"), (Way::Killed, "killed")] {
        // One place for the whole host: the next step begins only if the last one gave it back.
        let host = host(NetworkPolicy { requests: 1, ..policy(&[&server]) });
        let app = host.run(&package()).await;
        let mut taking = Taking { host: &host, way, registry: Registry::default(), kill: None };
        open_when_free(&app, url("body")).await;
        server.arrived().await;
        taking.take();
        server.closed().await;
        taking.give_back();

        for (name, path) in
            [("0network.fetch", "head"), ("0network.fetch", "body"), ("0network.open", "head")]
        {
            let parked = start_when_free(&app, name, url(path));
            server.arrived().await;
            taking.take();
            denied(parked, reason).await;
            server.closed().await;
            taking.give_back();
        }

        let opened = open_when_free(&app, url("body")).await;
        server.arrived().await;
        let reading = start(&app, "0network.read", json!({ "stream": opened["stream"] }));
        // The message is charged once the guest is inside.
        while app.metrics().memory_bytes.is_multiple_of(65536) {
            tokio::task::yield_now().await;
        }
        taking.take();
        denied(reading, reason).await;
        server.closed().await;
    }
}

/// The same as [`start`], once there is a place: who loses one loses the socket first.
fn start_when_free(
    app: &Instance,
    method: &'static str,
    params: Value,
) -> tokio::task::JoinHandle<Result<Value, CallError>> {
    let app = app.clone();
    tokio::spawn(async move {
        loop {
            match app.call::<Value>(method, &params).await {
                Err(CallError::Rpc(error)) if error.code == code::BUSY => tokio::task::yield_now().await,
                other => return other,
            }
        }
    })
}

/// An answer to a question that was put under a permission is of no use to who has lost it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_name_sends_nothing_for_a_permission_that_is_lost() {
    struct Slow(mpsc::UnboundedSender<oneshot::Sender<()>>);
    impl Resolve for Slow {
        fn resolve(&self, lookup: Lookup) -> ResolveFuture {
            let (go_on, answer) = oneshot::channel();
            let _ = self.0.send(go_on);
            Box::pin(async move {
                let _ = answer.await;
                drop(lookup);
                Ok(vec!["127.0.0.1".parse().unwrap()])
            })
        }
    }
    let server = Server::plain(|_| Reply::ok("x")).await;
    let (asked, mut waiting) = mpsc::unbounded_channel();
    let resolver = Resolver::new(Slow(asked));
    let host = host(NetworkPolicy { resolver, ..policy(&[&server]) });
    let app = host.run(&package()).await;
    for name in ["0network.fetch", "0network.open"] {
        let parked = start(&app, name, json!({ "url": http(&server) }));
        let go_on = waiting.recv().await.unwrap();
        host.revoke("ann", APP, "network").unwrap();
        // Nobody may be left to hear it.
        let _ = go_on.send(());
        denied(parked, "revoked").await;
        host.grant("ann", APP, "network").unwrap();
    }
    assert!(server.seen().is_empty(), "it was sent");
    assert_eq!(app.metrics().network_sent, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_runs_out_closes_its_streams() {
    let server = silent().await;
    let policy = Policy { network: policy(&[&server]), ..Policy::default() };
    let short = Decision::AllowFor(Duration::from_millis(500));
    let host =
        host_with(|b| b.policy(policy).permissions(PromptPermissions::new(move |_| async move { short })));
    let app = host.run(&package()).await;
    let url = json!({ "url": format!("http://a.example.com:{}/body", server.port) });
    // On a busy machine it may have run out before the answer was there.
    while method(&app, "0network.open", url.clone()).await.is_err() {}
    server.closed().await;
}
