//! Where instances get their memory from: a pool where there is address space for one, and without one otherwise.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{APP, Package, host, host_with};
use miniapp_runtime::{LaunchError, Policy, StaticPermissions};
use serde_json::{Value, json};

/// A component with this many memories, each in a module of its own beside the guest's.
fn with_memories(extra: usize) -> Package {
    let text = common::puppet::component(&[]);
    let body = text.trim_end().strip_suffix(')').unwrap();
    let module = "(core module $cell (memory 1))\n";
    let cells: String =
        (0..extra).map(|n| format!("(core instance $cell{n} (instantiate $cell))\n")).collect();
    let component = wat::parse_str(format!("{body}{module}{cells})")).unwrap();
    Package { component, ..Package::default() }
}

/// Who has more memories than most takes them from others; that ends as a refusal of the next launch, not as a fault of
/// an app that runs.
#[tokio::test]
async fn a_pool_that_is_used_up_refuses_the_next_launch() {
    let host = host_with(|b| {
        b.policy(Policy { instances: 8, ..Policy::default() }).permissions(StaticPermissions::allow_all())
    });
    let package = with_memories(14);
    let first = host.run(&package).await;
    let mut live = vec![first];
    let refused = loop {
        match host.launch(APP, "bob").await {
            Ok(instance) => live.push(instance),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, LaunchError::Full { limit: 8 }), "{refused}");
    // Without a pool it would have been the eighth.
    #[cfg(target_os = "linux")]
    assert!(live.len() < 8, "{} fit", live.len());
    for instance in &live {
        assert_eq!(instance.call::<Value>("echo", &json!({ "n": 1 })).await.unwrap(), json!({ "n": 1 }));
    }
    live.pop().unwrap().kill("room for others");
    live.push(host.launch(APP, "bob").await.unwrap());
}

/// The child of the next test; by itself it says nothing new.
#[tokio::test]
async fn child() {
    let host = host();
    let app = host.run(&Package::default()).await;
    assert_eq!(app.call::<Value>("echo", &json!({ "n": 1 })).await.unwrap(), json!({ "n": 1 }));
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_with_little_address_space_does_without_a_pool() {
    // 16 GiB: a few memories' worth, far from what a pool reserves.
    let limited = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 16777216 && exec \"$0\" --exact child --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .output()
        .unwrap();
    assert!(limited.status.success(), "{}", String::from_utf8_lossy(&limited.stdout));
}
