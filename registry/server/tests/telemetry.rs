//! Telemetry and the gates that it feeds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{APP, Got, TestRegistry, read, start, start_with};
use mpkg_fleet::{Arm, Batch, Counters, Report};
use mpkg_registry::{Config, Role};
use proptest::prelude::*;
use reqwest::Method;
use serde_json::{Value, json};

fn report(release_seq: u64, arm: Arm, boot: &str, counters: Counters) -> Report {
    Report { app: APP.parse().unwrap(), release_seq, arm, boot: boot.parse().unwrap(), counters }
}

async fn send(registry: &TestRegistry, token: &str, reports: Vec<Report>) -> Got {
    let request = registry.request(token, Method::POST, "/v1/telemetry");
    read(request.body(Batch { reports }.to_bytes())).await
}

fn good() -> Counters {
    Counters { launches: 3, beacons: 3, calls: 20, ..Counters::default() }
}

fn bad() -> Counters {
    Counters { launches: 3, beacons: 0, calls: 20, errors: 20, ..Counters::default() }
}

/// Every call fails, and nothing else is wrong: certain to be a bad vote, and on one question only.
fn failing() -> Counters {
    Counters { calls: 20, errors: 20, ..Counters::default() }
}

/// The sum of all minutes.
async fn sum(registry: &TestRegistry, release_seq: u64) -> Counters {
    let minutes = registry.get(&registry.admin, &format!("/v1/apps/{APP}/telemetry")).await.ok().json();
    let items = minutes["items"].as_array().unwrap();
    let ours = items.iter().filter(|it| it["release_seq"] == release_seq);
    ours.fold(Counters::default(), |sum, it| {
        sum.plus(serde_json::from_value(it["counters"].clone()).unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_or_late_changes_nothing() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    let phone = registry.host("phone").await;
    let early = Counters { launches: 1, beacons: 1, calls: 5, ..Counters::default() };
    for counters in [early, good(), early, good()] {
        let got = send(&registry, &phone, vec![report(1, Arm::Neither, "b1", counters)]).await.ok().json();
        assert_eq!(got, json!({ "accepted": 1, "ignored": 0 }));
    }
    assert_eq!(sum(&registry, 1).await, good());
    send(&registry, &phone, vec![report(1, Arm::Neither, "b2", early)]).await.ok();
    assert_eq!(sum(&registry, 1).await, good().plus(early));
    // Another token of the same host is the same host.
    let again = registry.host("phone").await;
    send(&registry, &again, vec![report(1, Arm::Neither, "b1", good())]).await.ok();
    assert_eq!(sum(&registry, 1).await, good().plus(early));
    let registry = registry.restart().await;
    assert_eq!(sum(&registry, 1).await, good().plus(early));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_counts_each_device_once_for_each_release_and_once_in_all() {
    let registry = start().await;
    registry.claim().await;
    for code in 1..=3 {
        registry.publish(code).await;
    }
    let (phone, tablet) = (registry.host("phone").await, registry.host("tablet").await);
    let all = (1..=3).map(|release_seq| report(release_seq, Arm::Neither, "b", good())).collect();
    send(&registry, &phone, all).await.ok();
    let twice = ["b1", "b2"].map(|boot| report(2, Arm::Neither, boot, good()));
    send(&registry, &tablet, twice.into()).await.ok();
    for (scope, expected) in [
        (json!({ "app": APP, "releases": { "from": 2, "to": null } }), vec![(3, 1), (2, 2)]),
        (json!({ "app": APP, "releases": { "from": 3, "to": 9 } }), vec![(3, 1)]),
        (json!({}), vec![(3, 1), (2, 2), (1, 1)]),
        (json!({ "app": "org.example.unclaimed" }), vec![]),
    ] {
        let kill = json!({ "level": "stop", "scope": scope, "reason": "?" });
        let drill = registry.post(&registry.admin, "/v1/kills/drill", &kill).await.ok().json();
        let number = |hit: &Value, name: &str| hit[name].as_u64().unwrap();
        let hits = drill["hits"].as_array().unwrap().iter();
        let hits: Vec<_> = hits.map(|hit| (number(hit, "release_seq"), number(hit, "devices"))).collect();
        let most = expected.iter().map(|(_, devices)| *devices).max().unwrap_or_default();
        assert_eq!((hits, number(&drill, "devices")), (expected, most), "{scope}");
    }
}

/// Rows of the journal, and of the table that they are counted in.
async fn on_the_disk(registry: &TestRegistry) -> (i64, i64) {
    let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let db = sqlx::SqlitePool::connect(&file).await.unwrap();
    let journal = sqlx::query_scalar("SELECT COALESCE(SUM(rows), 0) FROM journal");
    let journal = journal.fetch_one(&db).await.unwrap();
    let counted = sqlx::query_scalar("SELECT COUNT(*) FROM counters").fetch_one(&db).await.unwrap();
    db.close().await;
    (journal, counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_counted_after_a_restart_and_once() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    let phone = registry.host("phone").await;
    for boot in ["b1", "b2"] {
        send(&registry, &phone, vec![report(1, Arm::Neither, boot, good())]).await.ok();
    }
    let mut registry = registry.restart().await;
    assert_eq!(on_the_disk(&registry).await, (2, 0), "nobody has looked at it");
    send(&registry, &phone, vec![report(1, Arm::Neither, "b1", good())]).await.ok();
    for _ in 0..2 {
        assert_eq!(sum(&registry, 1).await, good().plus(good()));
        assert_eq!(on_the_disk(&registry).await, (0, 2));
        registry = registry.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_about_nothing_is_ignored_and_what_cannot_be_refused() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    let phone = registry.host("phone").await;
    let mut elsewhere = report(1, Arm::Neither, "b", good());
    elsewhere.app = "org.example.unknown".parse().unwrap();
    let reports = vec![elsewhere, report(9, Arm::Neither, "b", good()), report(1, Arm::Neither, "b", good())];
    let got = send(&registry, &phone, reports.clone()).await.ok().json();
    assert_eq!(got, json!({ "accepted": 1, "ignored": 2 }));
    let narrow = registry.scoped("narrow", &[Role::Host], &["org.example.unknown"], &[]).await;
    assert_eq!(send(&registry, &narrow, reports).await.ok().json()["accepted"], 0);

    let lie = Counters { launches: 1, beacons: 2, ..Counters::default() };
    send(&registry, &phone, vec![report(1, Arm::Neither, "b", lie)]).await.refused(422, "MPKG-F71");
    let many =
        (0..257).map(|boot| report(1, Arm::Neither, &format!("b{boot}"), Counters::default())).collect();
    assert!(send(&registry, &phone, many).await.status.is_client_error());
    assert_eq!(sum(&registry, 1).await, good());
}

/// Half an hour past, so that no test runs into the next hour.
fn noon() -> std::time::SystemTime {
    std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_800_001_800)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_only_so_many_runs_in_an_hour() {
    let registry = start_with(|config| Config { now: noon, ..config }).await;
    registry.claim().await;
    registry.publish(1).await;
    let liar = registry.host("liar").await;
    let reports = |from: u32, counters| -> Vec<Report> {
        (from..from + 50).map(|boot| report(1, Arm::Neither, &format!("b{boot}"), counters)).collect()
    };
    let once = Counters { calls: 1, ..Counters::default() };
    for (from, accepted) in [(0, 50), (50, 14), (100, 0), (0, 50)] {
        let got = send(&registry, &liar, reports(from, once)).await.ok().json();
        assert_eq!(got, json!({ "accepted": accepted, "ignored": 50 - accepted }), "{from}");
    }
    // Another token of the device is no other device; another device is.
    let again = registry.host("liar").await;
    assert_eq!(send(&registry, &again, reports(200, once)).await.ok().json()["accepted"], 0);
    let phone = registry.host("phone").await;
    assert_eq!(send(&registry, &phone, reports(0, once)).await.ok().json()["accepted"], 50);
    assert_eq!(sum(&registry, 1).await.calls, 64 + 50);
    assert_eq!(on_the_disk(&registry).await, (0, 64 + 50));
    let text = String::from_utf8(registry.get(&registry.admin, "/metrics").await.ok().bytes).unwrap();
    assert!(text.contains("mpkg_registry_telemetry_dropped_total 136\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_at_once_add_up() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    let mut tokens = Vec::new();
    for host in 0..24 {
        tokens.push(registry.host(&format!("host-{host}")).await);
    }
    let registry = std::sync::Arc::new(registry);
    let mut tasks = tokio::task::JoinSet::new();
    for token in tokens {
        let registry = std::sync::Arc::clone(&registry);
        tasks.spawn(async move {
            for round in 1..=4 {
                let grown = (0..round).fold(Counters::default(), |sum, _| sum.plus(good()));
                let rows = (0..50).map(|boot| report(1, Arm::Neither, &format!("b{boot}"), grown)).collect();
                send(&registry, &token, rows).await.ok();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let sum = sum(&registry, 1).await;
    assert_eq!((sum.launches, sum.calls), (24 * 50 * 4 * 3, 24 * 50 * 4 * 20));
}

/// Releases 1, everybody's, and 2, on a step of half of the hosts.
async fn half(registry: &TestRegistry, automatic: bool) -> i64 {
    registry.claim().await;
    registry.publish(1).await;
    registry.publish(2).await;
    registry.everywhere(1).await;
    let plan = json!([
        { "percent": 5_000, "bake_s": 0, "min_votes": 0 },
        { "percent": 10_000, "bake_s": 0, "min_votes": 0 },
    ]);
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan, "automatic": automatic })).await.0
}

async fn arms(registry: &TestRegistry, hosts: usize, treatment: Counters, control: Counters) {
    for host in 0..hosts {
        for (arm, release_seq, counters) in [(Arm::Treatment, 2, treatment), (Arm::Control, 1, control)] {
            let token = registry.host(&format!("{arm:?}-{host}")).await;
            send(registry, &token, vec![report(release_seq, arm, "b", counters)]).await.ok();
        }
    }
}

async fn phase(registry: &TestRegistry, id: i64) -> String {
    let rollout = registry.get(&registry.admin, &format!("/v1/rollouts/{id}")).await.ok().json();
    rollout["rollout"]["phase"]["phase"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_bad_hosts_bring_everybody_back() {
    let registry = start().await;
    let id = half(&registry, false).await;
    arms(&registry, 7, failing(), good()).await;
    registry.registry.look_at_gates().await.unwrap();
    assert_eq!(phase(&registry, id).await, "running");
    // The eighth; the rollout is not automatic, and rolled back all the same.
    arms(&registry, 8, failing(), good()).await;
    registry.registry.look_at_gates().await.unwrap();
    assert_eq!(phase(&registry, id).await, "rolled_back");
    assert_eq!(registry.state().await.baseline.unwrap().release_seq, 1);
    let evidence = registry.get(&registry.admin, &format!("/v1/rollouts/{id}/evidence")).await.ok().json();
    let newest = &evidence["items"][0];
    assert_eq!((&newest["decision"], &newest["action"]), (&json!("roll_back"), &json!("roll_back")));
    assert_eq!(newest["replays"], true);
    let path = format!("/v1/rollouts/{id}/evidence/{}", newest["id"]);
    assert_eq!(&registry.get(&registry.admin, &path).await.ok().json(), newest);
    for missing in [format!("/v1/rollouts/{id}/evidence/99"), path.replace(&format!("/{id}/"), "/1/")] {
        registry.get(&registry.admin, &missing).await.refused(404, "MPKG-P44");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_one_vote_however_loud_it_is() {
    let registry = start().await;
    let id = half(&registry, true).await;
    let liar = registry.host("liar").await;
    for boot in 0..100 {
        let rows = vec![
            report(2, Arm::Treatment, &format!("b{boot}"), bad()),
            report(2, Arm::Treatment, &format!("c{boot}"), Counters { crash_loops: 9, ..bad() }),
        ];
        send(&registry, &liar, rows).await.ok();
    }
    registry.registry.look_at_gates().await.unwrap();
    assert_eq!(phase(&registry, id).await, "running");
    let gate = registry.get(&registry.admin, &format!("/v1/rollouts/{id}/gate")).await.ok().json();
    assert_eq!(gate["inputs"]["treatment"]["devices"], 1);
    assert_eq!(gate["inputs"]["treatment"]["crash_loops"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_rollouts_go_on_where_that_was_asked_for() {
    for (automatic, expected) in
        [(true, json!({ "phase": "running", "step": 1 })), (false, json!({ "phase": "running", "step": 0 }))]
    {
        let registry = start().await;
        let id = half(&registry, automatic).await;
        arms(&registry, 112, good(), good()).await;
        registry.registry.look_at_gates().await.unwrap();
        let rollout = registry.get(&registry.admin, &format!("/v1/rollouts/{id}")).await.ok().json();
        assert_eq!(rollout["rollout"]["phase"], expected);
        if automatic {
            registry.registry.look_at_gates().await.unwrap();
            assert_eq!(phase(&registry, id).await, "completed");
        }
        let evidence =
            registry.get(&registry.admin, &format!("/v1/rollouts/{id}/evidence")).await.ok().json();
        assert!(evidence["items"].as_array().unwrap().iter().all(|it| it["replays"] == true));
        assert_eq!(evidence["items"][0]["decision"], "healthy");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, as often as it likes: the minutes hold what the fleet crate's ledger holds.
    #[test]
    fn the_database_agrees_with_the_ledger(
        batches in prop::collection::vec(
            (0_u8..3, prop::collection::vec((0_u8..3, 0_u64..20, 0_u64..20), 1..6)), 1..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let registry = start().await;
            registry.claim().await;
            registry.publish(1).await;
            let mut ledger = mpkg_fleet::Ledger::default();
            let mut tokens = Vec::new();
            for device in 0..3 {
                tokens.push(registry.host(&format!("d{device}")).await);
            }
            for (device, rows) in &batches {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(boot, launches, more)| {
                        let counters = Counters {
                            launches: launches + more, beacons: *launches, calls: *more, ..Counters::default()
                        };
                        report(1, Arm::Treatment, &format!("b{boot}"), counters)
                    })
                    .collect();
                ledger.merge(&format!("d{device}"), &Batch { reports: rows.clone() });
                send(&registry, &tokens[usize::from(*device)], rows).await.ok();
            }
            assert_eq!(sum(&registry, 1).await, ledger.total(&APP.parse().unwrap(), 1));
        });
    }
}
