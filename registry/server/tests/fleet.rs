//! Rollouts, kills and the stream, judged by what a host makes of the signed documents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{APP, Package, TestRegistry, start, start_with};
use mpkg_fleet::{Admission, ApprovalPolicy, Context, Follow, Outcome, StreamEvent};
use mpkg_package::root::{Draft, STATE_ROLE, STOP_ROLE};
use mpkg_package::{RootChain, RootFile, SecretKey};
use mpkg_registry::{Config, Registry, Role, backup, restore, serve};
use serde_json::{Value, json};

fn context(unit: &str) -> Context {
    serde_json::from_value(json!({ "unit": unit, "platform": "android", "host_version": "3.1.0" })).unwrap()
}

/// A host took it in, and saw nothing wrong with it.
#[track_caller]
fn taken(outcome: Outcome) {
    assert!(outcome.refused.is_none() && !outcome.alarm, "{outcome:?}");
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
async fn kills_reach_a_host_and_end_by_a_lift_only() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
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
    let lift = async |killed: common::Got| {
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
async fn a_host_that_follows_the_stream_knows_everything() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    let mut events = registry.stream(None).await;
    let (_, first) = events.next().await.unwrap();
    let StreamEvent::Heartbeat { at } = first else { panic!("{first:?}") };
    assert_eq!(at, registry.registry.head());

    let kill = json!({ "level": "stop", "scope": { "app": APP }, "reason": "bad" });
    registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    let (id, stop) = events.next().await.unwrap();
    let StreamEvent::Stop { notice } = stop else { panic!("{stop:?}") };
    assert_eq!(id, None);
    taken(host.accept_stop(notice.as_bytes()));
    assert!(host.decide(&APP.parse().unwrap(), &context("u"), None, None).run.is_none());
    let (id, head) = events.next().await.unwrap();
    assert_eq!(head.follow(Some(at)), Follow::Apply);
    let StreamEvent::Head { at: next, head, apps, .. } = head else { panic!("{head:?}") };
    assert_eq!(id, Some(next.to_string()));
    assert!(next.follows(at));
    taken(host.accept_app(apps[0].state.as_bytes(), None));
    taken(host.accept_head(head.as_bytes(), None));

    // Who comes back gets what it missed; who knows something else is told where the head is.
    let mut back = registry.stream(Some(&at.to_string())).await;
    assert!(matches!(back.next().await.unwrap().1, StreamEvent::Stop { .. }));
    assert_eq!(back.next().await.unwrap().0, Some(next.to_string()));
    for unknown in ["7.7", "x", ""] {
        let mut lost = registry.stream(Some(unknown)).await;
        assert_eq!(lost.next().await.unwrap().1, StreamEvent::Heartbeat { at: next }, "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_sends_what_was_published_and_ends_streams() {
    let mut registry = start().await;
    let mut events = registry.stream(None).await;
    events.next().await.unwrap();
    let kill = json!({ "level": "stop", "scope": {}, "reason": "the last thing" });
    registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    registry.stop().await;
    assert!(matches!(events.next().await.unwrap().1, StreamEvent::Stop { .. }));
    assert!(matches!(events.next().await.unwrap().1, StreamEvent::Head { .. }));
    assert!(events.next().await.is_none());
}

/// However many threads they are spread over.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn all_listeners_hear_all_events_in_their_order() {
    let mut registry = start().await;
    let mut listeners = Vec::new();
    for number in 0..10 {
        let host = registry.host(&format!("host {number}")).await;
        let mut events = registry.stream_of(&host, None).await;
        events.next().await.unwrap();
        listeners.push(events);
    }
    let before = registry.registry.head();
    for number in 0..20 {
        registry.registry.sign_again().await.unwrap();
        if number % 5 == 0 {
            listeners.swap_remove(0);
        }
    }
    registry.stop().await;
    for mut events in listeners {
        for seq in 1..=20 {
            let (_, event) = events.next().await.unwrap();
            let StreamEvent::Head { at, .. } = event else { panic!("{event:?}") };
            assert_eq!(at.seq, before.seq + seq);
        }
        assert!(events.next().await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_signed_again_and_follow_each_other_over_a_restart() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    let before = registry.head().await;
    registry.registry.sign_again().await.unwrap();
    let head = registry.head().await;
    assert_eq!(head.seq, before.seq + 1);
    let bytes = registry.get(&registry.admin, "/v1/state/head").await.ok().bytes;
    taken(host.accept_head(&bytes, None));
    let registry = registry.restart().await;
    let bytes = registry.get(&registry.admin, "/v1/state/head").await.ok().bytes;
    taken(host.accept_head(&bytes, None));
    assert_eq!(registry.state().await.baseline.unwrap().release_seq, 1);
    let report = registry.registry.verify_audit().await.unwrap();
    assert_eq!(report.broken_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_whole_and_newer_than_what_hosts_saw() {
    let registry = start().await;
    ready(&registry).await;
    let folder = tempfile::tempdir().unwrap();
    let (copy, restored) = (folder.path().join("copy"), folder.path().join("restored"));
    backup(registry.folder.path(), &copy).await.unwrap();
    assert!(backup(registry.folder.path(), &copy).await.is_err(), "nothing is written over");
    // After the backup hosts saw more.
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan() })).await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    let path = format!("/v1/state/apps/{APP}");
    taken(host.accept_app(&registry.get(&registry.admin, &path).await.ok().bytes, None));
    taken(host.accept_head(&registry.get(&registry.admin, "/v1/state/head").await.ok().bytes, None));

    restore(&copy, &restored).await.unwrap();
    let opened = Registry::open(common::config(&restored)).await.unwrap();
    assert_eq!(opened.registry.id(), registry.registry.id());
    let running = serve(opened.registry).await.unwrap();
    let base = format!("http://{}", running.address);
    let get = async |path: &str| {
        let request = registry.http.get(format!("{base}{path}")).bearer_auth(&registry.admin);
        common::read(request).await.ok().bytes
    };
    taken(host.accept_app(&get(&path).await, None));
    taken(host.accept_head(&get("/v1/state/head").await, None));
    let decision = host.decide(&APP.parse().unwrap(), &context("u"), None, None);
    assert_eq!(decision.run.unwrap().release_seq, 1);
    let sha256 = mpkg_package::Hash::of(&Package::new(3).unsigned());
    get(&format!("/v1/packages/{sha256}")).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_the_machine_see_that_it_runs() {
    let registry = start().await;
    ready(&registry).await;
    for path in ["/healthz", "/readyz"] {
        common::read(registry.http.get(format!("{}{path}", registry.base))).await.ok();
    }
    let text = String::from_utf8(registry.get(&registry.admin, "/metrics").await.ok().bytes).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(
        text.contains("mpkg_registry_requests_total{route=\"/v1/apps\",method=\"POST\",status=\"201\"} 1\n"),
        "{text}"
    );
    let status = registry.get(&registry.admin, "/v1/status").await.ok().json();
    assert_eq!(status["head"], json!(registry.registry.head()));
    assert_eq!(status["rollouts"], json!([]));
    let file = common::read(registry.http.get(format!("{}/v1/state/roots", registry.base))).await.ok();
    assert_eq!(RootChain::parse(&file.bytes).unwrap().publisher(), registry.registry.id());
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
async fn the_registrys_root_rotates_and_keeps_its_keys_in_charge() {
    let registry = start().await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    let mut events = registry.stream(None).await;
    events.next().await.unwrap();
    let pem = std::fs::read_to_string(registry.folder.path().join("keys/root.pem")).unwrap();
    let root_key = SecretKey::from_pem(&pem).unwrap();
    let rotate = |change: &dyn Fn(&mut Draft)| {
        let mut file = RootFile::new(registry.registry.roots());
        let mut draft = Draft::after(file.chain().last());
        change(&mut draft);
        file.propose(draft.build().unwrap()).unwrap();
        file.sign(&root_key).unwrap();
        file.to_bytes()
    };
    let put = async |bytes: Vec<u8>| {
        let request = registry.request(&registry.admin, reqwest::Method::PUT, "/v1/state/roots");
        common::read(request.header("idempotency-key", common::fresh()).body(bytes)).await
    };
    // A root under which the registry could sign nothing.
    let locked_out = rotate(&|draft| {
        let old: Vec<_> = draft.roles()[STATE_ROLE].keys.clone();
        draft.add(STATE_ROLE, &common::key(9).public());
        draft.remove(STATE_ROLE, old[0]);
    });
    put(locked_out).await.refused(400, "MPKG-P11");
    let second = rotate(&|draft| {
        draft.add(STOP_ROLE, &common::key(8).public());
    });
    put(second).await.ok();
    let (_, event) = events.next().await.unwrap();
    assert_eq!(event, StreamEvent::Roots { version: 2 });
    let bytes = common::read(registry.http.get(format!("{}/v1/state/roots", registry.base))).await.ok().bytes;
    taken(host.accept_roots(&bytes));
    assert_eq!(host.roots().unwrap().len(), 2);
    let registry = registry.restart().await;
    assert_eq!(registry.registry.roots().len(), 2);
    let bytes = registry.get(&registry.admin, "/v1/state/head").await.ok().bytes;
    taken(host.accept_head(&bytes, None));
    // Somebody else's root.
    let foreign = RootFile::new(common::chain(1)).to_bytes();
    let request = registry.request(&registry.admin, reqwest::Method::PUT, "/v1/state/roots");
    let got = common::read(request.header("idempotency-key", common::fresh()).body(foreign)).await;
    got.refused(409, "MPKG-P31");
}

/// The roots of a registry with one more behind them, as a file.
fn next_root(registry: &TestRegistry, expires: i64) -> Vec<u8> {
    let pem = std::fs::read_to_string(registry.folder.path().join("keys/root.pem")).unwrap();
    let mut file = RootFile::new(registry.registry.roots());
    let mut draft = Draft::after(file.chain().last());
    draft.expires = mpkg_package::Time::from_unix(expires);
    file.propose(draft.build().unwrap()).unwrap();
    file.sign(&SecretKey::from_pem(&pem).unwrap()).unwrap();
    file.to_bytes()
}

/// A newer root is in database and file, one after the other. Whichever of the two a process that ended in between had
/// written, and whichever a backup has the newer copy of: the newest root counts, and both have it again.
#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_root_is_whole_wherever_the_process_ended() {
    let mut registry = start().await;
    let path = registry.folder.path().join("keys/roots");
    let database = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let kept = async || {
        let db = sqlx::SqlitePool::connect(&database).await.unwrap();
        let kept: String =
            sqlx::query_scalar("SELECT value FROM meta WHERE name = 'roots'").fetch_one(&db).await.unwrap();
        (db, kept)
    };
    let (old_file, (_, old_row)) = (std::fs::read(&path).unwrap(), kept().await);
    let request = registry.request(&registry.admin, reqwest::Method::PUT, "/v1/state/roots");
    let request = request.header("idempotency-key", "roots").body(next_root(&registry, 4_000_000_000));
    common::read(request).await.ok();
    let (new_file, (_, new_row)) = (std::fs::read(&path).unwrap(), kept().await);
    assert!(old_file != new_file && old_row != new_row);
    let whole = async |registry: &TestRegistry| {
        assert_eq!(registry.registry.roots().len(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), new_file);
        assert_eq!(kept().await.1, new_row);
        let audit = registry.get(&registry.admin, "/v1/audit?limit=200").await.ok().json();
        let items = audit["items"].as_array().unwrap();
        assert_eq!(items.iter().filter(|it| it["action"] == "registry.roots").count(), 1);
    };
    for (file, row) in [(&old_file, &new_row), (&new_file, &old_row), (&new_file, &new_row)] {
        registry.stop().await;
        std::fs::write(&path, file).unwrap();
        let (db, _) = kept().await;
        sqlx::query("UPDATE meta SET value = ? WHERE name = 'roots'").bind(row).execute(&db).await.unwrap();
        db.close().await;
        registry = registry.started().await;
        whole(&registry).await;
    }

    // Another registry's file is no older or newer copy of this one's.
    let other = start().await;
    registry.stop().await;
    std::fs::copy(other.folder.path().join("keys/roots"), &path).unwrap();
    for name in ["state.pem", "stop.pem"] {
        let name = format!("keys/{name}");
        std::fs::copy(other.folder.path().join(&name), registry.folder.path().join(&name)).unwrap();
    }
    let folder = registry.closed();
    let refused = mpkg_registry::Registry::open(common::config(folder.path())).await;
    assert!(matches!(refused, Err(mpkg_registry::OpenError::Keys { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn floors_rise_and_stop_what_is_rolled_out_below_them() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    let run = async |host: &mut mpkg_fleet::Fleet| {
        let got = registry.get(&registry.admin, &format!("/v1/state/apps/{APP}")).await.ok();
        taken(host.accept_app(&got.bytes, None));
        let decision = host.decide(&APP.parse().unwrap(), &context("u1"), None, None);
        decision.run.map(|release| release.release_seq)
    };
    let operator = registry.token(Role::Operator).await;
    let (path, because) = (format!("/v1/apps/{APP}/floor"), "a hole in release 1");
    let floor = |min_seq: u64| json!({ "min_seq": min_seq, "reason": because });
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2, "plan": plan() })).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn states_do_not_pile_up_and_a_stop_that_changes_nothing_signs_none() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = registry.fleet();
    taken(host.accept_roots(&registry.registry.roots().to_bytes()));
    let sha256 = mpkg_package::Hash::of(&Package::new(3).unsigned());
    let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let db = sqlx::SqlitePool::connect(&file).await.unwrap();
    for round in 0..12 {
        let scope = json!({ "app": APP, "releases": { "from": 100 + round, "to": null } });
        let kill = json!({ "level": "warn", "scope": scope, "reason": "one more state" });
        registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
        let path = format!("/v1/state/apps/{APP}");
        taken(host.accept_app(&registry.get(&registry.admin, &path).await.ok().bytes, None));
    }
    let states: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM documents WHERE app = ?")
        .bind(APP)
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(states, 4);

    let stops = [
        ("floor", json!({ "min_seq": 1, "reason": "a hole" })),
        ("disable", json!({ "sha256": sha256, "reason": "leaks" })),
    ];
    for (verb, body) in stops {
        let path = format!("/v1/apps/{APP}/{verb}");
        let first = registry.post(&registry.admin, &path, &body).await.ok();
        let head = registry.head().await;
        let again = registry.post(&registry.admin, &path, &body).await.ok();
        assert_eq!((again.etag.clone(), again.json()), (first.etag.clone(), first.json()), "{verb}");
        assert_eq!(registry.head().await, head, "{verb}");
    }
    assert!(registry.state().await.disabled.contains(&sha256));
    registry.registry.sign_again().await.unwrap();
    taken(host.accept_head(&registry.get(&registry.admin, "/v1/state/head").await.ok().bytes, None));
}

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// States that are old are signed again, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn aging_states_are_signed_again_a_part_at_a_time() {
    let registry = start_with(|config| Config { state_lifetime: DAY, ..config }).await;
    registry.claim().await;
    let publisher = common::chain(1).publisher();
    for number in 0..70 {
        let body = json!({ "app_id": format!("org.example.n{number}"), "publisher": publisher });
        registry.post(&registry.admin, "/v1/apps", &body).await.ok();
        let floor = json!({ "min_seq": 1, "reason": "it has a state from here on" });
        registry.post(&registry.admin, &format!("/v1/apps/org.example.n{number}/floor"), &floor).await.ok();
    }
    let kept = registry.restart_with(|config| Config {
        state_lifetime: DAY,
        now: || std::time::SystemTime::now() + DAY,
        ..config
    });
    let registry = kept.await;
    let before = registry.head().await;
    registry.registry.sign_again().await.unwrap();
    let head = registry.head().await;
    assert_eq!((before.apps.len(), head.apps.len()), (70, 70));
    assert!(before.apps.iter().all(|(app, entry)| head.apps[app].seq == entry.seq + 1));
    assert_eq!(head.seq, before.seq + 2, "two parts");
    registry.registry.sign_again().await.unwrap();
    assert_eq!(registry.head().await.apps, head.apps, "they are young again");
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
