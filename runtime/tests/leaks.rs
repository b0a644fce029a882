//! Ends leave nothing behind. The one test of its process, so that what it sees is its own.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
mod net;
#[path = "common/page.rs"]
mod page;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{APP, Package, TestHost, call, host_with, one_compiler};
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{Bridge, Gateway, Limits, Policy, StaticPermissions};
use net::{Names, Reply, Server};
use page::{ORIGIN, Socket};
use serde_json::{Value, json};

/// Launches an app, has it do something, and ends it in the midst of that.
async fn round(host: &TestHost, gateway: &Gateway, server: &Server, n: usize) {
    if n % 10 == 9 {
        // While it starts, or even just after that.
        let launching = host.begin_launch(APP, "ann").unwrap();
        let handle = launching.kill_handle();
        let launch = tokio::spawn(launching);
        handle.kill("test");
        drop(launch.await.unwrap());
        handle.stopped().await;
        return;
    }
    let app = host.launch(APP, "ann").await.unwrap();
    match n % 10 {
        // Idle.
        0 => assert!(app.kill("test")),
        // Busy.
        1 => {
            let spinning = tokio::spawn({
                let app = app.clone();
                async move { call(&app, "spin", json!({})).await }
            });
            tokio::task::yield_now().await;
            app.kill("test");
            assert!(spinning.await.unwrap().is_err());
        }
        2 => {
            call(&app, "0events.subscribe", json!({ "topic": "t" })).await.unwrap();
            app.kill("test");
        }
        // In the midst of a file, which is written to its end or not at all.
        3 => {
            let written = json!({ "path": "a/b", "text": "x".repeat(n % 1000) });
            let mut writing = pin!(call(&app, "1files.write", written));
            assert!(writing.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            app.kill("test");
        }
        4 => {
            call(&app, "2storage.watch", json!({})).await.unwrap();
            call(&app, "4timers.set", json!({ "after_ms": 600_000, "every_ms": 1000 })).await.unwrap();
            app.kill("test");
        }
        // Parked in its host, and its caller gone.
        5 => {
            let mut parked = pin!(call(&app, "3wait.forever", json!({})));
            assert!(parked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            app.kill("test");
        }
        // With a page of its own that listens, and has no part in it that its connection ends.
        6 => {
            let door = gateway.open(&app, ORIGIN).unwrap();
            let mut page = Socket::open(gateway, &format!("/{}", door.token()), Some(ORIGIN)).await.unwrap();
            app.kill("test");
            page.drain().await;
        }
        // With a request to a server that never answers, and hears that the connection ends.
        7 => {
            let url = json!({ "url": format!("http://a.example.com:{}/", server.port) });
            let requesting = tokio::spawn({
                let app = app.clone();
                async move { call(&app, "5network.fetch", url).await }
            });
            server.arrived().await;
            app.kill("test");
            server.closed().await;
            assert!(requesting.await.unwrap().is_err());
        }
        // Just dropped.
        _ => {}
    }
    let handle = app.kill_handle();
    drop(app);
    handle.stopped().await;
}

/// Ten thousand launches and kills, and then a look at what is left: no memory, no tasks, no files, nobody who listens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_launches_and_kills_leave_nothing() {
    let limits = Limits { cpu_per_call: Duration::from_millis(50), ..Limits::PHONE };
    let server = Server::plain(|_| Reply::Hang(Vec::new())).await;
    let names = Names::default();
    names.set("a.example.com", [vec!["127.0.0.1".parse().unwrap()]]);
    let policy = Policy { limits, network: net::policy(&names, &[server.port]), ..Policy::default() };
    let wait = Bridge::new("host.wait")
        .method("wait.forever", |_, _: Value| std::future::pending::<Result<(), RpcError>>());
    let host = host_with(|b| {
        let b = b.policy(policy).compiler(one_compiler()).bridge(wait);
        b.permissions(StaticPermissions::allow_all())
    });
    let package = Package {
        mpkg: json!({ "files": { "quota_bytes": 65536 }, "network": { "allow": ["a.example.com"] } }),
        ..Package::with(&["events", "files", "storage", "host.wait", "timers", "network"])
    };
    host.install(package.required().signed()).await.unwrap();
    host.prepare(APP).await.unwrap();
    let gateway = Gateway::listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let look = || (resident(), std::fs::read_dir("/proc/self/fd").unwrap().count());
    // The host makes its threads for busy guests when it meets the first one.
    let busy = host.launch(APP, "ann").await.unwrap();
    assert!(call(&busy, "spin", json!({})).await.is_err());
    drop(busy);
    for n in 0..1000 {
        round(&host, &gateway, &server, n).await;
    }
    let (memory, files) = look();
    let on_disk = files_below(host.folder.path());
    let tasks = runtime.metrics().num_alive_tasks();
    for n in 0..10_000 {
        round(&host, &gateway, &server, n).await;
    }
    // Those who were told of the last end are on their way out, and so is what was being written.
    let gone = async {
        while runtime.metrics().num_alive_tasks() > tasks
            || look().1 > files
            || files_below(host.folder.path()) > on_disk
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("tasks, sockets or files are left");
    let (memory_after, _) = look();
    assert_eq!(host.snapshot().instances.len(), 0);
    assert_eq!(host.snapshot().memory_bytes, 0);
    assert_eq!(gateway.connections(), 0);
    assert_eq!(host.publish(None, "t", &json!({})).unwrap().receivers, 0, "somebody still listens");
    // Ten thousand instances would be gigabytes; what the allocator keeps for itself is a few megabytes.
    assert!(memory_after < memory + (16 << 20), "{memory} before, {memory_after} after");
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
