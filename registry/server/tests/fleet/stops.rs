//! Kills, and the room that there always is for one.

use mpkg_fleet::{Admission, ApprovalPolicy};
use mpkg_registry::{Config, Role};
use serde_json::{Value, json};

use super::{context, host, plan, ready, taken};
use crate::common::{APP, Got, Package, start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn stops_need_no_version_and_are_never_refused() {
    let registry = start().await;
    ready(&registry).await;
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2, "plan": plan() })).await;
    let operator = registry.token(Role::Operator).await;
    let because = json!({ "reason": "three in the morning" });
    let path = |verb: &str| format!("/v1/rollouts/{id}/{verb}");
    registry.post(&operator, &path("hold"), &because).await.ok();
    let halted = registry.post(&operator, &path("halt"), &because).await.ok();
    assert_eq!(registry.state().await.admission, Admission::Closed);
    assert_eq!(
        registry.post(&operator, &path("halt"), &because).await.ok().json()["events"][0]["event"],
        "already"
    );
    let resumed = registry.go(&registry.admin, &path("resume"), &halted.etag.unwrap(), &json!({})).await.ok();
    assert_eq!(resumed.json()["rollout"]["rollout"]["phase"], json!({ "phase": "running", "step": 0 }));
    registry
        .post(&operator, &path("rollback"), &json!({ "to": 3, "reason": "no" }))
        .await
        .refused(409, "MPKG-F54");
    registry.post(&operator, &path("rollback"), &json!({ "reason": "bad" })).await.ok();
    let state = registry.state().await;
    assert_eq!((state.release, state.baseline.unwrap().release_seq), (None, 1));
    // The next one supersedes it, and what is superseded says who is in charge.
    registry.roll_out(&json!({ "release_seq": 3, "plan": plan() })).await;
    let late = registry.post(&operator, &path("halt"), &because).await.ok().json();
    assert_eq!(late["events"][0], json!({ "event": "not_in_charge", "by": 3 }));
    assert_eq!(registry.state().await.release.unwrap().release_seq, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_reach_a_host_and_end_by_a_lift_only() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = host(&registry);
    let take = async |host: &mut mpkg_fleet::Fleet| {
        let got = registry.get(&registry.admin, &format!("/v1/state/apps/{APP}")).await.ok();
        taken(host.accept_app(&got.bytes, None));
        let got = registry.get(&registry.admin, "/v1/state/head").await.ok();
        taken(host.accept_head(&got.bytes, None));
    };
    let run = |host: &mpkg_fleet::Fleet| {
        let decision = host.decide(&APP.parse().unwrap(), &context("u1"), None, None);
        decision.run.map(|release| release.release_seq)
    };
    take(&mut host).await;
    assert_eq!(run(&host), Some(1));
    let scopes = [json!({ "app": APP }), json!({}), json!({ "app": APP, "platforms": ["android"] })];
    for scope in scopes {
        let kill = json!({ "level": "stop", "scope": scope, "reason": "bad" });
        let killed = registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
        take(&mut host).await;
        assert_eq!(run(&host), None, "{scope}");
        let id = killed.json()["id"].as_str().unwrap().to_owned();
        let lift = format!("/v1/kills/{id}/lift");
        let because = json!({ "reason": "mended" });
        registry.go(&registry.admin, &lift, "\"7\"", &because).await.refused(412, "MPKG-P23");
        registry.go(&registry.admin, &lift, &killed.etag.unwrap(), &because).await.ok();
        registry.go(&registry.admin, &lift, "\"1\"", &because).await.refused(412, "MPKG-P23");
        take(&mut host).await;
        assert_eq!(run(&host), Some(1), "{scope}");
    }
    for (level, scope) in [
        ("warn", json!({ "app": APP })),
        ("freeze", json!({ "app": APP, "versions": { "min": "1.0.0", "below": "2.0.0" } })),
        ("revoke", json!({ "app": APP, "permission": "network", "method": "net.fetch" })),
        ("block", json!({ "app": APP, "releases": { "from": 2, "to": 3 } })),
        ("stop", json!({ "host_versions": { "min": null, "below": "2.0.0" } })),
        ("stop", json!({ "app": "org.example.unclaimed" })),
    ] {
        let kill = json!({ "level": level, "scope": scope, "reason": "a level" });
        registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    }
    take(&mut host).await;
    assert_eq!(run(&host), Some(1));
    let listed = registry.get(&registry.admin, "/v1/kills").await.ok().json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 6);
    let empty = json!({ "level": "revoke", "scope": { "app": APP }, "reason": "of what" });
    registry.post(&registry.admin, "/v1/kills", &empty).await.refused(422, "MPKG-F20");
}

/// A kill that no other one is equal to.
fn distinct(number: u64, reason: &str) -> Value {
    let releases = json!({ "from": 1_000 + number, "to": null });
    json!({ "level": "stop", "scope": { "app": APP, "releases": releases }, "reason": reason })
}

#[tokio::test(flavor = "multi_thread")]
async fn more_kills_than_a_state_holds_go_to_the_head() {
    let registry = start().await;
    registry.claim().await;
    let long = "r".repeat(200);
    for number in 0..30 {
        registry.post(&registry.admin, "/v1/kills", &distinct(number, &long)).await.ok();
    }
    let (state, head) = (registry.state().await, registry.head().await);
    assert_eq!((state.kills.len(), head.kills.len()), (24, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_that_is_in_force_already_is_given_back() {
    let registry = start().await;
    registry.claim().await;
    for scope in [json!({ "app": APP }), json!({}), json!({ "app": "org.example.unclaimed" })] {
        let kill = |level: &str, reason: &str| json!({ "level": level, "scope": scope, "reason": reason });
        let first = registry.post(&registry.admin, "/v1/kills", &kill("stop", "first")).await.ok();
        let head = registry.head().await;
        let again = registry.post(&registry.admin, "/v1/kills", &kill("stop", "again")).await.ok();
        assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 200), "{scope}");
        assert_eq!((again.json(), &again.etag), (first.json(), &first.etag), "{scope}");
        assert_eq!(registry.head().await, head, "{scope}");
        // Another level does something else, and what was lifted is over.
        let other = registry.post(&registry.admin, "/v1/kills", &kill("freeze", "first")).await.ok();
        assert_ne!(other.json()["id"], first.json()["id"]);
        let lift = format!("/v1/kills/{}/lift", first.json()["id"].as_str().unwrap());
        registry.go(&registry.admin, &lift, &first.etag.unwrap(), &json!({ "reason": "over" })).await.ok();
        let anew = registry.post(&registry.admin, "/v1/kills", &kill("stop", "anew")).await.ok();
        assert_eq!(anew.status, 201, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_stop_one_app_leaves_room_for_the_fleet() {
    let registry = start().await;
    registry.claim().await;
    let operator = registry.scoped("night", &[Role::Operator], &[APP], &[]).await;
    let mut number = 0;
    let refused = loop {
        let got = registry.post(&operator, "/v1/kills", &distinct(number, "one more")).await;
        if !got.status.is_success() {
            break got;
        }
        number += 1;
        assert!(number < 1_000, "without end");
    };
    refused.refused(409, "MPKG-P42");
    assert_eq!(number, 24 + 128);
    let all = json!({ "level": "stop", "scope": {}, "reason": "everything" });
    registry.post(&registry.admin, "/v1/kills", &all).await.ok();
    assert_eq!(registry.head().await.kills.len(), 129);
    // Only as long as a document can be that many times over.
    let platforms: Vec<_> = (0..33).map(|number| format!("p{number}")).collect();
    let wide = json!({ "level": "stop", "scope": { "platforms": platforms }, "reason": "all of them" });
    registry.post(&registry.admin, "/v1/kills", &wide).await.refused(422, "MPKG-F22");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_finds_room_whatever_a_rollout_aims_at() {
    let registry = start().await;
    ready(&registry).await;
    let allow: Vec<_> = (0..400).map(|number| format!("phone {number}")).collect();
    let wide = json!({ "release_seq": 2, "allow": allow });
    let drafts = format!("/v1/apps/{APP}/rollouts");
    registry.post(&registry.admin, &drafts, &wide).await.refused(422, "MPKG-F01");
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2, "allow": allow[..300] })).await;

    // One that was drafted before there was such a bound.
    let names: Vec<_> = (0..256).map(|number| format!("{number:0>64}")).collect();
    let allow: Vec<_> = (0..512_u32).map(|number| mpkg_package::Hash::of(&number.to_be_bytes())).collect();
    let targeting: mpkg_fleet::Targeting =
        serde_json::from_value(json!({ "regions": names, "segments": names[..120], "allow": allow }))
            .unwrap();
    let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let db = sqlx::SqlitePool::connect(&file).await.unwrap();
    let update = sqlx::query("UPDATE rollouts SET targeting = ? WHERE id = ?");
    update.bind(serde_json::to_string(&targeting).unwrap()).bind(id).execute(&db).await.unwrap();
    let long = "r".repeat(200);
    for number in 0..20 {
        registry.post(&registry.admin, "/v1/kills", &distinct(number, &long)).await.ok();
    }
    let (state, head) = (registry.state().await, registry.head().await);
    assert!(!state.kills.is_empty() && !head.kills.is_empty());
    assert_eq!((state.kills.len() + head.kills.len(), state.targeting), (20, targeting));
}

/// Every part of a state as long as it can be: none of them keeps a stop out.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_has_room_for_all_that_may_be_in_it() {
    let registry = start().await;
    ready(&registry).await;
    let allow: Vec<_> = (0..360).map(|number| format!("phone {number}")).collect();
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan(), "allow": allow })).await;
    let long = "\u{1f6d1}".repeat(200);
    let disable = format!("/v1/apps/{APP}/disable");
    for number in 0..256_u32 {
        let sha256 = mpkg_package::Hash::of(&number.to_be_bytes());
        registry.post(&registry.admin, &disable, &json!({ "sha256": sha256, "reason": "bad" })).await.ok();
    }
    for number in 0..40 {
        let killed = registry.post(&registry.admin, "/v1/kills", &distinct(number, &long)).await.ok();
        if number < 16 {
            let lift = format!("/v1/kills/{}/lift", killed.json()["id"].as_str().unwrap());
            registry.go(&registry.admin, &lift, &killed.etag.unwrap(), &json!({ "reason": long })).await.ok();
        }
    }
    let state = registry.state().await;
    assert!((1..24).contains(&state.kills.len()) && (1..16).contains(&state.lifts.len()));
    assert_eq!((state.disabled.len(), state.targeting.allow.len()), (256, 360));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_kill_is_lifted_however_many_were_lifted_before() {
    let registry = start().await;
    registry.claim().await;
    let lift = async |killed: Got| {
        let id = killed.json()["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/kills/{id}/lift");
        registry.go(&registry.admin, &path, &killed.etag.unwrap(), &json!({ "reason": "over" })).await.ok();
        id
    };
    let old = registry.post(&registry.admin, "/v1/kills", &distinct(0, "the first")).await.ok();
    for number in 1..=33 {
        lift(registry.post(&registry.admin, "/v1/kills", &distinct(number, "later")).await.ok()).await;
    }
    let old = lift(old).await;
    let state = registry.state().await;
    assert_eq!((state.kills.len(), state.lifts.len()), (0, 32));
    assert_eq!(state.lifts.last().unwrap().kill.to_string(), old);
    assert_eq!(registry.head().await.lifts.last().unwrap().kill.to_string(), old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_package_runs_again_only_by_a_version_and_people() {
    let approvals = ApprovalPolicy { lift: 2, ..ApprovalPolicy::default() };
    let registry = start_with(|config| Config { approvals, ..config }).await;
    ready(&registry).await;
    let sha256 = mpkg_package::Hash::of(&Package::new(1).unsigned());
    let (disable, limits) = (format!("/v1/apps/{APP}/disable"), format!("/v1/apps/{APP}/limits"));
    let enable = format!("/v1/apps/{APP}/disabled/{sha256}/enable");
    let because = json!({ "reason": "mended" });
    let operator = registry.token(Role::Operator).await;
    registry.go(&registry.admin, &enable, "\"0-0-0\"", &because).await.refused(404, "MPKG-P45");
    let off = json!({ "sha256": sha256, "reason": "leaks" });
    registry.post(&operator, &disable, &off).await.ok();
    let twice = registry.post(&operator, &disable, &off).await.ok();
    assert_eq!(twice.json()["disabled"].as_array().unwrap().len(), 1);
    assert!(registry.state().await.disabled.contains(&sha256));
    let rollouts = format!("/v1/apps/{APP}/rollouts");
    registry.post(&registry.admin, &rollouts, &json!({ "release_seq": 1 })).await.refused(409, "MPKG-P36");

    let etag = registry.get(&operator, &limits).await.ok().etag.unwrap();
    registry.go(&operator, &enable, &etag, &because).await.refused(403, "MPKG-P03");
    registry.go(&registry.admin, &enable, "\"0-9-9\"", &because).await.refused(412, "MPKG-P23");
    registry.go(&registry.admin, &enable, &etag, &because).await.refused(409, "MPKG-F56");
    let reviewer = registry.token(Role::Reviewer).await;
    let change = json!({ "what": "enable", "app": APP, "sha256": sha256 });
    registry.post(&reviewer, "/v1/approvals", &change).await.ok();
    registry.go(&registry.admin, &enable, &etag, &because).await.ok();
    assert!(registry.state().await.disabled.is_empty());
    // The approval was for that once.
    let etag = registry.post(&operator, &disable, &off).await.ok().etag.unwrap();
    registry.go(&registry.admin, &enable, &etag, &because).await.refused(409, "MPKG-F56");
}
