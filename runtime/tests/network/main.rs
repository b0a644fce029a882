//! The `network` bridge, as a guest meets it: answers, streams, caps, and what is left behind when it ends.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod bounds;
#[path = "../common/mod.rs"]
mod common;
mod ends;
#[path = "../net/mod.rs"]
mod net;

use common::{Package, TestHost, host_with};
use data_encoding::BASE64;
use miniapp_runtime::rpc::code;
use miniapp_runtime::{CallError, Instance, NetworkPolicy, Policy, StaticPermissions};
use net::{Names, PATIENCE, Reply, Server};
use serde_json::{Value, json};

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

/// A server that says nothing.
async fn silent() -> Server {
    Server::plain(|seen| match seen.path() {
        "/body" => Reply::Hang(head("Content-Length: 5\r\n")),
        _ => Reply::Hang(Vec::new()),
    })
    .await
}
