//! What a guest is answered, whole or piece by piece.

use miniapp_runtime::rpc::code;
use miniapp_runtime::{Decision, NetworkPolicy, Policy, PromptPermissions, Resolver};
use serde_json::json;

use super::{bytes, fetch, head, host, http, method, package, policy, silent};
use crate::common::{APP, call, host_with};
use crate::net::{Names, Reply, Server};

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
