//! The host's memory: what fits is launched, what nobody looks at makes room, what does not fit is told beforehand.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::parked::Parked;
use common::{APP, Package, call, host_with};
use miniapp_runtime::{LaunchError, Policy, State, StaticPermissions, StopReason};
use serde_json::json;

const MIB: u64 = 1 << 20;

fn small(memory_bytes: u64) -> common::TestHost {
    let policy = Policy { memory_bytes, ..Policy::default() };
    host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()))
}

/// What [`heavy`] takes.
const PAGES: u64 = 33;

/// Touches all of its pages when it starts, so that what it declares is what it takes.
fn heavy(interfaces: &[&str]) -> Vec<u8> {
    let ballast = "(core module $ballast (memory 31)
        (func $touch (memory.fill (i32.const 0) (i32.const 1) (i32.const 2031616))) (start $touch))
        (core instance (instantiate $ballast))
        (core instance $main";
    let component = common::puppet::component(interfaces).replacen("(core instance $main", ballast, 1);
    wat::parse_str(component).unwrap()
}

#[tokio::test]
async fn the_least_recently_shown_of_the_hidden_goes_first() {
    let host = small(PAGES * 65536 * 7 / 2);
    host.install(Package { component: heavy(&[]), ..Package::default() }.signed()).await.unwrap();
    let mut apps = Vec::new();
    for user in ["a", "b", "c"] {
        apps.push(host.launch(APP, user).await.unwrap());
    }
    for app in &apps {
        app.show().await.unwrap();
    }
    // Shown last of the three, hidden first.
    apps[2].hide().await.unwrap();
    apps[0].hide().await.unwrap();
    let fit = host.fit(APP).await.unwrap();
    assert!(fit.fits() && fit.free < fit.needs, "{fit:?}");
    let fourth = host.launch(APP, "d").await.unwrap();
    assert_eq!(apps[0].stop_reason(), Some(StopReason::Evicted));
    assert_eq!((apps[1].state(), apps[2].state()), (State::Shown, State::Hidden));
    fourth.show().await.unwrap();
    let fifth = host.launch(APP, "e").await.unwrap();
    fifth.show().await.unwrap();
    assert_eq!(apps[2].stop_reason(), Some(StopReason::Evicted));

    // What is in front of a user is not ended for another launch.
    assert!(!host.fit(APP).await.unwrap().fits());
    let refused = host.launch(APP, "f").await.unwrap_err();
    assert!(matches!(refused, LaunchError::DoesNotFit { .. }), "{refused}");
    assert_eq!(host.instances().len(), 3);
}

/// An app that keeps itself busy out of sight would otherwise never give way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_runs_out_of_sight_gives_way_last() {
    let parked = Parked::default();
    let bridge = parked.bridge();
    let grace = Duration::from_millis(20);
    let policy = Policy { memory_bytes: PAGES * 65536 * 5 / 2, grace, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).bridge(bridge).permissions(StaticPermissions::allow_all()));
    host.install(Package { component: heavy(&["host"]), ..Package::with(&["host.slow"]) }.signed())
        .await
        .unwrap();
    let busy = host.launch(APP, "a").await.unwrap();
    let waiting = tokio::spawn({
        let busy = busy.clone();
        async move { call(&busy, "0slow.wait", json!({})).await }
    });
    parked.inside(1).await;
    let idle = host.launch(APP, "b").await.unwrap();
    let third = host.launch(APP, "c").await.unwrap();
    assert_eq!((busy.stop_reason(), idle.stop_reason()), (None, Some(StopReason::Evicted)));
    third.show().await.unwrap();
    host.launch(APP, "d").await.unwrap();
    assert_eq!(busy.stop_reason(), Some(StopReason::Evicted));
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test]
async fn growing_beyond_the_hosts_memory_is_refused_and_told() {
    let host = small(2 * MIB);
    let app = host.run(&Package::default()).await;
    assert_eq!(call(&app, "more", json!({})).await, Ok(json!("refused")));
    assert!(app.metrics().memory_bytes < 3 * MIB);
    let stopped = call(&app, "grow", json!({})).await;
    assert!(stopped.is_err());
    assert!(matches!(app.stop_reason(), Some(StopReason::HostMemory { .. })), "{:?}", app.stop_reason());
    app.stopped().await;
    assert_eq!(host.fit(APP).await.unwrap().free, 2 * MIB);
}

#[tokio::test]
async fn a_version_is_admitted_by_what_it_was_seen_to_take() {
    let host = small(64 * MIB);
    // Declares 16 MiB and touches a few pages.
    let big = Package { component: wat::parse_str(declares(256)).unwrap(), ..Package::default() };
    host.install(big.signed()).await.unwrap();
    assert!(host.fit(APP).await.unwrap().needs > 16 * MIB, "nothing is known but what it declares");
    let _app = host.launch(APP, "ann").await.unwrap();
    assert!(host.fit(APP).await.unwrap().needs < 2 * MIB, "{:?}", host.fit(APP).await);
}

fn declares(pages: u32) -> String {
    common::puppet::component(&[])
        .replace(r#"(memory (export "memory") 2)"#, &format!(r#"(memory (export "memory") {pages})"#))
}
