//! Connections of a page end with their app, their door and their gateway, and nothing of them is left.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/page.rs"]
mod page;

use common::loud::{ANSWER, Loud};
use common::parked::Parked;
use common::{Package, TestHost, call, host_with};
use miniapp_runtime::{Instance, StaticPermissions};
use page::{ORIGIN, Page, Socket, exchange, request, soon, text, until};
use serde_json::json;
use tokio::task::JoinHandle;

/// More calls than the system buffers answers of.
const CALLS: usize = 64;

async fn app(parked: &Parked) -> (Instance, TestHost) {
    let (slow, loud) = (parked.bridge(), Loud::default().bridge());
    let host = host_with(|b| b.bridge(slow).bridge(loud).permissions(StaticPermissions::allow_all()));
    (host.run(&Package::with(&["host.slow", "host.loud"])).await, host)
}

/// A call over HTTP, and what it is answered in the end.
fn posting(page: &Page) -> JoinHandle<String> {
    let address = page.gateway.address();
    let body = request("slow.wait", json!({})).to_string();
    let text = text(address, "POST", &page.path(), &[("origin", ORIGIN)], &body);
    tokio::spawn(async move { exchange(address, &text).await })
}

/// A page that calls and does not read, when it has brought its connection to a standstill.
async fn stalled(page: &Page, app: &Instance) -> Socket {
    let before = app.metrics().memory_bytes;
    let mut socket = page.socket().await;
    for _ in 0..CALLS {
        socket.send(&request("loud.say", json!({})).to_string()).await;
    }
    until("a standstill", || app.metrics().memory_bytes - before >= 8 * ANSWER as u64).await;
    socket
}

/// At each of the ends there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_hung_up_on() {
    for end in ["kill", "door", "gateway"] {
        let parked = Parked::default();
        let (app, _host) = app(&parked).await;
        let page = Page::of(&app).await;
        let before = app.metrics().memory_bytes;
        let posted = posting(&page);
        parked.inside(1).await;
        let mut unread = stalled(&page, &app).await;
        assert_eq!(page.gateway.connections(), 2);
        let (mut gateway, mut door) = (Some(page.gateway), Some(page.door));
        match end {
            "kill" => {
                app.kill("test");
                soon("the app's end", app.stopped()).await;
            }
            "door" => drop(door.take()),
            _ => drop(gateway.take()),
        }
        parked.inside(0).await;
        let posted = soon("the end of a call", posted).await.unwrap();
        assert!(!posted.contains("result"), "{end}: {posted}");
        assert!(unread.drain().await < CALLS, "{end}");
        if let Some(gateway) = &gateway {
            until(end, || gateway.connections() == 0).await;
        }
        if end != "kill" {
            until(end, || app.metrics().memory_bytes == before).await;
            assert_eq!(call(&app, "echo", json!(1)).await, Ok(json!(1)), "{end}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_gateway_closes_sockets_though_their_doors_are_kept() {
    let (app, _host) = app(&Parked::default()).await;
    let page = Page::of(&app).await;
    let mut socket = page.socket().await;
    assert!(socket.say(&request("clock.now", json!({}))).await.get("result").is_some());
    let (address, Page { gateway, door }) = (page.gateway.address(), page);
    drop(gateway);
    assert_eq!(socket.receive().await, None);
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    soon("the end of listening", refused).await;
    drop(door);
}

/// However many calls of a page wait, one beginning before the other ends, be they the bridge's or the app's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_a_page_keep_no_app_alive() {
    let parked = Parked::default();
    let (app, _host) = app(&parked).await;
    let page = Page::of(&app).await;
    let mut socket = page.socket().await;
    let posted = posting(&page);
    socket.send(&request("slow.wait", json!({})).to_string()).await;
    let own = request("app.call", json!({ "method": "0slow.wait" }));
    for _ in 0..2 {
        socket.send(&own.to_string()).await;
    }
    // The app's own come one after the other.
    parked.inside(3).await;
    let handle = app.kill_handle();
    drop(app);
    soon("the app's end", handle.stopped()).await;
    parked.inside(0).await;
    while let Some(told) = socket.receive().await {
        assert!(told.get("result").is_none(), "{told}");
    }
    assert!(!posted.await.unwrap().contains("result"));
    until("the end of its connections", || page.gateway.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_with_its_app_and_keeps_none_alive() {
    let (app, _host) = app(&Parked::default()).await;
    let page = Page::of(&app).await;
    let mut socket = page.socket().await;
    let answer = socket.say(&request("clock.now", json!({}))).await;
    assert!(answer.get("result").is_some(), "{answer}");
    let handle = app.kill_handle();
    drop(app);
    soon("the app's end", handle.stopped()).await;
    assert_eq!(socket.receive().await, None, "the socket is closed");
    assert_eq!(Socket::open(&page.gateway, &page.path(), Some(ORIGIN)).await.map(drop), Err(401));
}

#[tokio::test]
async fn a_closed_door_and_too_many_connections() {
    let (app, _host) = app(&Parked::default()).await;
    let page = Page::of(&app).await;
    let path = page.path();
    let mut open = Vec::new();
    let refused = loop {
        match Socket::open(&page.gateway, &path, Some(ORIGIN)).await {
            Ok(socket) => open.push(socket),
            Err(status) => break status,
        }
    };
    assert_eq!((refused, open.len(), page.gateway.connections()), (429, 8, 8));
    // A place comes back when its page goes.
    drop(open.pop());
    until("a free place", || page.gateway.connections() == 7).await;
    open.push(page.socket().await);
    let Page { gateway, door } = page;
    drop(door);
    for socket in &mut open {
        assert_eq!(socket.receive().await, None, "closing the door closes its sockets");
    }
    until("the end of its connections", || gateway.connections() == 0).await;
    assert_eq!(Socket::open(&gateway, &path, Some(ORIGIN)).await.map(drop), Err(401));
}

/// Held still, an app does nothing; and so its page.
#[tokio::test]
async fn a_page_of_a_hidden_app_waits_for_it() {
    let (app, _host) = app(&Parked::default()).await;
    let page = Page::of(&app).await;
    let mut socket = page.socket().await;
    app.hide().await.unwrap();
    for method in ["clock.now", "loud.say", "app.call"] {
        let params = if method == "app.call" { json!({ "method": "echo" }) } else { json!({}) };
        for answer in
            [page.rpc(request(method, params.clone())).await, socket.say(&request(method, params)).await]
        {
            assert_eq!(
                answer["error"]["code"],
                json!(miniapp_runtime::rpc::code::BUSY),
                "{method}: {answer}"
            );
        }
    }
    app.show().await.unwrap();
    assert!(socket.say(&request("clock.now", json!({}))).await.get("result").is_some());
}
