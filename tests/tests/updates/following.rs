//! Rollouts, kills, lifts and telemetry, from a registry to its hosts.

use std::collections::BTreeSet;

use miniapp_runtime::updates::Event;
use mpkg_fleet::{Arm, Counters, Level, arm, bucket_of};
use mpkg_registry::Role;
use serde_json::{Value, json};

use crate::common::{APP, TestRegistry, start};
use crate::device::{Hold, Host, app, until};

/// A registry with a first release that everybody is to run.
pub async fn with_baseline() -> TestRegistry {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    registry.everywhere(1).await;
    registry
}

pub async fn kill(registry: &TestRegistry, level: Level, scope: Value) -> String {
    let body = json!({ "level": level, "scope": scope, "reason": "it steals" });
    registry.post(&registry.admin, "/v1/kills", &body).await.ok().json()["id"].as_str().unwrap().to_owned()
}

pub async fn lift(registry: &TestRegistry, id: &str) {
    let path = format!("/v1/kills/{id}");
    let etag = registry.get(&registry.admin, &path).await.ok().etag.unwrap();
    let body = json!({ "reason": "it was a mistake" });
    registry.go(&registry.admin, &format!("{path}/lift"), &etag, &body).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_reaches_those_in_the_bucket_and_nobody_else() {
    let registry = with_baseline().await;
    let mut hosts = Vec::new();
    for n in 0..24 {
        let mut host = Host::new(&registry, &format!("unit-{n}")).await;
        host.runs(1).await;
        hosts.push(host);
    }
    registry.publish(2).await;
    let step = |percent: u16| json!({ "percent": percent, "bake_s": 0, "min_votes": 0 });
    let plan = json!([step(500), step(2_500), step(10_000)]);
    let body = json!({ "release_seq": 2, "plan": plan, "automatic": false });
    let (id, mut etag) = registry.roll_out(&body).await;
    let mut before = BTreeSet::new();
    loop {
        let state = registry.state().await;
        let treated = |unit: &str| {
            let bucket = bucket_of(state.salt.as_str(), unit);
            arm(bucket, state.percent, state.control) == Arm::Treatment
        };
        let mut now = BTreeSet::new();
        for (n, host) in hosts.iter_mut().enumerate() {
            host.caught_up(&registry).await;
            let inside = treated(&format!("unit-{n}"));
            host.runs(if inside { 2 } else { 1 }).await;
            now.extend(inside.then_some(n));
        }
        assert!(now.is_superset(&before), "nobody drops out");
        before = now;
        if state.percent.get() == 10_000 {
            break;
        }
        let path = format!("/v1/rollouts/{id}/advance");
        let advanced = registry.go(&registry.admin, &path, &etag, &json!({ "skip_bake": true })).await.ok();
        etag = advanced.etag.unwrap();
    }
    assert_eq!(before.len(), hosts.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_leads_everybody_back_without_fetching_anything() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    registry.publish(2).await;
    let plan = json!([{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2, "plan": plan })).await;
    host.runs(2).await;
    let path = format!("/v1/rollouts/{id}/rollback");
    registry.post(&registry.admin, &path, &json!({ "reason": "it crashes" })).await.ok();
    let switched =
        |event: &Event| matches!(event, Event::Switched { release, .. } if release.release_seq == 1);
    host.runs(1).await;
    host.event("switch back", switched).await;
    assert_eq!(host.device.held().packages.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_stops_what_runs_and_holds_without_a_registry_until_it_is_lifted() {
    let mut registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    assert!(host.device.launches() && host.device.held().runs);
    let id = kill(&registry, Level::Stop, json!({ "app": APP })).await;
    let killed = host.event("kill", |event| matches!(event, Event::Killed { .. })).await;
    assert!(matches!(killed, Event::Killed { stopped: 1, .. }));
    host.caught_up(&registry).await;
    assert!(!host.device.launches() && !host.device.held().runs);

    // The registry is gone, and the host starts anew with nothing but what it knows.
    registry.stop().await;
    let settings = host.settings.clone();
    let mut host = host.restart(settings).await;
    assert!(!host.device.launches());
    host.device.held().runs = false;

    // Somewhere else by now, as far as this host is concerned: it has another address.
    let registry = registry.started().await;
    let client =
        mpkg_registry_client::Client::new(&registry.base, Some(&registry.host("unit").await)).unwrap();
    let settings = host.settings.clone().registry(client);
    host = host.restart(settings).await;
    assert!(!host.device.launches());
    lift(&registry, &id).await;
    host.event("lift", |event| matches!(event, Event::Lifted { .. })).await;
    assert!(host.device.launches());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_level_does_its_own_thing() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    kill(&registry, Level::Warn, json!({ "app": APP })).await;
    let warned = host.event("warning", |event| matches!(event, Event::Warn { .. })).await;
    assert!(matches!(warned, Event::Warn { reason, .. } if reason == "it steals"));
    kill(&registry, Level::Revoke, json!({ "app": APP, "permission": "network" })).await;
    host.caught_up(&registry).await;
    let release = host.device.held().shelf.current.clone().unwrap();
    assert_eq!(host.device.orders().effects(&app(), &release).revoke.len(), 1);
    let freeze = kill(&registry, Level::Freeze, json!({ "app": APP })).await;
    host.caught_up(&registry).await;
    registry.publish(2).await;
    registry.everywhere(2).await;
    host.caught_up(&registry).await;
    assert_eq!(host.device.current(), Some(1));
    assert!(host.device.launches(), "a frozen app goes on");
    lift(&registry, &freeze).await;
    host.runs(2).await;
    let block = kill(&registry, Level::Block, json!({ "app": APP })).await;
    host.caught_up(&registry).await;
    assert!(!host.device.launches() && host.device.held().runs, "what runs goes on");
    lift(&registry, &block).await;
    // Not this app, version, platform or host: nothing happens.
    for scope in [
        json!({ "app": APP, "releases": { "from": 3, "to": null } }),
        json!({ "app": APP, "platforms": ["ios"] }),
        json!({ "app": APP, "host_versions": { "min": "4.0.0", "below": null } }),
    ] {
        kill(&registry, Level::Stop, scope).await;
    }
    host.caught_up(&registry).await;
    assert!(host.device.launches() && host.device.held().runs);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_arrives_once_over_restarts_too() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    let count =
        |launches| Counters { launches, beacons: launches, calls: 3 * launches, ..Counters::default() };
    host.device.held().counters.insert(1, count(2));
    host.agent.report().await.unwrap();
    host.agent.report().await.unwrap();
    host.device.held().counters.insert(1, count(5));
    // It ends before it reports; the next run begins to count anew.
    let settings = host.settings.clone();
    let host = host.restart(settings).await;
    host.device.held().counters.insert(1, count(1));
    host.agent.report().await.unwrap();
    let operator = registry.token(Role::Operator).await;
    let minutes = registry.get(&operator, &format!("/v1/apps/{APP}/telemetry")).await.ok().json();
    let sum = |name: &str| -> u64 {
        let items = minutes["items"].as_array().unwrap();
        items.iter().map(|minute| minute["counters"][name].as_u64().unwrap()).sum()
    };
    assert_eq!((sum("launches"), sum("beacons"), sum("calls")), (6, 6, 18));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_start_here_is_not_run_again_and_something_newer_is() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    registry.publish(2).await;
    let plan = json!([{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan })).await;
    host.runs(2).await;
    {
        // As a host does after three abnormal starts.
        let mut held = host.device.held();
        let bad = held.shelf.current.clone().unwrap();
        held.reject.push(bad);
        held.shelf.current = held.shelf.releases.first().cloned();
    }
    host.event("rejection", |event| matches!(event, Event::Rejected { .. })).await;
    assert_eq!(host.device.current(), Some(1));
    registry.publish(3).await;
    registry.everywhere(3).await;
    host.runs(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_does_not_wait_for_an_app_that_is_to_end() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    let hold = Hold::default();
    host.device.held().switching = Some(hold.clone());
    registry.publish(2).await;
    registry.everywhere(2).await;
    hold.reached.notified().await;
    kill(&registry, Level::Stop, json!({ "app": APP, "releases": { "from": 1, "to": 1 } })).await;
    host.event("kill", |event| matches!(event, Event::Killed { .. })).await;
    assert!(!host.device.launches() && !host.device.held().runs);
    assert_eq!(host.device.current(), Some(1));
    hold.over.notify_one();
    host.runs(2).await;
    assert!(host.device.launches());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_reported_is_on_the_disk_when_it_is_told_once() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    let path = host.settings.folder.join("telemetry.json");
    let kept = || -> Vec<u64> {
        let rows: Vec<Value> =
            serde_json::from_slice(&std::fs::read(&path).unwrap_or(b"[]".to_vec())).unwrap();
        rows.iter().map(|row| row["report"]["counters"]["crash_loops"].as_u64().unwrap()).collect()
    };
    registry.publish(2).await;
    let plan = json!([{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan })).await;
    host.runs(2).await;
    assert_eq!(kept(), [0; 0]);
    {
        let mut held = host.device.held();
        held.counters.insert(2, Counters { launches: 3, crash_loops: 1, ..Counters::default() });
        let bad = held.shelf.current.clone().unwrap();
        held.reject.push(bad);
        held.shelf.current = held.shelf.releases.first().cloned();
    }
    // Nobody reports for an hour, and the process may end at any moment.
    until("the rejection to be kept", || kept() == [1]).await;

    // Found by the device when it starts, before it has an agent.
    let Host { agent, device, settings, folder, .. } = host;
    agent.shutdown().await;
    device.held().counters = [(2, Counters { launches: 1, crash_loops: 1, ..Counters::default() })].into();
    let host = Host::with(settings, device, folder).await;
    assert_eq!(kept(), [1, 1]);
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_gone_from_the_disk_is_fetched_again() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    host.event("installation", |event| matches!(event, Event::Installed { .. })).await;
    {
        let mut held = host.device.held();
        held.shelf.releases.clear();
        held.packages.clear();
    }
    host.event("installation", |event| matches!(event, Event::Installed { .. })).await;
    assert_eq!(host.device.held().packages.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_removed_while_it_is_installed_does_not_come_back() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    let hold = Hold::default();
    host.device.held().keeping = Some(hold.clone());
    registry.publish(2).await;
    registry.everywhere(2).await;
    hold.reached.notified().await;
    host.agent.remove(app()).await.unwrap();
    hold.over.notify_one();
    until("the removal of what came too late", || host.device.held().removals == 2).await;
    assert!(host.device.held().packages.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_nobody_wants_is_neither_fetched_nor_kept() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    host.agent.remove(app()).await.unwrap();
    assert_eq!(host.device.current(), None);
    registry.publish(2).await;
    registry.everywhere(2).await;
    host.caught_up(&registry).await;
    assert!(host.agent.status().await.unwrap().apps.is_empty());
    assert_eq!(host.device.current(), None);
    // Wanted again: from its state on, which nobody has sent meanwhile.
    host.agent.want(app()).await.unwrap();
    let device = host.device.clone();
    until("release 2", || device.current() == Some(2)).await;
}
