//! Guests that race with their host: for a permission that is taken away, and for memory that is counted.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod arena;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arena::{PATIENCE, arena_with, policy};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, CallError, Instance, Limits, Policy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Odd from after a revocation has returned until before the next grant begins.
#[derive(Clone, Default)]
struct Turn(Arc<AtomicU64>);

impl Turn {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn next(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Serialize, Deserialize)]
struct Beat {
    turn: u64,
}

/// `beat.now` tells whose turn it is, and what the race is about counts every call that gets through although it began
/// after a revocation had returned and before there was a new grant.
fn race(turn: &Turn, stolen: &Arc<AtomicU64>) -> [Bridge; 2] {
    let (for_beat, for_quick, for_slow) = (turn.clone(), turn.clone(), turn.clone());
    let (quick, slow) = (stolen.clone(), stolen.clone());
    let judge = |began: u64, now: u64, stolen: &AtomicU64| {
        if began % 2 == 1 && began == now {
            stolen.fetch_add(1, Ordering::SeqCst);
        }
    };
    [
        Bridge::new("host.beat")
            .immediate("beat.now", move |_, _: Value| Ok::<_, RpcError>(Beat { turn: for_beat.now() })),
        Bridge::new("host.race")
            .immediate("race.quick", move |_, began: Beat| {
                judge(began.turn, for_quick.now(), &quick);
                Ok::<_, RpcError>(true)
            })
            .method("race.slow", move |_, began: Beat| {
                judge(began.turn, for_slow.now(), &slow);
                async {
                    tokio::task::yield_now().await;
                    Ok::<_, RpcError>(true)
                }
            }),
    ]
}

/// Calls allowed and denied so far, of both methods.
fn counted(app: &Instance) -> (u64, u64) {
    let bridge = app.metrics().bridge;
    let of = |method: &str| bridge.get(method).map_or((0, 0), |m| (m.calls, m.denied));
    let (quick, slow) = (of("race.quick"), of("race.slow"));
    (quick.0 + slow.0, quick.1 + slow.1)
}

/// Calls without end, from the guest or as the app's own page would.
fn hammer(app: &Instance, page: bool, turn: &Turn) -> JoinHandle<()> {
    let (app, turn) = (app.clone(), turn.clone());
    tokio::spawn(async move {
        loop {
            let outcome = if page {
                let params = json!({ "turn": turn.now() }).to_string();
                let answer = app.dispatch("race.quick", &params).await;
                tokio::task::yield_now().await;
                answer.map(drop).map_err(CallError::Rpc)
            } else {
                app.call::<Value>("attack", &json!({ "rounds": 200 })).await.map(drop)
            };
            match outcome {
                Ok(()) => {}
                Err(CallError::Rpc(error)) if error.code != code::CANCELLED => {}
                // The app's end, as each of the two ways tells it.
                Err(CallError::Rpc(_) | CallError::Stopped { .. }) => return,
                Err(error) => panic!("{error}"),
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_let_through_once_a_revocation_has_returned() {
    let (turn, stolen) = (Turn::default(), Arc::new(AtomicU64::new(0)));
    let arena = arena_with(|b| {
        let [beat, race] = race(&turn, &stolen);
        // So much time of its own that it never pauses.
        let limits = Limits { cpu_per_second: Duration::from_secs(60), ..policy().limits };
        b.policy(Policy { limits, ceilings: limits, ..policy() }).bridge(beat).bridge(race)
    })
    .await;
    let app = arena.launch("grant-race").await;
    let id = app.app_id().to_owned();
    let hammering = [hammer(&app, false, &turn), hammer(&app, true, &turn)];
    let rounds = async {
        for _ in 0..60 {
            // Each decision is met by the guest while it hammers, or there was no race.
            let (allowed, _) = counted(&app);
            while counted(&app).0 < allowed + 20 {
                tokio::task::yield_now().await;
            }
            arena.host.revoke("ann", &id, "host.race").unwrap();
            turn.next();
            let (_, denied) = counted(&app);
            while counted(&app).1 < denied + 20 {
                tokio::task::yield_now().await;
            }
            turn.next();
            assert!(arena.host.grant("ann", &id, "host.race").unwrap());
            arena.neighbour_answers("a grant").await;
        }
    };
    tokio::time::timeout(PATIENCE, rounds).await.unwrap();
    assert_eq!(stolen.load(Ordering::SeqCst), 0, "calls went through after they were forbidden");
    arena.host.revoke("ann", &id, "host.race").unwrap();
    arena.clear(app).await;
    for hammering in hammering {
        tokio::time::timeout(PATIENCE, hammering).await.unwrap().unwrap();
    }
    // It needs what it has lost, so it is not launched again.
    let error = arena.host.launch(&id, "ann").await.unwrap_err();
    assert_eq!(error.code(), "MPKG-H12", "{error}");
    arena.nothing_is_left("a launch that was refused");
}

/// Memories and tables grow in three apps at once, in a host that has not room for all of them, while the host looks,
/// counts and kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_was_raced_for_is_counted_to_the_byte() {
    const GROWERS: [&str; 3] = ["memory", "many-memories", "table-growth"];
    let budget = 150 << 20;
    let arena = arena_with(|b| b.policy(Policy { memory_bytes: budget, ..policy() })).await;
    for round in 0..24 {
        let mut apps = Vec::new();
        for name in GROWERS {
            let app = arena.launch(name).await;
            // Every second time until refused, else until they die of it.
            let method = if (round + apps.len()) % 2 == 0 { "fill" } else { "attack" };
            apps.push((app, method));
        }
        let growing: Vec<_> = apps
            .iter()
            .map(|(app, method)| {
                let (app, method) = (app.clone(), *method);
                tokio::spawn(async move { app.call::<Value>(method, &json!({})).await })
            })
            .collect();
        let victim = &apps[round % 3].0;
        let mut looks = 0;
        while growing.iter().any(|call| !call.is_finished()) {
            let snapshot = arena.host.snapshot();
            assert!(snapshot.memory_bytes <= budget, "{snapshot:?}");
            assert!(arena.host.open_metrics().contains("miniapp_host_memory_bytes"));
            for (app, _) in &apps {
                let metrics = app.metrics();
                assert!(metrics.memory_peak <= metrics.memory_cap, "{metrics:?}");
            }
            looks += 1;
            if looks == 1 + round / 3 {
                victim.kill("test");
            }
            tokio::task::yield_now().await;
        }
        for (growing, (app, method)) in growing.into_iter().zip(&apps) {
            match (growing.await.unwrap(), *method) {
                (Ok(_), "fill") => {}
                (Err(CallError::Stopped { reason, .. }), _) => {
                    let expected: &[&str] =
                        if *method == "fill" { &["killed"] } else { &["killed", "memory", "host_memory"] };
                    assert!(expected.contains(&reason.label()), "{}: {reason}", app.app_id());
                }
                (other, _) => panic!("{} {method}: {other:?}", app.app_id()),
            }
        }
        for (app, _) in apps {
            app.kill("test");
            tokio::time::timeout(PATIENCE, app.stopped()).await.unwrap();
        }
        arena.nothing_is_left("growing");
        arena.neighbour_answers("growing").await;
    }
}
