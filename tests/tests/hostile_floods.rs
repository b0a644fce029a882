//! Floods: calls by the million in both directions, events, log lines and notifications. The one test of its process,
//! so that the memory it sees is its own.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod arena;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use arena::{Arena, arena_with, policy};
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{Bridge, Instance, Limit, Limits, Notification, Policy, StopReason};
use serde_json::{Value, json};

/// What the allocator may keep for itself after a flood. Calls that left a dozen bytes each would come to more.
const SLACK: u64 = 8 << 20;
const CALLS: u64 = 1_000_000;

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// An arena in which an app may compute for this much of each second.
async fn sharing(share: Duration, shown: &Arc<AtomicU32>) -> Arena {
    let shown = shown.clone();
    let show = Bridge::new("notifications").immediate("notifications.show", move |_, _: Value| {
        let id = shown.fetch_add(1, Ordering::SeqCst);
        Ok::<_, RpcError>(json!({ "id": id.to_string() }))
    });
    let limits = Limits { cpu_per_second: share, ..policy().limits };
    let ceilings = Limits { cpu_per_second: share, ..policy().ceilings };
    arena_with(|b| b.policy(Policy { limits, ceilings, ..policy() }).bridge(show)).await
}

/// A million calls from the guest to its host.
async fn outwards(arena: &Arena, app: &Instance) {
    let burst = CALLS / 100;
    for _ in 0..100 {
        let answered = arena.attack(app, "tick", json!({ "calls": burst })).await.unwrap();
        assert_eq!(answered, burst);
    }
}

/// A million calls from the host to its guest.
async fn inwards(arena: &Arena, app: &Instance) {
    for n in 0..CALLS {
        assert_eq!(app.call_json("ping", "{}").await.unwrap(), "\"pong\"");
        if n % 10_000 == 0 {
            arena.neighbour_answers("tiny calls").await;
        }
    }
}

/// Notifications, events and log lines, by the thousand: what gets through, what is refused and what is dropped is all
/// there is.
async fn noise(arena: &Arena, app: &Instance, shown: &AtomicU32) {
    const COUNT: u64 = 1000;
    let burst = json!({ "count": COUNT });
    let before = (shown.load(Ordering::SeqCst), app.metrics());
    let outcome = arena.attack(app, "show", burst.clone()).await.unwrap();
    let answered = outcome["answered"].as_u64().unwrap();
    assert_eq!(outcome, json!({ "answered": answered, "busy": COUNT - answered, "failed": 0 }));
    assert!(answered < COUNT, "a thousand notifications were shown");
    assert_eq!(
        u64::from(shown.load(Ordering::SeqCst) - before.0),
        answered,
        "what was refused was not shown"
    );

    // A host that listens and does not read: what was acknowledged waits for it, the rest was refused.
    let mut said = app.notifications();
    let outcome = arena.attack(app, "publish", burst.clone()).await.unwrap();
    let answered = outcome["answered"].as_u64().unwrap();
    assert_eq!(outcome, json!({ "answered": answered, "busy": COUNT - answered, "failed": 0 }));
    let queue = Policy::default().notification_queue as u64;
    assert!(answered <= queue, "{answered} wait in a queue of {queue}");
    let mut read = 0;
    while let Some(said) = said.try_recv() {
        read += u64::from(matches!(&*said, Notification::Event { topic, .. } if topic == "hostile.noise"));
    }
    assert_eq!(read, answered, "acknowledged and lost");
    drop(said);

    arena.attack(app, "log", burst).await.unwrap();
    let after = app.metrics();
    let (written, dropped) = (after.log_lines - before.1.log_lines, after.log_dropped - before.1.log_dropped);
    assert_eq!(written + dropped, COUNT);
    assert!(dropped > 0, "a thousand lines were written");
    assert!(after.limits_met[&Limit::Rate] > 0 && after.limits_met[&Limit::LogLines] > 0, "{after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_tiny_calls_and_notifications_leave_memory_flat_and_neighbours_alone() {
    let shown = Arc::new(AtomicU32::new(0));
    let arena = sharing(Duration::from_secs(60), &shown).await;
    let (tiny, noisy) = (arena.launch("flood").await, arena.launch("noise").await);
    // Once to warm up: the allocator, the guests' heaps, the threads for busy guests.
    outwards(&arena, &tiny).await;
    noise(&arena, &noisy, &shown).await;
    let counted = |app: &Instance| app.metrics().memory_bytes;
    let before = (resident(), arena.host.snapshot().memory_bytes, counted(&tiny), counted(&noisy));
    outwards(&arena, &tiny).await;
    inwards(&arena, &tiny).await;
    noise(&arena, &noisy, &shown).await;
    let after = (resident(), arena.host.snapshot().memory_bytes, counted(&tiny), counted(&noisy));
    assert_eq!((after.1, after.2, after.3), (before.1, before.2, before.3), "counted memory grew");
    assert!(after.0 < before.0 + SLACK, "{} before, {} after", before.0, after.0);
    noisy.kill("test");
    noisy.stopped().await;
    arena.clear(tiny).await;
    assert!(matches!(arena.stopped("noise").await, StopReason::Cpu { .. }));

    // With little time of its own, the same is throttled.
    let arena = sharing(Duration::from_millis(50), &shown).await;
    let app = arena.launch("flood").await;
    while app.metrics().throttled.is_zero() {
        arena.attack(&app, "tick", json!({ "calls": 20_000 })).await.unwrap();
    }
    arena.clear(app).await;
}
