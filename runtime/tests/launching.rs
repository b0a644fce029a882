//! A launch can be ended wherever it is, and leaves nothing behind.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{APP, Package, call, host, host_with};
use miniapp_runtime::{Compiler, Decision, LaunchError, Limits, Policy, PromptPermissions, State};
use serde_json::json;
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(20);

fn is_killed(outcome: Result<miniapp_runtime::Instance, LaunchError>) -> bool {
    outcome.unwrap_err().code() == "MPKG-H20"
}

#[tokio::test]
async fn before_it_has_begun() {
    let host = host();
    host.install(Package::default().signed()).await.unwrap();
    let launching = host.begin_launch(APP, "ann").unwrap();
    let handle = launching.kill_handle();
    assert_eq!(handle.state(), State::Launching);
    assert!(handle.kill("test"));
    assert!(is_killed(launching.await));
    handle.stopped().await;
    assert_eq!(host.snapshot().instances.len(), 0);
}

/// The launch is answered at once; the compile goes on in its slot, and the next launch has its result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_it_compiles() {
    let host = host_with(|b| b.compiler(Compiler::Cranelift).permissions(miniapp_runtime::DenyPermissions));
    host.install(Package { component: big(), ..Package::default() }.signed()).await.unwrap();
    let launching = host.begin_launch(APP, "ann").unwrap();
    let handle = launching.kill_handle();
    let launch = tokio::spawn(launching);
    while host.snapshot().compiling == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.kill(APP, "test"), 1, "a kill by app finds launches too");
    assert!(is_killed(launch.await.unwrap()));
    handle.stopped().await;
    assert_eq!(host.snapshot().compiling, 1, "the slot stays taken until the compile ends");
    let next = tokio::time::timeout(PATIENCE, host.launch(APP, "ann")).await.unwrap().unwrap();
    assert_eq!(call(&next, "echo", json!(1)).await, Ok(json!(1)));
    let metrics = host.open_metrics();
    assert!(metrics.contains("miniapp_compiles_total 1\n"), "compiled once for both: {metrics}");
}

/// A guest with so much code that it takes a while to compile.
fn big() -> Vec<u8> {
    let mut functions = String::new();
    for n in 0..4000 {
        functions += "(func (param i32) (result i32) local.get 0 ";
        for step in 0..40 {
            functions += &format!("i32.const {} i32.mul i32.const {step} i32.add ", n * 31 + 7);
        }
        functions += ")\n";
    }
    let component = common::puppet::component(&[]);
    wat::parse_str(component.replacen(
        "(core instance $main",
        &format!(
            "(core module $ballast {functions})\n(core instance (instantiate $ballast))\n(core instance $main"
        ),
        1,
    ))
    .unwrap()
}

#[tokio::test]
async fn while_it_asks() {
    let asked = Arc::new(Notify::new());
    let at = asked.clone();
    let ask = PromptPermissions::new(move |_| {
        let at = at.clone();
        async move {
            at.notify_one();
            std::future::pending::<Decision>().await
        }
    });
    let host = host_with(|b| b.permissions(ask));
    host.install(Package::with(&["storage"]).required().signed()).await.unwrap();
    let launching = host.begin_launch(APP, "ann").unwrap();
    let handle = launching.kill_handle();
    let launch = tokio::spawn(launching);
    asked.notified().await;
    assert!(handle.kill("test"));
    assert!(is_killed(tokio::time::timeout(PATIENCE, launch).await.unwrap().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_its_start_code_spins() {
    let long = Duration::from_secs(600);
    let limits = Limits { cpu_per_call: long, cpu_per_second: long, wall_per_call: long, ..Limits::PHONE };
    let policy = Policy { limits, ceilings: limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy));
    let spins = r#"(core module $spins (func $spin (loop $again (br $again))) (start $spin))
        (core instance (instantiate $spins))
        (core instance $main"#;
    let component = common::puppet::component(&[]).replacen("(core instance $main", spins, 1);
    let package = Package { component: wat::parse_str(component).unwrap(), ..Package::default() };
    host.install(package.signed()).await.unwrap();
    let launching = host.begin_launch(APP, "ann").unwrap();
    let handle = launching.kill_handle();
    let launch = tokio::spawn(launching);
    // Its memory is taken when its start code runs.
    while host.snapshot().memory_bytes == 0 {
        tokio::task::yield_now().await;
    }
    assert!(handle.kill("test"));
    assert!(is_killed(tokio::time::timeout(PATIENCE, launch).await.unwrap().unwrap()));
    assert_eq!(host.snapshot().memory_bytes, 0);
}

/// Drops a launch after each number of polls that it can take: whatever it had begun goes with it.
#[tokio::test]
async fn dropped_at_every_await_point() {
    let host = host();
    host.install(Package::with(&["storage"]).required().signed()).await.unwrap();
    host.prepare(APP).await.unwrap();
    for polls in 1.. {
        let launching = host.begin_launch(APP, "ann").unwrap();
        let handle = launching.kill_handle();
        let done = polled(launching, polls).await;
        if let Some(outcome) = done {
            drop(outcome.unwrap());
            tokio::time::timeout(PATIENCE, handle.stopped()).await.unwrap();
            assert!(polls > 1, "the launch waits somewhere");
            break;
        }
        tokio::time::timeout(PATIENCE, handle.stopped()).await.unwrap();
        assert_eq!(host.snapshot().instances.len(), 0, "after {polls} polls");
        assert_eq!(host.snapshot().memory_bytes, 0, "after {polls} polls");
    }
}

/// Polls `work` so many times, whenever something else has had a turn, and drops it.
async fn polled<T>(work: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut work = pin!(work);
    for _ in 0..polls {
        let ready = std::future::poll_fn(|_| {
            let mut quiet = Context::from_waker(Waker::noop());
            std::task::Poll::Ready(work.as_mut().poll(&mut quiet))
        });
        if let std::task::Poll::Ready(done) = ready.await {
            return Some(done);
        }
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        tokio::task::yield_now().await;
    }
    None
}
