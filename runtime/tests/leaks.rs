//! Ends leave nothing behind. The one test of its process, so that what it sees is its own.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{APP, Package, call, host_with};
use miniapp_runtime::{Compiler, Limits, Policy, StaticPermissions};
use serde_json::json;

/// Ten thousand launches and kills, and then a look at what is left: no memory, no tasks, no files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_launches_and_kills_leave_nothing() {
    let limits = Limits { cpu_per_call: Duration::from_millis(50), ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| {
        b.policy(policy).compiler(Compiler::Cranelift).permissions(StaticPermissions::allow_all())
    });
    host.install(Package::with(&["events"]).required().signed()).await.unwrap();
    host.prepare(APP).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let look = || (resident(), std::fs::read_dir("/proc/self/fd").unwrap().count());
    let round = async |n: usize| {
        let app = host.launch(APP, "ann").await.unwrap();
        match n % 4 {
            // Idle, busy, subscribed, or just dropped.
            0 => assert!(app.kill("test")),
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
            _ => {}
        }
        let handle = app.kill_handle();
        drop(app);
        handle.stopped().await;
    };
    // The host makes its threads for busy guests when it meets the first one.
    let busy = host.launch(APP, "ann").await.unwrap();
    assert!(call(&busy, "spin", json!({})).await.is_err());
    drop(busy);
    for n in 0..1000 {
        round(n).await;
    }
    let (memory, files) = look();
    let tasks = runtime.metrics().num_alive_tasks();
    for n in 0..10_000 {
        round(n).await;
    }
    // Those who were told of the last end are on their way out.
    let gone = async {
        while runtime.metrics().num_alive_tasks() > tasks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("tasks are left");
    let (memory_after, files_after) = look();
    assert_eq!(host.snapshot().instances.len(), 0);
    assert_eq!(host.snapshot().memory_bytes, 0);
    assert!(files_after <= files, "{files} before, {files_after} after");
    // Ten thousand instances would be gigabytes; what the allocator keeps for itself is a few megabytes.
    assert!(memory_after < memory + (16 << 20), "{memory} before, {memory_after} after");
}

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
