//! An app's own page reaches the bridge over WebSocket and HTTP, with the app's rights and no others.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{APP, Package, TestHost, host_with};
use futures_util::io::{BufReader, BufWriter};
use miniapp_runtime::rpc::code;
use miniapp_runtime::{Door, Gateway, Instance, StaticPermissions};
use serde_json::{Value, json};
use soketto::handshake::{Client, ServerResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

const ORIGIN: &str = "app://com.example.puppet";
const PATIENCE: Duration = Duration::from_secs(20);

struct Page {
    host: TestHost,
    gateway: Gateway,
    app: Instance,
    door: Door,
}

async fn page() -> Page {
    let host = host_with(|b| b.permissions(StaticPermissions::allow(["storage"])));
    let app = host.run(&Package::with(&["storage", "events"])).await;
    let gateway = Gateway::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let door = gateway.open(&app, ORIGIN);
    Page { host, gateway, app, door }
}

/// Posts a body and gives the status and the answer.
async fn post(gateway: &Gateway, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    let mut request = format!("POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", gateway.address());
    request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

impl Page {
    async fn rpc(&self, request: Value) -> Value {
        let path = format!("/{}", self.door.token());
        let (status, body) = post(&self.gateway, &path, &[("origin", ORIGIN)], &request.to_string()).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

type Socket = (
    soketto::Sender<BufReader<BufWriter<Compat<TcpStream>>>>,
    soketto::Receiver<BufReader<BufWriter<Compat<TcpStream>>>>,
);

async fn socket(gateway: &Gateway, path: &str, origin: Option<&str>) -> Result<Socket, u16> {
    let stream = TcpStream::connect(gateway.address()).await.unwrap();
    let address = gateway.address().to_string();
    let mut client = Client::new(BufReader::new(BufWriter::new(stream.compat())), &address, path);
    let headers: Vec<_> = origin
        .iter()
        .map(|origin| soketto::handshake::client::Header { name: "origin", value: origin.as_bytes() })
        .collect();
    client.set_headers(&headers);
    match client.handshake().await.unwrap() {
        ServerResponse::Accepted { .. } => Ok(client.into_builder().finish()),
        ServerResponse::Rejected { status_code } => Err(status_code),
        ServerResponse::Redirect { .. } => panic!("nothing redirects here"),
    }
}

async fn say(socket: &mut Socket, message: &Value) -> Option<Value> {
    socket.0.send_text(message.to_string()).await.ok()?;
    socket.0.flush().await.ok()?;
    let mut answer = Vec::new();
    socket.1.receive_data(&mut answer).await.ok()?;
    serde_json::from_slice(&answer).ok()
}

#[tokio::test]
async fn a_page_has_its_apps_rights_and_no_others() {
    let page = page().await;
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
    let page = page().await;
    let publish = request("events.publish", json!({ "topic": "t", "data": 1 }));
    let answers = page.rpc(json!([publish, request("storage.usage", json!({}))])).await;
    assert_eq!(answers[0]["error"]["code"], json!(code::PERMISSION_DENIED));
    assert!(answers[1].get("result").is_some(), "{answers}");
    let notification =
        json!({ "jsonrpc": "2.0", "method": "events.publish", "params": { "topic": "t", "data": 1 } });
    let path = format!("/{}", page.door.token());
    let both = json!([notification, notification]).to_string();
    post(&page.gateway, &path, &[("origin", ORIGIN)], &both).await;
    post(&page.gateway, &path, &[("origin", ORIGIN)], &notification.to_string()).await;
    let metrics = page.app.metrics();
    assert_eq!((metrics.bridge["events.publish"].calls, metrics.bridge["events.publish"].denied), (0, 4));

    let many = Value::from(vec![request("storage.usage", json!({})); 17]);
    let refused = page.rpc(many).await;
    assert!(refused.get("error").is_some(), "a batch is bounded: {refused}");
}

#[tokio::test]
async fn who_gets_in() {
    let page = page().await;
    let body = request("storage.usage", json!({})).to_string();
    let token = page.door.token().to_owned();
    let (path, bearer) = (format!("/{token}"), format!("Bearer {token}"));
    let status =
        async |path: &str, headers: &[(&str, &str)]| post(&page.gateway, path, headers, &body).await.0;
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
    assert!(matches!(socket(&page.gateway, &path, Some("https://evil.example")).await, Err(403)));
    assert!(matches!(socket(&page.gateway, &path, None).await, Err(403)));
    assert!(matches!(socket(&page.gateway, "/guess", Some(ORIGIN)).await, Err(401)));
}

#[tokio::test]
async fn one_apps_token_opens_no_other() {
    let page = page().await;
    let other = page.host.launch(APP, "bob").await.unwrap();
    let other_door = page.gateway.open(&other, ORIGIN);
    page.rpc(request("storage.set", json!({ "key": "k", "value": "ann's" }))).await;
    let path = format!("/{}", other_door.token());
    let body = request("storage.get", json!({ "key": "k" })).to_string();
    let (_, answer) = post(&page.gateway, &path, &[("origin", ORIGIN)], &body).await;
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["result"]["found"], json!(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_ends_with_its_app_and_keeps_none_alive() {
    let page = page().await;
    let path = format!("/{}", page.door.token());
    let mut open = socket(&page.gateway, &path, Some(ORIGIN)).await.unwrap();
    let answer = say(&mut open, &request("storage.usage", json!({}))).await.unwrap();
    assert!(answer.get("result").is_some(), "{answer}");
    let handle = page.app.kill_handle();
    drop(page.app);
    tokio::time::timeout(PATIENCE, handle.stopped()).await.expect("the socket kept the app alive");
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, open.1.receive_data(&mut rest)).await.unwrap();
    assert!(closed.is_err(), "the socket is closed");
    assert!(matches!(socket(&page.gateway, &path, Some(ORIGIN)).await, Err(401)));
}

#[tokio::test]
async fn a_closed_door_and_too_many_connections() {
    let page = page().await;
    let path = format!("/{}", page.door.token());
    let mut open = Vec::new();
    let refused = loop {
        match socket(&page.gateway, &path, Some(ORIGIN)).await {
            Ok(socket) => open.push(socket),
            Err(status) => break status,
        }
    };
    assert_eq!((refused, open.len()), (429, 8));
    drop(page.door);
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, open[0].1.receive_data(&mut rest)).await.unwrap();
    assert!(closed.is_err(), "closing the door closes its sockets");
    assert!(matches!(socket(&page.gateway, &path, Some(ORIGIN)).await, Err(401)));
}
