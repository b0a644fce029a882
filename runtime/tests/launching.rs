//! A launch can be ended wherever it is, and leaves nothing behind.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use common::{APP, Package, call, compiled, host, host_with, one_compiler};
use miniapp_runtime::{Compiler, Decision, LaunchError, Limits, Policy, PromptPermissions, State};
use serde_json::json;
use tokio::sync::Notify;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

/// Shows something of an app's compile that is true only while it lasts. On a machine that is busy elsewhere it may be
/// over before anybody has looked, and `shown` says false: then once more, with more code.
async fn during_a_compile(shown: impl AsyncFn(Vec<u8>) -> bool) {
    for functions in [4000, 8000, 16_000] {
        if shown(big(functions)).await {
            return;
        }
    }
    panic!("it never happened before the compile was over");
}

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
    during_a_compile(killed_while_it_compiles).await;
}

async fn killed_while_it_compiles(component: Vec<u8>) -> bool {
    let host = host_with(|b| b.compiler(one_compiler()).permissions(miniapp_runtime::DenyPermissions));
    host.install(Package { component, ..Package::default() }.signed()).await.unwrap();
    let launching = host.begin_launch(APP, "ann").unwrap();
    let handle = launching.kill_handle();
    let launch = tokio::spawn(launching);
    until("the compile", || host.snapshot().compiling > 0 || compiled(&host) > 0).await;
    let killed = host.kill(APP, "test");
    let outcome = tokio::time::timeout(PATIENCE, launch).await.unwrap().unwrap();
    if outcome.is_ok() {
        return false;
    }
    tokio::time::timeout(PATIENCE, handle.stopped()).await.unwrap();
    // In this order: the code is on its way to the disk before its slot is free.
    let compiling = host.snapshot().compiling;
    let kept = std::fs::read_dir(host.folder.path().join("native")).unwrap().count();
    if compiled(&host) > 0 || kept > 0 {
        return false;
    }
    assert_eq!(killed, 1, "a kill by app finds launches too");
    assert!(is_killed(outcome));
    assert_eq!(compiling, 1, "the slot stays taken until the compile ends");
    let next = tokio::time::timeout(PATIENCE, host.launch(APP, "ann")).await.unwrap().unwrap();
    assert_eq!(call(&next, "echo", json!(1)).await, Ok(json!(1)));
    assert_eq!(compiled(&host), 1, "compiled once for both");
    true
}

/// What is compiled for later keeps nobody waiting: an app that was never seen starts while another one's better code is
/// being made, and runs on it from the next launch on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_was_never_seen_starts_on_fast_code_at_once() {
    if Compiler::from_environment().unwrap() == Compiler::Tiered {
        during_a_compile(started_beside_a_compile).await;
    }
}

async fn started_beside_a_compile(component: Vec<u8>) -> bool {
    let host = host();
    let large = Package { app_id: "com.example.large".into(), component, ..Package::default() };
    host.install(large.signed()).await.unwrap();
    host.install(Package::default().signed()).await.unwrap();
    let first = host.launch(&large.app_id, "ann").await.unwrap();
    until("the second compile", || host.snapshot().compiling > 0 || compiled(&host) > 1).await;
    let other = host.launch(APP, "ann").await.unwrap();
    // Else the large one's better code is there, and nobody knows whether the other one has waited for it.
    if compiled(&host) != 2 {
        return false;
    }
    let optimized = |instance: &miniapp_runtime::Instance| {
        let shown = host.snapshot().instances.into_iter().find(|shown| shown.id == instance.id());
        shown.unwrap().running.unwrap().optimized
    };
    assert!(!optimized(&first) && !optimized(&other));
    // Both wait for the one compile that is under way.
    let ready = async { tokio::join!(host.prepare(&large.app_id), host.prepare(APP)) };
    let (one, two) = tokio::time::timeout(Duration::from_secs(120), ready).await.unwrap();
    one.unwrap();
    two.unwrap();
    assert_eq!(compiled(&host), 4, "two apps, each fast and well, once");
    let next = host.launch(&large.app_id, "ann").await.unwrap();
    assert!(optimized(&next) && !optimized(&first), "what runs goes on as it began");
    assert_eq!(call(&next, "echo", json!(1)).await, Ok(json!(1)));
    true
}

/// Code is there when the host starts again, and no compiler runs for it.
#[tokio::test]
async fn the_next_host_has_the_code() {
    let host = host();
    host.install(Package::default().signed()).await.unwrap();
    host.prepare(APP).await.unwrap();
    let folder = host.folder;
    let mut first = Some(host.host);
    let next = async {
        loop {
            drop(first.take());
            match common::builder(folder.path()).build() {
                Ok(host) => return host,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let host = tokio::time::timeout(PATIENCE, next).await.unwrap();
    let app = host.launch(APP, "ann").await.unwrap();
    assert!(host.snapshot().instances[0].running.as_ref().unwrap().optimized);
    assert_eq!(call(&app, "echo", json!(1)).await, Ok(json!(1)));
    assert_eq!(compiled(&host), 0);
    let kept = std::fs::read_dir(folder.path().join("native")).unwrap().count();
    assert_eq!(kept, 1, "the fast code went when there was better");
}

/// As many compile at a time as the policy says, and the others wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiles_are_bounded() {
    let host = host_with(|b| b.compiler(one_compiler()));
    let apps: Vec<_> = (0..3)
        .map(|n| Package {
            app_id: format!("com.example.large{n}"),
            component: big(4000),
            code: n + 1,
            ..Package::default()
        })
        .collect();
    for app in &apps {
        host.install(app.signed()).await.unwrap();
    }
    let launches: Vec<_> =
        apps.iter().map(|app| tokio::spawn(host.begin_launch(&app.app_id, "ann").unwrap())).collect();
    let mut most = 0;
    let look = async {
        while !launches.iter().all(tokio::task::JoinHandle::is_finished) {
            most = most.max(host.snapshot().compiling);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE * 3, look).await.unwrap();
    for launch in launches {
        launch.await.unwrap().unwrap();
    }
    assert_eq!(most, 1);
}

/// A guest with so much code that it takes a while to compile: hundreds of bytes in each of so many functions.
fn big(functions: usize) -> Vec<u8> {
    let mut code = String::new();
    for n in 0..functions {
        code += "(func (param i32) (result i32) local.get 0 ";
        for step in 0..40 {
            code += &format!("i32.const {} i32.mul i32.const {step} i32.add ", n * 31 + 7);
        }
        code += ")\n";
    }
    let component = common::puppet::component(&[]);
    wat::parse_str(component.replacen(
        "(core instance $main",
        &format!(
            "(core module $ballast {code})\n(core instance (instantiate $ballast))\n(core instance $main"
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
    until("its start", || host.snapshot().memory_bytes > 0).await;
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
