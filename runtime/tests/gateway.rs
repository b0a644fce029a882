//! An app's own page reaches the bridge over WebSocket and HTTP, with the app's rights and no others.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/page.rs"]
mod page;

use std::sync::{Arc, Mutex};

use common::listener::{self, Probe};
use common::{APP, Package, TestHost, host_with, puppet};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, Gateway, GatewayError, Instance, StaticPermissions};
use page::{ORIGIN, Page, Reply, Socket, exchange, notification, request, send, text};
use serde_json::{Value, json};

/// An app that may use its storage, and not the events that it declares; its page; and its host.
async fn page() -> (Page, Instance, TestHost) {
    let host = host_with(|b| b.permissions(StaticPermissions::allow(["storage"])));
    let app = host.run(&Package::with(&["storage", "events"])).await;
    (Page::of(&app).await, app, host)
}

#[tokio::test]
async fn a_page_has_its_apps_rights_and_no_others() {
    let (page, _app, _host) = page().await;
    let set = page.rpc(request("storage.set", json!({ "key": "k", "value": [1] }))).await;
    assert!(set.get("result").is_some(), "{set}");
    let got = page.rpc(request("storage.get", json!({ "key": "k" }))).await;
    assert_eq!(got["result"]["value"], json!([1]));
    let denied = page.rpc(request("events.publish", json!({ "topic": "t", "data": 1 }))).await;
    assert_eq!(denied["error"]["code"], json!(code::PERMISSION_DENIED));
    let undeclared = page.rpc(request("cart.get", json!({}))).await;
    assert!(undeclared.get("error").is_some(), "{undeclared}");
    let own = page.rpc(request("app.call", json!({ "method": "echo", "params": { "a": 1 } }))).await;
    assert_eq!(own["result"], json!({ "a": 1 }));
}

/// The trap of a guard on single calls: the same call, in a batch or as a notification, walks around it.
#[tokio::test]
async fn a_batch_is_no_way_around_the_gate() {
    let (page, app, _host) = page().await;
    let publish = request("events.publish", json!({ "topic": "t", "data": 1 }));
    let answers = page.rpc(json!([publish, request("storage.usage", json!({}))])).await;
    assert_eq!(answers[0]["error"]["code"], json!(code::PERMISSION_DENIED));
    assert!(answers[1].get("result").is_some(), "{answers}");
    let notification = notification("events.publish", json!({ "topic": "t", "data": 1 }));
    for nobody_is_answered in [json!([notification, notification]), notification.clone()] {
        let reply = page.post(&nobody_is_answered.to_string()).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    }
    let metrics = app.metrics();
    assert_eq!((metrics.bridge["events.publish"].calls, metrics.bridge["events.publish"].denied), (0, 4));

    let many = Value::from(vec![request("storage.usage", json!({})); 17]);
    let refused = page.rpc(many).await;
    assert_eq!(refused["error"]["code"], json!(code::TOO_LARGE), "a batch is bounded: {refused}");
}

#[tokio::test]
async fn who_gets_in() {
    let (page, _app, _host) = page().await;
    let body = request("storage.usage", json!({})).to_string();
    let token = page.door.token().to_owned();
    let (path, bearer) = (format!("/{token}"), format!("Bearer {token}"));
    let status = async |path: &str, headers: &[(&str, &str)]| {
        send(&page.gateway, "POST", path, headers, &body).await.status
    };
    assert_eq!(status(&path, &[("origin", ORIGIN)]).await, 200);
    assert_eq!(status("/", &[("authorization", &bearer)]).await, 200);
    assert_eq!(status("/", &[("authorization", &bearer), ("origin", ORIGIN)]).await, 200);
    assert_eq!(status("/", &[]).await, 401);
    assert_eq!(status("/", &[("origin", ORIGIN)]).await, 401);
    assert_eq!(status(&format!("/{}x", &token[1..]), &[("origin", ORIGIN)]).await, 401);
    assert_eq!(status(&path, &[]).await, 403);
    assert_eq!(status(&path, &[("origin", "null")]).await, 403);
    assert_eq!(status(&path, &[("origin", "https://evil.example")]).await, 403);
    assert_eq!(status("/", &[("authorization", &bearer), ("origin", "https://evil.example")]).await, 403);
    let open = async |path: &str, origin| Socket::open(&page.gateway, path, origin).await.map(drop);
    assert_eq!(open(&path, Some("https://evil.example")).await, Err(403));
    assert_eq!(open(&path, None).await, Err(403));
    assert_eq!(open("/guess", Some(ORIGIN)).await, Err(401));
    assert_eq!(open(&path, Some(ORIGIN)).await, Ok(()));
}

/// A name that leads here makes a page of its origin no page of this device.
#[tokio::test]
async fn a_request_names_the_gateway_as_its_host() {
    let (page, _app, _host) = page().await;
    let body = request("storage.usage", json!({})).to_string();
    let port = page.gateway.address().port();
    let status = async |host: &str| {
        let headers = [("origin", ORIGIN), ("host", host)];
        send(&page.gateway, "POST", &page.path(), &headers, &body).await.status
    };
    assert_eq!(status(&format!("localhost:{port}")).await, 200);
    assert_eq!(status(&format!("rebound.example:{port}")).await, 421);
    assert_eq!(status("127.0.0.1").await, 421);
    let twice = [("origin", ORIGIN), ("host", "localhost"), ("host", "127.0.0.1")];
    assert!(send(&page.gateway, "POST", &page.path(), &twice, &body).await.status >= 400);
    let absolute = format!("http://rebound.example:{port}{}", page.path());
    let reply = send(&page.gateway, "POST", &absolute, &[("origin", ORIGIN)], &body).await;
    assert_eq!(reply.status, 421);
}

fn allowed(reply: &Reply) -> (Option<&str>, Option<&str>) {
    (reply.header("access-control-allow-origin"), reply.header("vary"))
}

/// To a web view every page is of another origin than the gateway, so it asks before it posts, and looks whether it may
/// hand over the answer.
#[tokio::test]
async fn a_web_view_lets_its_page_post_and_read() {
    let (page, _app, _host) = page().await;
    let ask = async |path: &str, origin: &str, method: &str, more: &[(&str, &str)]| {
        let mut headers = vec![
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "content-type"),
        ];
        headers.extend_from_slice(more);
        send(&page.gateway, "OPTIONS", path, &headers, "").await
    };
    let yes = ask(&page.path(), ORIGIN, "POST", &[]).await;
    assert_eq!((yes.status, allowed(&yes)), (204, (Some(ORIGIN), Some("Origin"))));
    assert_eq!(yes.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(yes.header("access-control-allow-headers"), Some("content-type, authorization"));
    assert!(yes.header("access-control-max-age").unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(yes.header("access-control-allow-private-network"), None);
    assert_eq!(yes.header("access-control-allow-credentials"), None);
    let device =
        ask(&page.path(), ORIGIN, "POST", &[("access-control-request-private-network", "true")]).await;
    assert_eq!(device.header("access-control-allow-private-network"), Some("true"));

    assert_eq!(ask(&page.path(), ORIGIN, "DELETE", &[]).await.status, 405);
    for (path, origin, status) in [
        (page.path().as_str(), "https://evil.example", 403),
        (page.path().as_str(), "null", 403),
        ("/guess", ORIGIN, 401),
    ] {
        let no = ask(path, origin, "POST", &[]).await;
        assert_eq!((no.status, allowed(&no)), (status, (None, None)), "{path} for {origin}");
    }

    let answered = page.post(&request("storage.usage", json!({})).to_string()).await;
    assert_eq!((answered.status, allowed(&answered)), (200, (Some(ORIGIN), Some("Origin"))));
    let headers = [("origin", ORIGIN), ("content-type", "text/plain")];
    let refused = send(&page.gateway, "POST", &page.path(), &headers, "{}").await;
    assert_eq!((refused.status, allowed(&refused)), (415, (Some(ORIGIN), Some("Origin"))));
    let bearer = format!("Bearer {}", page.door.token());
    let body = request("storage.usage", json!({})).to_string();
    let no_browser = send(&page.gateway, "POST", "/", &[("authorization", &bearer)], &body).await;
    assert_eq!((no_browser.status, allowed(&no_browser)), (200, (None, None)));
}

#[tokio::test]
async fn who_is_refused_is_hung_up_on() {
    let (page, _app, _host) = page().await;
    let address = page.gateway.address();
    for (method, path, status) in [("POST", "/guess", "401"), ("DELETE", page.path().as_str(), "405")] {
        // It does not ask for that.
        let answer = exchange(address, &text(address, method, path, &[("origin", ORIGIN)], "{}")).await;
        assert!(answer.contains(status) && answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn one_apps_token_opens_no_other() {
    let (page, app, host) = page().await;
    let other = host.launch(APP, "bob").await.unwrap();
    let door = page.gateway.open(&other, ORIGIN).unwrap();
    page.rpc(request("storage.set", json!({ "key": "k", "value": "ann's" }))).await;
    let path = format!("/{}", door.token());
    let body = request("storage.get", json!({ "key": "k" })).to_string();
    let answer = send(&page.gateway, "POST", &path, &[("origin", ORIGIN)], &body).await;
    assert_eq!(answer.json()["result"]["found"], json!(false));

    // Nor does a connection that was one's become another's.
    let address = page.gateway.address();
    let first = text(address, "POST", &page.path(), &[("origin", ORIGIN)], &body);
    let second = text(address, "POST", &path, &[("origin", ORIGIN)], &body);
    let answers = exchange(address, &format!("{first}{second}")).await;
    assert!(answers.starts_with("HTTP/1.1 200") && answers.contains("HTTP/1.1 403"), "{answers}");
    assert_eq!(app.stop_reason(), None);
}

#[tokio::test]
async fn a_token_is_long_and_not_shown() {
    let (page, _app, _host) = page().await;
    let shown = format!("{:?} {:?}", page.door, page.gateway);
    assert!(!shown.contains(page.door.token()), "{shown}");
    assert!(page.door.token().len() > 50);
}

#[tokio::test]
async fn only_this_device_and_only_an_origin() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
        let refused = Gateway::listen(address.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, GatewayError::NotLoopback { .. }), "{address}: {refused}");
        assert_eq!(refused.code(), "MPKG-H60");
    }
    let (page, app, _host) = page().await;
    let taken = Gateway::listen(page.gateway.address()).await.unwrap_err();
    assert!(matches!(taken, GatewayError::Listen { .. }), "{taken}");
    assert_eq!(taken.code(), "MPKG-H62");
    for origin in [
        "",
        "null",
        "*",
        "com.example.shop",
        "app://",
        "://host",
        "app://com.example.shop/",
        "app://com.example.shop/page",
        "app://com.example.shop?x",
        "app://com.example.shop#x",
        "App://com.example.shop",
        "app://com.example.Shop",
        "app://user@com.example.shop",
        "app://com.example.shop, app://com.example.other",
        "app://com.example.shop\r\nx: y",
        "app://bücher.example",
        "https://a.example:443",
        "http://a.example:80",
        "http://:1",
        "file://",
    ] {
        let refused = page.gateway.open(&app, origin).unwrap_err();
        assert!(matches!(refused, GatewayError::BadOrigin { .. }), "{origin}: {refused}");
        assert_eq!(refused.code(), "MPKG-H61");
    }
    for origin in
        ["app://com.example.shop", "https://a.example", "http://localhost:5173", "capacitor://localhost"]
    {
        page.gateway.open(&app, origin).unwrap();
    }
}

/// What only the host tells an app its page cannot tell it.
#[tokio::test]
async fn a_page_does_not_speak_for_the_host() {
    let probe = Probe::default();
    let seen = Arc::new(Mutex::new(Vec::<Value>::new()));
    let log = seen.clone();
    let bridge = Bridge::new("host.seen").immediate("seen.event", move |_, event: Value| {
        log.lock().unwrap().push(event);
        Ok::<_, RpcError>(())
    });
    let host =
        host_with(|b| b.bridge(probe.bridge()).bridge(bridge).permissions(StaticPermissions::allow_all()));
    let listens = host.run(&listener::package(&[])).await;
    let watched = puppet::watched(&["host"]);
    let package =
        Package { app_id: "com.example.watched".into(), ..Package::with(&["host.seen"]).required() };
    let watches = host.run(&Package { component: wat::parse_str(watched).unwrap(), ..package }).await;
    seen.lock().unwrap().clear();
    let (listens, watches) = (Page::of(&listens).await, Page::of(&watches).await);
    for (page, method) in [
        (&listens, "events.message"),
        (&listens, "storage.changed"),
        (&listens, "timers.fired"),
        (&watches, "lifecycle.shown"),
        (&watches, "lifecycle.unloaded"),
        (&watches, "lifecycle.of_a_later_version"),
    ] {
        let said = page.rpc(request("app.call", json!({ "method": method, "params": {} }))).await;
        assert_eq!(said["error"]["code"], json!(code::METHOD_NOT_FOUND), "{method}: {said}");
        assert!(said["error"]["message"].as_str().unwrap().contains("host"), "{said}");
        page.rpc(json!([request("app.call", json!({ "method": method }))])).await;
    }
    assert_eq!((probe.heard(), seen.lock().unwrap().clone()), (vec![], vec![]));
}
