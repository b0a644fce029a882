//! What an app takes while it starts is its host's memory, whatever it does to hide that.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{APP, Package, host, host_with, puppet};
use miniapp_runtime::{LaunchError, PAGE, Policy, StopReason};

/// An app that does this when it is told that it was launched.
fn package(does: &str) -> Package {
    Package { component: wat::parse_str(puppet::when_launched(does)).unwrap(), ..Package::default() }
}

/// Takes 8 MiB and writes to every page of them.
const TAKE: &str = r#"
    (if (i32.eq (memory.grow (i32.const 128)) (i32.const -1)) (then (unreachable)))
    (memory.fill (i32.const 131072) (i32.const 1) (i32.const 8388608))"#;
const TAKEN: u64 = 128 * PAGE;

/// A guest that computes for some ticks is moved to another thread. What it touches there counts as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_are_touched_on_another_thread_count() {
    let spin = r#"(local.set $n (i32.const 40000000))
        (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))"#;
    let host = host();
    let _app = host.run(&package(&format!("{spin}{TAKE}"))).await;
    let counted = host.snapshot().memory_bytes;
    assert!(counted >= TAKEN, "{counted} bytes are counted");
}

/// Launches that are not measured are counted by what was measured before, and by what they take beyond that.
#[tokio::test]
async fn growth_beyond_the_estimate_is_charged_when_it_happens() {
    let host = host_with(|b| b.policy(Policy { memory_bytes: TAKEN, ..Policy::default() }));
    host.install(package(TAKE).signed()).await.unwrap();
    let refused = host.launch(APP, "ann").await.unwrap_err();
    assert!(
        matches!(&refused, LaunchError::Stopped { reason: StopReason::HostMemory { .. }, .. }),
        "{refused}"
    );
    assert_eq!(host.snapshot().memory_bytes, 0);
    let metrics = host.open_metrics();
    let counted = format!("miniapp_limits_met_total{{app=\"{APP}\",limit=\"host_memory\"}} 1\n");
    assert!(metrics.contains(&counted), "what happens while an app starts is counted: {metrics}");
}
