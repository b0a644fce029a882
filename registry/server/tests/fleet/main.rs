//! Rollouts, kills and the stream, judged by what a host makes of the signed documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod documents;
mod rollouts;
mod stops;
mod stream;

use common::TestRegistry;
use mpkg_fleet::{Context, Fleet, Outcome};
use serde_json::{Value, json};

fn context(unit: &str) -> Context {
    serde_json::from_value(json!({ "unit": unit, "platform": "android", "host_version": "3.1.0" })).unwrap()
}

/// A host took it in, and saw nothing wrong with it.
#[track_caller]
fn taken(outcome: Outcome) {
    assert!(outcome.refused.is_none() && !outcome.alarm, "{outcome:?}");
}

/// A host that knows the registry's roots.
#[track_caller]
fn host(registry: &TestRegistry) -> Fleet {
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    host
}

fn plan() -> Value {
    json!([
        { "percent": 500, "bake_s": 0, "min_votes": 0 },
        { "percent": 2_500, "bake_s": 0, "min_votes": 0 },
        { "percent": 10_000, "bake_s": 0, "min_votes": 0 },
    ])
}

/// A registry with releases 1 to 3, of which 1 is everybody's.
async fn ready(registry: &TestRegistry) {
    registry.claim().await;
    for code in 1..=3 {
        registry.publish(code).await;
    }
    registry.everywhere(1).await;
}
