//! The `network` bridge, as a guest meets it: answers, streams, caps, and what is left behind when it ends.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod net;

use std::time::Duration;

use common::fleet::Registry;
use common::{APP, Package, TestHost, call, host_with};
use data_encoding::BASE64;
use miniapp_runtime::rpc::code;
use miniapp_runtime::updates::Device;
use miniapp_runtime::{
    CallError, Decision, Instance, Lookup, NetworkPolicy, Policy, PromptPermissions, Resolve, ResolveFuture,
    Resolver, StaticPermissions,
};
use mpkg_fleet::{KillId, KillScope, Level};
use net::{Names, PATIENCE, Reply, Server};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

fn host(network: NetworkPolicy) -> TestHost {
    let policy = Policy { network, ..Policy::default() };
    host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()))
}

fn package() -> Package {
    Package { mpkg: json!({ "network": { "allow": ["*.example.com"] } }), ..Package::with(&["network"]) }
}

/// A policy under which `a.example.com` and `b.example.com` are these servers.
fn policy(servers: &[&Server]) -> NetworkPolicy {
    let names = Names::default();
    for name in ["a.example.com", "b.example.com"] {
        names.set(name, [vec!["127.0.0.1".parse().unwrap()]]);
    }
    net::policy(&names, &servers.iter().map(|server| server.port).collect::<Vec<_>>())
}

fn http(server: &Server) -> String {
    format!("http://a.example.com:{}/x", server.port)
}

async fn fetch(app: &Instance, params: Value) -> Result<Value, (i32, Value)> {
    method(app, "0network.fetch", params).await
}

async fn method(app: &Instance, method: &str, params: Value) -> Result<Value, (i32, Value)> {
    match app.call::<Value>(method, &params).await {
        Ok(answer) => Ok(answer),
        Err(CallError::Rpc(error)) => Err((error.code, error.data.unwrap_or_default())),
        Err(error) => panic!("{error}"),
    }
}

fn bytes(answer: &Value) -> Vec<u8> {
    BASE64.decode(answer["body_base64"].as_str().unwrap().as_bytes()).unwrap()
}

fn head(rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{rest}\r\n").into_bytes()
}

fn start(
    app: &Instance,
    method: &'static str,
    params: Value,
) -> tokio::task::JoinHandle<Result<Value, CallError>> {
    let app = app.clone();
    tokio::spawn(async move { app.call::<Value>(method, &params).await })
}

async fn killed(parked: tokio::task::JoinHandle<Result<Value, CallError>>) {
    let error = tokio::time::timeout(PATIENCE, parked).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, CallError::Stopped { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_comes_whole() {
    let server = Server::tls(|seen| match seen.path() {
        "/missing" => Reply::Bytes(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        _ => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nSet-Cookie: s=1\r\nContent-Type: x/y\r\nContent-Length: 3\r\n\r\n\xff\0a"
                .to_vec(),
        ),
    })
    .await;
    let host = host(policy(&[&server]));
    let app = host.run(&package()).await;
    let url = format!("https://a.example.com:{}/x", server.port);
    let params = json!({ "url": format!("{url}#top"), "method": "POST", "body_base64": "AP8=" });
    let answer = fetch(&app, params).await.unwrap();
    let headers = json!({ "x-a": "1, 2", "content-type": "x/y", "content-length": "3" });
    assert_eq!(answer, json!({ "status": 200, "headers": headers, "url": url, "body_base64": "/wBh" }));
    assert_eq!(server.seen()[0].body, [0, 255]);
    let missing = json!({ "url": format!("https://a.example.com:{}/missing", server.port) });
    assert_eq!(fetch(&app, missing).await.unwrap()["status"], 404, "a status is an answer");
    let metrics = app.metrics();
    assert_eq!((metrics.network_sent, metrics.network_received), (2, 5));
    let head = json!({ "url": url, "method": "HEAD" });
    assert_eq!(bytes(&fetch(&app, head).await.unwrap()), b"");
}

#[tokio::test]
async fn params_that_do_not_fit_are_told_apart() {
    let host = host(NetworkPolicy::default());
    let app = host.run(&package()).await;
    let url = "https://a.example.com/";
    for params in [
        json!({}),
        json!({ "url": 1 }),
        json!({ "url": url, "body": "a", "body_base64": "AA==", "method": "POST" }),
        json!({ "url": url, "body_base64": "AA", "method": "POST" }),
        json!({ "url": url, "redirect": "manual" }),
        json!({ "url": url, "headers": ["a"] }),
        json!({ "url": url, "timeout_ms": -1 }),
    ] {
        assert_eq!(call(&app, "0network.fetch", params.clone()).await, Err(code::INVALID_PARAMS), "{params}");
        assert_eq!(call(&app, "0network.open", params.clone()).await, Err(code::INVALID_PARAMS), "{params}");
    }
    assert_eq!(call(&app, "0network.read", json!({ "stream": 1 })).await, Err(code::INVALID_PARAMS));
    assert_eq!(call(&app, "0network.read", json!({})).await, Err(code::INVALID_PARAMS));
    assert_eq!(call(&app, "0network.close", json!({ "stream": 1 })).await, Ok(json!({ "existed": false })));
}

/// Each is a socket, whether an app asks for the whole answer or reads it piece by piece.
#[tokio::test]
async fn opening_is_held_to_a_rate_as_fetching_is() {
    let host = host(NetworkPolicy::default());
    let app = host.run(&package()).await;
    for name in ["0network.fetch", "0network.open"] {
        let refused = json!({ "url": "https://elsewhere.example/" });
        let mut calls = 0;
        let held = loop {
            calls += 1;
            assert!(calls < 100_000, "{name} has no rate");
            match method(&app, name, refused.clone()).await.unwrap_err() {
                (code::REFUSED, _) => {}
                held => break held,
            }
        };
        assert_eq!((held.0, held.1["limit"].as_str()), (code::BUSY, Some("rate")), "{name}");
        assert!(calls > 50, "{name}: {calls}");
    }
}

#[tokio::test]
async fn a_stream_is_read_piece_by_piece() {
    let body: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let mut reply = head("Transfer-Encoding: chunked\r\n");
    for piece in body.chunks(7001) {
        reply.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        reply.extend_from_slice(piece);
        reply.extend_from_slice(b"\r\n");
    }
    reply.extend_from_slice(b"0\r\nTrailer: 1\r\n\r\n");
    let server = Server::plain(move |_| Reply::Bytes(reply.clone())).await;
    let host = host(policy(&[&server]));
    let app = host.run(&package()).await;
    let opened = method(&app, "0network.open", json!({ "url": http(&server) })).await.unwrap();
    assert_eq!(opened["status"], 200);
    let stream = opened["stream"].as_u64().unwrap();
    let mut read = Vec::new();
    loop {
        let piece =
            method(&app, "0network.read", json!({ "stream": stream, "max_bytes": 5000 })).await.unwrap();
        let more = bytes(&piece);
        assert!(more.len() <= 5000);
        read.extend(more);
        if piece["done"] == true {
            break;
        }
    }
    assert_eq!(read, body);
    assert_eq!(app.metrics().network_received, 200_000);
    let again = json!({ "stream": stream });
    assert_eq!(call(&app, "0network.read", again).await, Err(code::INVALID_PARAMS), "it is over");
    let charged = app.metrics().memory_bytes;
    assert!(
        charged.is_multiple_of(65536) && charged <= app.metrics().memory_peak,
        "nothing is still charged"
    );
}

#[tokio::test]
async fn a_stream_belongs_to_its_instance() {
    let server = Server::plain(|_| Reply::Hang(head("Content-Length: 5\r\n"))).await;
    let host = host(policy(&[&server]));
    let ann = host.run(&package()).await;
    let bob = host.launch(APP, "bob").await.unwrap();
    let opened = method(&ann, "0network.open", json!({ "url": http(&server) })).await.unwrap();
    assert_eq!(call(&bob, "0network.read", opened["stream"].clone()).await, Err(code::INVALID_PARAMS));
    let stream = json!({ "stream": opened["stream"] });
    assert_eq!(call(&bob, "0network.read", stream.clone()).await, Err(code::INVALID_PARAMS));
    assert_eq!(call(&bob, "0network.close", stream.clone()).await, Ok(json!({ "existed": false })));
    assert_eq!(call(&ann, "0network.close", stream).await, Ok(json!({ "existed": true })));
    server.closed().await;
}

#[tokio::test]
async fn bodies_are_capped_however_they_come() {
    let endless = Reply::Forever(
        head("Transfer-Encoding: chunked\r\n"),
        [b"2000\r\n".to_vec(), vec![b'x'; 0x2000], b"\r\n".to_vec()].concat(),
        Duration::ZERO,
    );
    let server = Server::plain(move |seen| match seen.path() {
        "/said" => Reply::Hang(head("Content-Length: 9000000\r\n")),
        "/message" => Reply::Hang(head("Content-Length: 900000\r\n")),
        "/until-close" => Reply::Forever(head(""), vec![b'x'; 0x2000], Duration::ZERO),
        _ => endless.clone(),
    })
    .await;
    let host = host(NetworkPolicy { response_bytes: 2_000_000, ..policy(&[&server]) });
    let app = host.run(&package()).await;
    let url = |path: &str| json!({ "url": format!("http://a.example.com:{}/{path}", server.port) });
    for path in ["said", "message", "until-close", "endless"] {
        let (code, data) = fetch(&app, url(path)).await.unwrap_err();
        assert_eq!(code, code::TOO_LARGE, "{path}");
        assert!(data["limit"].as_u64().unwrap() <= 2_000_000, "{path}");
        server.closed().await;
    }
    let (code, data) = method(&app, "0network.open", url("said")).await.unwrap_err();
    assert_eq!((code, data["limit"].as_u64()), (code::TOO_LARGE, Some(2_000_000)));
    server.closed().await;
    let opened = method(&app, "0network.open", url("endless")).await.unwrap();
    let mut read = 0;
    let error = loop {
        match method(&app, "0network.read", json!({ "stream": opened["stream"] })).await {
            Ok(piece) => read += bytes(&piece).len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.0, code::TOO_LARGE);
    assert!((1_900_000..=2_000_000).contains(&read), "{read}");
    server.closed().await;
}

#[tokio::test]
async fn requests_and_headers_are_capped_too() {
    let server = Server::plain(|seen| match seen.path() {
        "/long" => Reply::Forever(
            b"HTTP/1.1 200 OK\r\n".to_vec(),
            b"x: yyyyyyyyyyyyyyyy\r\n".to_vec(),
            Duration::ZERO,
        ),
        "/line" => Reply::Forever(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1000], Duration::ZERO),
        "/status" => Reply::Forever(b"HTTP/1.1 200 ".to_vec(), vec![b'y'; 1000], Duration::ZERO),
        _ => Reply::Bytes(head(&"x: y\r\n".repeat(101))),
    })
    .await;
    let host = host(NetworkPolicy { request_bytes: 1000, ..policy(&[&server]) });
    let app = host.run(&package()).await;
    for path in ["long", "line", "status", "many"] {
        let url = format!("http://a.example.com:{}/{path}", server.port);
        let (code, data) = fetch(&app, json!({ "url": url })).await.unwrap_err();
        assert_eq!((code, data["reason"].as_str()), (code::UNREACHABLE, Some("protocol")), "{path}");
        server.closed().await;
    }
    let body = |length: usize| json!({ "url": http(&server), "method": "POST", "body": "x".repeat(length) });
    assert_eq!(fetch(&app, body(1001)).await.unwrap_err().0, code::TOO_LARGE);
    assert_eq!(server.seen().len(), 4, "it was not sent");
}

#[tokio::test]
async fn what_is_read_is_charged_to_the_app() {
    let server = Server::plain(|_| Reply::ok(vec![b'x'; 700_000])).await;
    let host = host(policy(&[&server]));
    let mpkg = json!({ "network": { "allow": ["*.example.com"] }, "limits": { "memory_bytes": 1 << 20 } });
    let app = host.run(&Package { mpkg, ..package() }).await;
    assert_eq!(fetch(&app, json!({ "url": http(&server) })).await.unwrap_err().0, code::TOO_LARGE);
    server.closed().await;
    // Streams are for those who have little room; each costs its buffers all the same.
    let mut open = 0;
    while method(&app, "0network.open", json!({ "url": http(&server) })).await.is_ok() {
        open += 1;
    }
    assert!((1..8).contains(&open), "{open}");
}

/// Nothing is decompressed, so a small answer stays small.
#[tokio::test]
async fn a_compressed_body_is_left_alone() {
    let server = Server::plain(|_| {
        Reply::Bytes(
            [head("Content-Encoding: gzip\r\nContent-Length: 4\r\n"), b"\x1f\x8b\x08\0".to_vec()].concat(),
        )
    })
    .await;
    let host = host(policy(&[&server]));
    let app = host.run(&package()).await;
    let answer = fetch(&app, json!({ "url": http(&server) })).await.unwrap();
    assert_eq!(
        (bytes(&answer), &answer["headers"]["content-encoding"]),
        (b"\x1f\x8b\x08\0".to_vec(), &json!("gzip"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_servers_are_given_up_on() {
    let server = Server::plain(|seen| match seen.path() {
        "/drip" => {
            Reply::Forever(head("Content-Length: 500000\r\n"), b"x".to_vec(), Duration::from_millis(5))
        }
        "/stall" => Reply::Hang([head("Content-Length: 2\r\n"), b"x".to_vec()].concat()),
        "/head" => {
            Reply::Forever(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), b"y".to_vec(), Duration::from_millis(5))
        }
        "/continue" => {
            let again = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
            Reply::Forever(again.clone(), again, Duration::from_millis(5))
        }
        _ => Reply::Hang(Vec::new()),
    })
    .await;
    let url = |path: &str| json!({ "url": format!("http://a.example.com:{}/{path}", server.port) });
    let in_time = host(NetworkPolicy { timeout: Duration::from_millis(300), ..policy(&[&server]) });
    let app = in_time.run(&package()).await;
    for path in ["drip", "stall", "head", "continue", "nothing"] {
        let (code, data) = fetch(&app, url(path)).await.unwrap_err();
        assert_eq!((code, data["reason"].as_str()), (code::TIMED_OUT, Some("deadline")), "{path}");
        server.closed().await;
    }
    let lively = host(NetworkPolicy { idle_timeout: Duration::from_millis(100), ..policy(&[&server]) });
    let app = lively.run(&package()).await;
    let (code, data) = fetch(&app, url("stall")).await.unwrap_err();
    assert_eq!((code, data["reason"].as_str()), (code::TIMED_OUT, Some("idle")));
    server.closed().await;
    let opened = method(&app, "0network.open", url("stall")).await.unwrap();
    let error = loop {
        match method(&app, "0network.read", json!({ "stream": opened["stream"] })).await {
            Ok(piece) => assert_eq!((bytes(&piece), &piece["done"]), (b"x".to_vec(), &json!(false))),
            Err(error) => break error,
        }
    };
    assert_eq!((error.0, error.1["reason"].as_str()), (code::TIMED_OUT, Some("idle")));
    server.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_wait_less_but_not_longer() {
    let server = Server::plain(|_| Reply::Hang(Vec::new())).await;
    for (timeout, asked) in [(Duration::from_secs(600), 50), (Duration::from_millis(50), u64::MAX)] {
        let host = host(NetworkPolicy { timeout, ..policy(&[&server]) });
        let app = host.run(&package()).await;
        let fetching = fetch(&app, json!({ "url": http(&server), "timeout_ms": asked }));
        let (code, _) = tokio::time::timeout(PATIENCE, fetching).await.unwrap().unwrap_err();
        assert_eq!(code, code::TIMED_OUT);
        server.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_reads_is_closed_in_time() {
    let server = Server::plain(|_| Reply::Hang(head("Content-Length: 5\r\n"))).await;
    let host = host(NetworkPolicy { stream_time: Duration::from_millis(100), ..policy(&[&server]) });
    let app = host.run(&package()).await;
    let opened = method(&app, "0network.open", json!({ "url": http(&server) })).await.unwrap();
    server.closed().await;
    // However often it is asked for, and not confused with one that never was.
    for _ in 0..2 {
        let read = json!({ "stream": opened["stream"] });
        assert_eq!(call(&app, "0network.read", read).await, Err(code::TIMED_OUT));
    }
    let read = json!({ "stream": opened["stream"].as_u64().unwrap() + 1 });
    assert_eq!(call(&app, "0network.read", read).await, Err(code::INVALID_PARAMS));
}

/// What an app does not read stays where it is: a server cannot push it into the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_stream_costs_no_more_with_time() {
    let server = Server::plain(|_| Reply::Forever(head(""), vec![b'x'; 1 << 20], Duration::ZERO)).await;
    let host = host(policy(&[&server]));
    let app = host.run(&package()).await;
    let opened = method(&app, "0network.open", json!({ "url": http(&server) })).await.unwrap();
    assert_eq!(call(&app, "echo", json!(1)).await, Ok(json!(1)));
    assert_eq!(app.metrics().network_received, 0);
    let piece = method(&app, "0network.read", json!({ "stream": opened["stream"] })).await.unwrap();
    assert!(bytes(&piece).len() <= 64 * 1024);
    app.kill("enough");
    server.closed().await;
}

/// A stream that is closed gives its place back after its socket, so a server may know first.
async fn open_when_free(app: &Instance, params: Value) -> Value {
    let opening = async {
        loop {
            match method(app, "0network.open", params.clone()).await {
                Err((code::BUSY, _)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, opening).await.expect("the place was not given back")
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
async fn only_so_many_at_a_time() {
    let server = Server::plain(|_| Reply::Hang(head("Content-Length: 5\r\n"))).await;
    let host = host(NetworkPolicy { requests_per_instance: 2, requests: 3, ..policy(&[&server]) });
    let ann = host.run(&package()).await;
    let bob = host.launch(APP, "bob").await.unwrap();
    let url = json!({ "url": http(&server) });
    let first = method(&ann, "0network.open", url.clone()).await.unwrap();
    method(&ann, "0network.open", url.clone()).await.unwrap();
    assert_eq!(method(&ann, "0network.open", url.clone()).await, Err((code::BUSY, json!({ "limit": 2 }))));
    assert_eq!(fetch(&ann, url.clone()).await, Err((code::BUSY, json!({ "limit": 2 }))));
    method(&bob, "0network.open", url.clone()).await.unwrap();
    assert_eq!(method(&bob, "0network.open", url.clone()).await, Err((code::BUSY, json!({ "limit": 3 }))));
    call(&ann, "0network.close", json!({ "stream": first["stream"] })).await.unwrap();
    method(&bob, "0network.open", url).await.unwrap();
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

/// A server that says nothing.
async fn silent() -> Server {
    Server::plain(|seen| match seen.path() {
        "/body" => Reply::Hang(head("Content-Length: 5\r\n")),
        _ => Reply::Hang(Vec::new()),
    })
    .await
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

/// Hidden, an app may not read; what it had opened is there when it is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_waits_while_its_app_is_hidden() {
    let server = silent().await;
    let policy = Policy { network: policy(&[&server]), suspend_hidden: false, ..Policy::default() };
    let in_use = PromptPermissions::new(|_| async { Decision::AllowWhileInUse });
    let host = host_with(|b| b.policy(policy).permissions(in_use));
    let app = host.run(&package()).await;
    let url = json!({ "url": format!("http://a.example.com:{}/body", server.port) });
    let stream = json!({ "stream": method(&app, "0network.open", url).await.unwrap()["stream"] });
    app.hide().await.unwrap();
    let (_, data) = method(&app, "0network.read", stream.clone()).await.unwrap_err();
    assert_eq!(data["reason"], "not_in_use");
    app.show().await.unwrap();
    assert_eq!(call(&app, "0network.close", stream).await, Ok(json!({ "existed": true })));
    server.closed().await;
}

#[tokio::test]
async fn those_who_cannot_be_reached_are_told_apart() {
    let server = Server::plain(|seen| match seen.path() {
        "/garbage" => Reply::Bytes(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        "/switch" => {
            Reply::Bytes(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n".to_vec())
        }
        "/short" => Reply::Bytes([head("Content-Length: 5\r\n"), b"abc".to_vec()].concat()),
        "/two-lengths" => {
            Reply::Bytes([head("Content-Length: 3\r\nContent-Length: 4\r\n"), b"abcd".to_vec()].concat())
        }
        "/chunk" => {
            Reply::Bytes([head("Transfer-Encoding: chunked\r\n"), b"zz\r\nabc\r\n".to_vec()].concat())
        }
        _ => Reply::Bytes(Vec::new()),
    })
    .await;
    let tls = Server::tls(|_| Reply::ok("x")).await;
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut network = policy(&[&server, &tls]);
    network.ports.push(free);
    let names = Names::default();
    for name in ["a.example.com", "deep.b.example.com"] {
        names.set(name, [vec!["127.0.0.1".parse().unwrap()]]);
    }
    names.set("empty.example.com", [vec![]]);
    network.resolver = Resolver::new(names);
    let reached = host(network.clone());
    let app = reached.run(&package()).await;
    let (http, https) =
        (format!("http://a.example.com:{}", server.port), format!("example.com:{}", tls.port));
    for (url, reason) in [
        ("https://nobody.example.com/".into(), "dns"),
        ("https://empty.example.com/".into(), "dns"),
        (format!("https://a.example.com:{free}/"), "connect"),
        (format!("https://deep.b.{https}/"), "tls"), // the certificate is for other names
        (format!("{http}/garbage"), "protocol"),
        (format!("{http}/switch"), "protocol"),
        (format!("{http}/short"), "protocol"),
        (format!("{http}/two-lengths"), "protocol"),
        (format!("{http}/chunk"), "protocol"),
        (format!("{http}/nothing"), "protocol"),
    ] {
        let (code, data) = fetch(&app, json!({ "url": url })).await.unwrap_err();
        assert_eq!((code, data["reason"].as_str()), (code::UNREACHABLE, Some(reason)), "{url}");
    }
    network.authorities.clear();
    let strict = host(network);
    let app = strict.run(&package()).await;
    let (code, data) = fetch(&app, json!({ "url": format!("https://a.{https}/") })).await.unwrap_err();
    assert_eq!(
        (code, data["reason"].as_str()),
        (code::UNREACHABLE, Some("tls")),
        "an authority nobody knows"
    );
}
