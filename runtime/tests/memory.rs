//! The host's memory: what fits is launched, what nobody looks at makes room, what does not fit is told beforehand.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{APP, Package, call, host_with};
use miniapp_runtime::{LaunchError, Policy, State, StaticPermissions, StopReason};
use serde_json::json;

const MIB: u64 = 1 << 20;

fn small(memory_bytes: u64) -> common::TestHost {
    let policy = Policy { memory_bytes, ..Policy::default() };
    host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()))
}

#[tokio::test]
async fn the_least_recently_shown_of_the_hidden_goes_first() {
    // Touches all of its 33 pages when it starts, so that what it declares is what it takes.
    let ballast = "(core module $ballast (memory 31)
        (func $touch (memory.fill (i32.const 0) (i32.const 1) (i32.const 2031616))) (start $touch))
        (core instance (instantiate $ballast))
        (core instance $main";
    let component = common::puppet::component(&[]).replacen("(core instance $main", ballast, 1);
    let package = Package { component: wat::parse_str(component).unwrap(), ..Package::default() };
    let host = small(33 * 65536 * 7 / 2);
    host.install(package.signed()).await.unwrap();
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
