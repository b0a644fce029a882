//! What a guest, or a server, can have its host spend.

use std::time::Duration;

use miniapp_runtime::NetworkPolicy;
use miniapp_runtime::rpc::code;
use serde_json::json;

use super::{bytes, fetch, head, host, http, method, package, policy};
use crate::common::{APP, Package, call};
use crate::net::{PATIENCE, Reply, Server};

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
