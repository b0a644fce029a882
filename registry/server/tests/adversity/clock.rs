//! A clock that is wrong, and put right: what is signed stays in order, and gates go on.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::common::{APP, read, start_with};
use mpkg_fleet::{Arm, Batch, Counters, Report};
use mpkg_registry::Config;
use reqwest::Method;
use serde_json::json;

const DAY: i64 = 86_400;

/// Seconds that the clock is ahead.
static AHEAD: AtomicI64 = AtomicI64::new(0);

fn now() -> SystemTime {
    let ahead = AHEAD.load(Ordering::Relaxed);
    let by = Duration::from_secs(ahead.unsigned_abs());
    if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
}

fn moved(config: Config) -> Config {
    Config { now, ..config }
}

/// One test, since there is one clock.
#[tokio::test(flavor = "multi_thread")]
async fn documents_stay_in_order_and_gates_awake_whatever_the_clock_says() {
    let mut registry = start_with(moved).await;
    registry.claim().await;
    for code in 1..=3 {
        registry.publish(code).await;
    }
    registry.everywhere(1).await;
    let mut host = registry.fleet();
    let mut newest = registry.head().await;
    let mut rollout = None;
    for (round, ahead) in [0, -3 * DAY, 40 * DAY, 2 * DAY, -300 * DAY, 0].into_iter().enumerate() {
        AHEAD.store(ahead, Ordering::Relaxed);
        registry = registry.restart_with(moved).await;
        let scope = json!({ "app": APP, "releases": { "from": round, "to": null } });
        let kill = json!({ "level": "warn", "scope": scope, "reason": format!("round {round}") });
        registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
        if ahead == 40 * DAY {
            let plan = json!([{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
            rollout = Some(registry.roll_out(&json!({ "release_seq": 2, "plan": plan })).await.0);
        }
        for outcome in [
            host.accept_roots(&registry.registry.roots().to_bytes()),
            host.accept_app(
                &registry.get(&registry.admin, &format!("/v1/state/apps/{APP}")).await.bytes,
                None,
            ),
            host.accept_head(&registry.get(&registry.admin, "/v1/state/head").await.bytes, None),
        ] {
            assert!(outcome.refused.is_none() && !outcome.alarm, "{ahead}: {outcome:?}");
        }
        let head = registry.head().await;
        assert!((head.epoch, head.seq) > (newest.epoch, newest.seq), "{ahead}");
        assert!(head.issued >= newest.issued && head.expires > head.issued, "{ahead}");
        newest = head;
    }
    assert_eq!(registry.state().await.kills.len(), 6);
    assert_eq!(registry.registry.verify_audit().await.unwrap().broken_at, None);

    // The rollout was begun forty days from now. What hosts say today counts all the same.
    for number in 0..8 {
        let host = registry.host(&format!("phone {number}")).await;
        let counters = Counters { calls: 20, errors: 20, ..Counters::default() };
        let (app, boot) = (APP.parse().unwrap(), "b".parse().unwrap());
        let reports = vec![Report { app, release_seq: 2, arm: Arm::Treatment, boot, counters }];
        let request = registry.request(&host, Method::POST, "/v1/telemetry");
        read(request.body(Batch { reports }.to_bytes())).await.ok();
    }
    registry.registry.look_at_gates().await.unwrap();
    let path = format!("/v1/rollouts/{}", rollout.unwrap());
    let rollout = registry.get(&registry.admin, &path).await.ok().json();
    assert_eq!(rollout["rollout"]["phase"]["phase"], "rolled_back");
}

/// A month and a day from now.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(31 * 86_400)
}

#[tokio::test(flavor = "multi_thread")]
async fn telemetry_is_forgotten_after_a_month_and_not_before() {
    let mut registry = start_with(|config| config).await;
    registry.claim().await;
    registry.publish(1).await;
    let report = |boot: u32| Report {
        app: APP.parse().unwrap(),
        release_seq: 1,
        arm: Arm::Neither,
        boot: format!("b{boot}").parse().unwrap(),
        counters: Counters { calls: 1, ..Counters::default() },
    };
    let all: Vec<_> = (0..1_200).map(report).collect();
    for (number, part) in all.chunks(50).enumerate() {
        let host = registry.host(&format!("phone {number}")).await;
        let request = registry.request(&host, Method::POST, "/v1/telemetry");
        read(request.body(Batch { reports: part.to_vec() }.to_bytes())).await.ok();
    }
    for (settings, left) in [(None, 1_200), (Some(later as fn() -> SystemTime), 0)] {
        registry =
            registry.restart_with(|config| Config { now: settings.unwrap_or(config.now), ..config }).await;
        registry.registry.forget_telemetry().await.unwrap();
        let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
        let db = sqlx::SqlitePool::connect(&file).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM counters").fetch_one(&db).await.unwrap();
        let minutes: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM minutes").fetch_one(&db).await.unwrap();
        let answers: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM answers").fetch_one(&db).await.unwrap();
        assert_eq!((rows, minutes > 0, answers > 0), (left, left > 0, left > 0));
        db.close().await;
    }
}
