//! Rollouts, rollbacks and what keeps people from them.

use mpkg_fleet::ApprovalPolicy;
use mpkg_registry::{Config, Role};
use serde_json::{Value, json};

use super::{context, host, plan, ready, taken};
use crate::common::{APP, start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_from_draft_to_everybody() {
    let registry = start().await;
    ready(&registry).await;
    let (id, etag) = registry.roll_out(&json!({ "release_seq": 2, "plan": plan() })).await;
    let state = registry.state().await;
    assert_eq!(state.release.unwrap().release_seq, 2);
    assert_eq!(state.baseline.unwrap().release_seq, 1);
    assert_eq!((state.percent.get(), state.control.get()), (500, 500));

    let path = |verb: &str| format!("/v1/rollouts/{id}/{verb}");
    let advance = registry.go(&registry.admin, &path("advance"), &etag, &json!({})).await.ok();
    // Somebody who saw the step before.
    registry.go(&registry.admin, &path("advance"), &etag, &json!({})).await.refused(412, "MPKG-P23");
    registry.go(&registry.admin, &path("advance"), "*", &json!({})).await.refused(412, "MPKG-P23");
    let etag = advance.etag.unwrap();
    registry.go(&registry.admin, &path("complete"), &etag, &json!({})).await.refused(409, "MPKG-F53");
    let etag = registry.go(&registry.admin, &path("advance"), &etag, &json!({})).await.ok().etag.unwrap();
    registry.go(&registry.admin, &path("complete"), &etag, &json!({})).await.ok();
    let state = registry.state().await;
    assert_eq!((state.release, state.baseline.unwrap().release_seq), (None, 2));

    let rollouts = registry.get(&registry.admin, &format!("/v1/apps/{APP}/rollouts")).await.ok().json();
    let phases: Vec<_> = rollouts["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["rollout"]["phase"]["phase"].clone())
        .collect();
    assert_eq!(phases, ["completed", "superseded"]);
}

/// One person who may not start a rollout must not move everybody with the rollback of a draft.
#[tokio::test(flavor = "multi_thread")]
async fn the_rollback_of_what_never_began_moves_nobody() {
    let approvals = ApprovalPolicy { start: 2, ..ApprovalPolicy::default() };
    let registry = start().await;
    ready(&registry).await;
    let rollouts = format!("/v1/apps/{APP}/rollouts");
    let old = registry.post(&registry.admin, &rollouts, &json!({ "release_seq": 2 })).await.ok();
    registry.publish(4).await;
    registry.everywhere(3).await;
    let registry = registry.restart_with(|config| Config { approvals, review: true, ..config }).await;
    registry.publish(5).await;
    let releaser = registry.token(Role::Releaser).await;
    let new = registry.post(&releaser, &rollouts, &json!({ "release_seq": 4 })).await.ok();
    let before = registry.head().await;
    for draft in [old.json(), new.json()] {
        let path = format!("/v1/rollouts/{}/rollback", draft["id"]);
        // Whatever it names, and again: it is a stop, so it is done, as far as there is something to stop.
        for (to, event) in [(Some(2), "moved"), (Some(5), "already"), (Some(9), "already"), (None, "already")]
        {
            let back = json!({ "to": to, "reason": "a go in disguise" });
            let got = registry.post(&releaser, &path, &back).await.ok().json();
            assert_eq!(got["events"][0]["event"], event, "{to:?}");
            assert_eq!(got["rollout"]["rollout"]["phase"], json!({ "phase": "halted", "step": null }));
        }
    }
    assert_eq!(registry.head().await, before);
    assert_eq!(registry.state().await.baseline.unwrap().release_seq, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_leads_to_what_was_everybodys_and_nowhere_else() {
    let registry = start().await;
    ready(&registry).await;
    registry.everywhere(3).await;
    registry.publish(4).await;
    registry.publish(5).await;
    let (id, _) = registry.roll_out(&json!({ "release_seq": 5, "plan": plan() })).await;
    let operator = registry.token(Role::Operator).await;
    let back = async |to: u64| {
        let back = json!({ "to": to, "reason": "bad" });
        registry.post(&operator, &format!("/v1/rollouts/{id}/rollback"), &back).await
    };
    let before = registry.head().await;
    back(9).await.refused(404, "MPKG-P35");
    for never in [2, 4] {
        let got = back(never).await;
        got.refused(409, "MPKG-P46");
        let message = got.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.ends_with("leads to 3 or 1"), "{message}");
    }
    assert_eq!(registry.head().await, before);
    let review = async |review: &str| {
        let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
        let db = sqlx::SqlitePool::connect(&file).await.unwrap();
        sqlx::query("UPDATE releases SET review = ? WHERE seq = 3").bind(review).execute(&db).await.unwrap();
        db.close().await;
    };
    review("rejected").await;
    let got = back(3).await;
    got.refused(409, "MPKG-P46");
    assert!(got.json()["error"]["message"].as_str().unwrap().ends_with("leads to 1"), "{got:?}");
    review("approved").await;
    // Also one before the last, also after a rollback.
    for to in [1, 3] {
        back(to).await.ok();
        assert_eq!(registry.state().await.baseline.unwrap().release_seq, to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_that_go_take_as_many_people_as_policy_says() {
    let approvals = ApprovalPolicy { start: 2, lift: 2, ..ApprovalPolicy::default() };
    let registry = start_with(|config| Config { approvals, ..config }).await;
    registry.claim().await;
    registry.publish(1).await;
    let draft = registry
        .post(&registry.admin, &format!("/v1/apps/{APP}/rollouts"), &json!({ "release_seq": 1 }))
        .await
        .ok();
    let (id, etag) = (draft.json()["id"].as_i64().unwrap(), draft.etag.unwrap());
    let start = format!("/v1/rollouts/{id}/start");
    registry.go(&registry.admin, &start, &etag, &json!({})).await.refused(409, "MPKG-F56");
    let change = |revision: u64, command: Value| json!({ "what": "rollout", "id": id, "revision": revision, "command": command });
    let begin = json!({ "verb": "start" });
    // The same person counts once, whatever token is used, and another change not at all.
    let again = registry.token_of("first admin", &[Role::Admin]).await;
    registry.post(&again, "/v1/approvals", &change(0, begin.clone())).await.ok();
    let reviewer = registry.token(Role::Reviewer).await;
    registry.post(&reviewer, "/v1/approvals", &change(0, json!({ "verb": "complete" }))).await.ok();
    registry.go(&registry.admin, &start, &etag, &json!({})).await.refused(409, "MPKG-F56");
    registry.post(&reviewer, "/v1/approvals", &change(1, begin.clone())).await.refused(412, "MPKG-P23");
    let approved = registry.post(&reviewer, "/v1/approvals", &change(0, begin)).await.ok().json();
    assert_eq!(approved["people"], json!(["a reviewer", "first admin"]));
    registry.go(&registry.admin, &start, &etag, &json!({})).await.ok();

    let kill = json!({ "level": "stop", "scope": { "app": APP }, "reason": "bad" });
    let killed = registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    let (kill, etag) = (killed.json()["id"].clone(), killed.etag.unwrap());
    let lift = format!("/v1/kills/{}/lift", kill.as_str().unwrap());
    let because = json!({ "reason": "mended" });
    registry.go(&registry.admin, &lift, &etag, &because).await.refused(409, "MPKG-F56");
    registry.post(&reviewer, "/v1/approvals", &json!({ "what": "lift", "kill": kill })).await.ok();
    registry.go(&registry.admin, &lift, &etag, &because).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_changes_nothing() {
    let registry = start().await;
    ready(&registry).await;
    let (before, entries) = (registry.head().await, registry.registry.verify_audit().await.unwrap().entries);
    let kill = json!({ "level": "stop", "scope": { "app": APP, "releases": { "from": 2, "to": null } }, "reason": "?" });
    let drill = registry.post(&registry.admin, "/v1/kills/drill", &kill).await.ok().json();
    let hits: Vec<_> =
        drill["hits"].as_array().unwrap().iter().map(|hit| hit["release_seq"].clone()).collect();
    assert_eq!(hits, [3, 2]);
    assert_eq!(registry.head().await, before);
    assert_eq!(registry.registry.verify_audit().await.unwrap().entries, entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_it_can_detect() {
    let registry = start().await;
    ready(&registry).await;
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2 })).await;
    let path = format!("/v1/rollouts/{id}/plan?devices_per_day=100000&devices=1000000");
    let forecast = registry.get(&registry.admin, &path).await.ok().json();
    assert_eq!(forecast["steps"].as_array().unwrap().len(), 3);
    registry.get(&registry.admin, &format!("/v1/rollouts/{id}/plan")).await.refused(400, "MPKG-P12");
    registry.get(&registry.admin, "/v1/rollouts/99").await.refused(404, "MPKG-P40");
}

#[tokio::test(flavor = "multi_thread")]
async fn floors_rise_and_stop_what_is_rolled_out_below_them() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = host(&registry);
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2, "plan": plan() })).await;
    let context = context(&registry.unreached().await);
    let run = async |host: &mut mpkg_fleet::Fleet| {
        let got = registry.get(&registry.admin, &format!("/v1/state/apps/{APP}")).await.ok();
        taken(host.accept_app(&got.bytes, None));
        let decision = host.decide(&APP.parse().unwrap(), &context, None, None);
        decision.run.map(|release| release.release_seq)
    };
    let operator = registry.token(Role::Operator).await;
    let (path, because) = (format!("/v1/apps/{APP}/floor"), "a hole in release 1");
    let floor = |min_seq: u64| json!({ "min_seq": min_seq, "reason": because });
    assert_eq!(run(&mut host).await, Some(1));
    registry.post(&operator, &path, &floor(5)).await.refused(400, "MPKG-P11");
    assert_eq!(registry.post(&operator, &path, &floor(2)).await.ok().json()["min_seq"], 2);
    let state = registry.state().await;
    assert_eq!((state.min_seq, state.baseline), (2, None));
    assert_eq!(run(&mut host).await, None, "the baseline is below it");
    // It never falls, and nothing goes below it any more.
    assert_eq!(registry.post(&operator, &path, &floor(1)).await.ok().json()["min_seq"], 2);
    let back = json!({ "to": 1, "reason": "no" });
    registry.post(&operator, &format!("/v1/rollouts/{id}/rollback"), &back).await.refused(409, "MPKG-P36");
    let rollouts = format!("/v1/apps/{APP}/rollouts");
    registry.post(&registry.admin, &rollouts, &json!({ "release_seq": 1 })).await.refused(409, "MPKG-P36");
    // Above what is rolled out, too: no rollout keeps it from rising.
    registry.post(&operator, &path, &floor(3)).await.ok();
    let state = registry.state().await;
    assert_eq!((state.min_seq, state.release, state.percent.get()), (3, None, 0));
    registry.everywhere(3).await;
    assert_eq!(run(&mut host).await, Some(3));
}
