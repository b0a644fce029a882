//! What the connections of a page may take: of their host's memory, of its places, of its time.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/page.rs"]
mod page;

use std::time::Duration;

use common::loud::{ANSWER, Loud};
use common::parked::Parked;
use common::{Package, TestHost, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, Instance, Limits, Policy, StaticPermissions};
use page::{ORIGIN, Page, exchange, request, rest, soon, text, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The page of an app whose answers are long.
async fn loud_app() -> (Loud, Instance, Page, TestHost) {
    let loud = Loud::default();
    let bridge = loud.bridge();
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.loud"])).await;
    let page = Page::of(&app).await;
    (loud, app, page, host)
}

/// Messages of one connection that are under way at a time.
const UNDER_WAY: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_is_not_read_while_enough_is_under_way() {
    let parked = Parked::default();
    let bridge = parked.bridge();
    let host = host_with(|b| b.bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.slow"])).await;
    let page = Page::of(&app).await;
    let mut socket = page.socket().await;
    for id in 0..20 {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "slow.wait", "params": [id] });
        socket.send(&call.to_string()).await;
    }
    parked.inside(UNDER_WAY).await;
    // It is not for want of time that the others are not read.
    let mut other = page.socket().await;
    for _ in 0..20 {
        assert!(other.say(&request("clock.now", json!({}))).await.get("result").is_some());
    }
    assert_eq!(parked.most(), UNDER_WAY);
    parked.let_go(20);
    let mut answered = Vec::new();
    for _ in 0..20 {
        let answer = socket.receive().await.unwrap();
        assert_eq!(answer["result"], json!([answer["id"]]));
        answered.push(answer["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..20));
    assert_eq!(parked.most(), UNDER_WAY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_few_and_charged() {
    let (loud, app, page, _host) = loud_app().await;
    let before = app.metrics().memory_bytes;
    let mut socket = page.socket().await;
    // More than the system buffers.
    for _ in 0..64 {
        socket.send(&request("loud.say", json!({})).to_string()).await;
    }
    let all = (UNDER_WAY * ANSWER) as u64;
    until("as many answers as may be under way", || app.metrics().memory_bytes - before >= all).await;
    assert!(loud.said() < 64, "{} answers were made", loud.said());
    let most = app.metrics().memory_peak - before;
    assert!(most < all + ANSWER as u64, "{most} bytes");
    drop(socket);
    until("the end of the connection", || page.gateway.connections() == 0).await;
    until("the end of its answers", || app.metrics().memory_bytes == before).await;
}

#[tokio::test]
async fn messages_and_answers_are_bounded() {
    let bridge = Bridge::new("host.long")
        .immediate("long.answer", |_, _: Value| Ok::<_, RpcError>("x".repeat(2000)))
        .immediate("long.error", |_, _: Value| Err::<(), _>(RpcError::new(7, "y".repeat(20_000))));
    let policy = Policy { limits: Limits { message_bytes: 1000, ..Limits::PHONE }, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).bridge(bridge).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["host.long"])).await;
    let page = Page::of(&app).await;
    assert_eq!(page.rpc(request("long.answer", json!({}))).await["error"]["code"], json!(code::TOO_LARGE));
    let error = page.rpc(request("long.error", json!({}))).await;
    assert_eq!(error["error"]["code"], json!(7));
    assert!(error.to_string().len() < 1000, "{error}");
    let params = request("clock.now", json!({ "x": "x".repeat(1000) }));
    assert_eq!(page.rpc(params).await["error"]["code"], json!(code::TOO_LARGE));
    let id = json!({ "jsonrpc": "2.0", "id": "x".repeat(500), "method": "clock.now" });
    assert_eq!(page.rpc(id).await["error"]["code"], json!(code::INVALID_REQUEST));
    // An id that is none makes a call no notification.
    let id = json!({ "jsonrpc": "2.0", "id": -1, "method": "clock.now" });
    assert_eq!(page.rpc(id).await["error"]["code"], json!(code::INVALID_REQUEST));
    assert_eq!(page.post("{").await.json()["error"]["code"], json!(code::PARSE_ERROR));

    // With its envelope, a message is longer than it may be.
    let long = request("clock.now", json!({ "x": "x".repeat(6000) })).to_string();
    let posted = page.post(&long).await;
    assert_eq!((posted.status, &posted.json()["error"]["code"]), (413, &json!(code::TOO_LARGE)));
    let headers =
        [("origin", ORIGIN), ("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let head = text(page.gateway.address(), "POST", &page.path(), &headers, "");
    let chunked = exchange(page.gateway.address(), &format!("{head}{:x}\r\n{long}\r\n", long.len())).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    let mut socket = page.socket().await;
    let answer = socket.say(&json!(long)).await;
    assert_eq!(answer["error"]["code"], json!(code::TOO_LARGE));
    assert_eq!(socket.receive().await, None, "where the next message begins is not known");
}

/// Who shows a token is let in, however many others are there who say nothing.
#[tokio::test]
async fn who_says_nothing_keeps_nobody_out() {
    let host = host_with(|b| b);
    let app = host.run(&Package::default()).await;
    let page = Page::of(&app).await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(page.gateway.address()).await.unwrap());
    }
    let mut socket = page.socket().await;
    for _ in 0..40 {
        silent.push(TcpStream::connect(page.gateway.address()).await.unwrap());
    }
    assert!(socket.say(&request("clock.now", json!({}))).await.get("result").is_some(), "it is known by now");
    assert!(page.rpc(request("clock.now", json!({}))).await.get("result").is_some());
    assert_eq!(rest(&mut silent[0]).await, b"", "the oldest gave way");
}

#[tokio::test]
async fn who_takes_for_ever_is_hung_up_on() {
    let host = host_with(|b| b);
    let app = host.run(&Package::default()).await;
    let page = Page::of(&app).await;
    let address = page.gateway.address();
    let headers = [("origin", ORIGIN), ("content-type", "application/json"), ("content-length", "10")];
    let (head_only, whole) = (
        text(address, "POST", &page.path(), &headers, ""),
        text(
            address,
            "POST",
            &page.path(),
            &[("origin", ORIGIN)],
            &request("clock.now", json!({})).to_string(),
        ),
    );
    let dripping = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!("POST {} HTTP/1.1\r\norigin: {ORIGIN}\r\nx: ", page.path());
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 1];
        loop {
            tokio::select! {
                // However it is closed.
                _ = stream.read(&mut answer) => return,
                () = tokio::time::sleep(Duration::from_millis(20)) => {
                    let _ = stream.write_all(b"x").await;
                }
            }
        }
    };
    let ((), half, idle, http_2) = tokio::join!(
        soon("the end of a head that drips", dripping),
        exchange(address, &head_only),
        exchange(address, &whole),
        exchange(address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    );
    assert!(half.starts_with("HTTP/1.1 408") && half.contains("connection: close"), "{half}");
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
    assert!(http_2.is_empty() || http_2.starts_with("HTTP/1.1 4"), "{http_2:?}");
}

/// Requests of one connection that come at once are answered one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_what_it_asked_for_gives_its_place_up() {
    let (loud, app, page, _host) = loud_app().await;
    let before = app.metrics().memory_bytes;
    let address = page.gateway.address();
    let call = request("loud.say", json!({})).to_string();
    let text = text(address, "POST", &page.path(), &[("origin", ORIGIN)], &call);
    let mut stream = TcpStream::connect(address).await.unwrap();
    // More than the system buffers.
    stream.write_all(text.repeat(64).as_bytes()).await.unwrap();
    until("a first answer", || loud.said() > 0).await;
    until("the end of the connection", || page.gateway.connections() == 0).await;
    assert!(loud.said() < 64, "{} answers were made", loud.said());
    until("the end of its answers", || app.metrics().memory_bytes == before).await;
    drop(stream);
}

/// A WebSocket whose frames are written by hand.
async fn by_hand(page: &Page) -> TcpStream {
    let mut stream = TcpStream::connect(page.gateway.address()).await.unwrap();
    let headers = [
        ("origin", ORIGIN),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let path = format!("/{}", page.door.token());
    let hello = text(page.gateway.address(), "GET", &path, &headers, "");
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = soon("the handshake", stream.read(&mut answer)).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    stream
}

/// Whoever reads it makes room for all of a frame at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_page_announces_is_charged_before_it_comes() {
    const ANNOUNCED: u64 = 900_000;
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::default()).await;
    let page = Page::of(&app).await;
    let before = app.metrics().memory_bytes;
    // A text, masked with zeros.
    let mut header = vec![0x81, 0xff];
    header.extend(ANNOUNCED.to_be_bytes());
    header.extend([0; 4]);
    let mut first = by_hand(&page).await;
    first.write_all(&header).await.unwrap();
    until("its charge", || app.metrics().memory_bytes - before == ANNOUNCED).await;

    let mut second = by_hand(&page).await;
    second.write_all(&header).await.unwrap();
    let answer = String::from_utf8_lossy(&rest(&mut second).await).into_owned();
    let refused = |answer: &str| answer.contains("-32004") && answer.contains(r#""limit":"memory""#);
    assert!(refused(&answer), "{answer}");
    let posted = page.post(&request("clock.now", json!({ "x": "x".repeat(50_000) })).to_string()).await;
    assert!(posted.status == 503 && refused(&posted.body), "{posted:?}");
    assert!(
        page.rpc(request("clock.now", json!({}))).await.get("result").is_some(),
        "there is room for this"
    );

    drop(first);
    until("the end of its charge", || app.metrics().memory_bytes == before).await;
}

/// A pong between the parts of a message has soketto begin to count anew, so that a message could have parts without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_parts_has_nothing_between_them() {
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::default()).await;
    let page = Page::of(&app).await;
    let mut stream = by_hand(&page).await;
    // The beginning of a text, and then a pong; both masked with zeros.
    stream.write_all(&[0x01, 0x81, 0, 0, 0, 0, b'{']).await.unwrap();
    stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.unwrap();
    rest(&mut stream).await;
    until("its place is free again", || page.gateway.connections() == 0).await;
}
