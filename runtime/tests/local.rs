//! `storage`, `files`, `timers` and `user.profile` as guests see them: shared by one app's instances of one user, and by
//! nobody else.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;

use common::listener::{Probe, package};
use common::{APP, Package, TestHost, call, host, host_with};
use miniapp_runtime::rpc::code;
use miniapp_runtime::{CallError, Instance, Limits, Policy, StaticPermissions, UserProfile};
use serde_json::{Value, json};

fn probed(probe: &Probe) -> TestHost {
    host_with(|b| b.bridge(probe.bridge()).permissions(StaticPermissions::allow_all()))
}

async fn refusal(app: &Instance, method: &str, params: Value) -> miniapp_runtime::rpc::RpcError {
    match app.call::<Value>(method, &params).await {
        Err(CallError::Rpc(error)) => error,
        other => panic!("{method}: {other:?}"),
    }
}

#[tokio::test]
async fn a_transaction_is_refused_by_type_by_condition_and_by_quota() {
    let host = host();
    let package =
        Package { mpkg: json!({ "storage": { "quota_bytes": 30 } }), ..Package::with(&["storage"]) };
    let app = host.run(&package).await;
    let set = |key: &str, value: Value| json!({ "set": { "key": key, "value": value } });
    let transaction = |ops: Value, conditions: Value| json!({ "ops": ops, "if": conditions });
    let first = transaction(
        json!([set("a", json!(1)), set("b", json!(null))]),
        json!([{ "key": "a", "absent": true }]),
    );
    assert_eq!(call(&app, "0storage.transaction", first.clone()).await, Ok(json!({})));
    let conflict = refusal(&app, "0storage.transaction", first).await;
    assert_eq!((conflict.code, conflict.data), (code::CONFLICT, Some(json!({ "key": "a" }))));
    let null = transaction(json!([{ "delete": { "key": "a" } }]), json!([{ "key": "b", "equals": null }]));
    assert_eq!(call(&app, "0storage.transaction", null).await, Ok(json!({})), "null is a value");
    let over = transaction(json!([{ "delete": { "key": "b" } }, set("c", json!("x".repeat(40)))]), json!([]));
    assert_eq!(refusal(&app, "0storage.transaction", over).await.code, code::QUOTA_EXCEEDED);
    for bad in [
        json!({}),
        json!({ "ops": [{ "put": { "key": "a" } }] }),
        json!({ "ops": [{ "set": { "key": "" , "value": 1 } }] }),
        json!({ "ops": [{ "set": { "key": "a" } }] }),
        json!({ "ops": [], "if": [{ "key": "a" }] }),
        json!({ "ops": [], "if": [{ "key": "a", "equals": 1, "absent": true }] }),
        json!({ "ops": [], "unless": [] }),
    ] {
        assert_eq!(
            refusal(&app, "0storage.transaction", bad.clone()).await.code,
            code::INVALID_PARAMS,
            "{bad}"
        );
    }
    let bomb: Vec<_> = (0..257).map(|_| set("a", json!(1))).collect();
    assert_eq!(refusal(&app, "0storage.transaction", json!({ "ops": bomb })).await.code, code::TOO_LARGE);
    let half = json!("x".repeat(140 * 1024));
    let much = transaction(json!([set("a", half.clone()), set("c", half)]), json!([]));
    assert_eq!(refusal(&app, "0storage.transaction", much).await.code, code::TOO_LARGE);
    let long = transaction(json!([]), json!([{ "key": "b", "equals": "x".repeat(256 * 1024) }]));
    assert_eq!(
        refusal(&app, "0storage.transaction", long).await.code,
        code::TOO_LARGE,
        "no value is as long"
    );
    assert_eq!(call(&app, "0storage.list", json!({})).await.unwrap()["keys"], json!(["b"]));
    assert_eq!(call(&app, "0storage.clear", json!({})).await, Ok(json!({ "keys": 1 })));
    assert_eq!(call(&app, "0storage.usage", json!({})).await.unwrap()["used_bytes"], 0);
}

/// Comparing is work that no kill interrupts: what is given and what is stored count together.
#[tokio::test]
async fn conditions_compare_so_much_and_no_more() {
    let host = host();
    let mpkg = json!({ "storage": { "quota_bytes": 4 << 20 } });
    let app = host.run(&Package { mpkg, ..Package::with(&["storage"]) }).await;
    let value = "x".repeat(200_000);
    let keys = ["a", "b", "c"];
    for key in keys {
        call(&app, "0storage.set", json!({ "key": key, "value": value })).await.unwrap();
    }
    let suppose = |keys: &[&str]| {
        let conditions: Vec<_> = keys.iter().map(|key| json!({ "key": key, "equals": value })).collect();
        json!({ "ops": [], "if": conditions })
    };
    assert_eq!(call(&app, "0storage.transaction", suppose(&keys[..2])).await, Ok(json!({})));
    let refused = refusal(&app, "0storage.transaction", suppose(&keys)).await;
    assert_eq!(refused.code, code::TOO_LARGE);
    assert_eq!(refused.data.unwrap()["limit"], 1 << 20);
}

#[tokio::test]
async fn an_instance_is_told_what_another_of_its_app_and_user_changes() {
    let probe = Probe::default();
    let host = probed(&probe);
    host.install(package(&["storage"]).signed()).await.unwrap();
    let (watching, writing) =
        (host.launch(APP, "ann").await.unwrap(), host.launch(APP, "ann").await.unwrap());
    let bob = host.launch(APP, "bob").await.unwrap();
    call(&watching, "1storage.watch", json!({ "prefix": "a/" })).await.unwrap();
    let set = |key: &str| json!({ "key": key, "value": 1 });
    // Its own changes, another user's and other keys are not told.
    call(&watching, "1storage.set", set("a/mine")).await.unwrap();
    call(&bob, "1storage.set", set("a/bob")).await.unwrap();
    call(&writing, "1storage.set", set("b")).await.unwrap();
    call(&writing, "1storage.set", set("a/1")).await.unwrap();
    assert_eq!(probe.wait(1).await, [json!({ "keys": ["a/1"], "more": false })]);
    // A flood coalesces while the guest is busy with the first of it.
    let hold = std::sync::Arc::new(tokio::sync::Notify::new());
    probe.park(Some(hold.clone()));
    call(&writing, "1storage.delete", json!({ "key": "a/1" })).await.unwrap();
    probe.wait(2).await;
    probe.park(None);
    let ops: Vec<_> =
        (0..200).map(|n| json!({ "set": { "key": format!("a/{n:03}"), "value": 1 } })).collect();
    for _ in 0..3 {
        call(&writing, "1storage.transaction", json!({ "ops": ops })).await.unwrap();
    }
    call(&writing, "1storage.clear", json!({})).await.unwrap();
    hold.notify_one();
    let heard = probe.wait(3).await;
    assert_eq!((heard[2]["keys"].as_array().unwrap().len(), &heard[2]["more"]), (128, &json!(true)));
    assert_eq!(
        call(&watching, "1storage.unwatch", json!({ "prefix": "a/" })).await,
        Ok(json!({ "existed": true }))
    );
    for n in 0..16 {
        call(&watching, "1storage.watch", json!({ "prefix": format!("{n}") })).await.unwrap();
    }
    assert_eq!(call(&watching, "1storage.watch", json!({ "prefix": "one more" })).await, Err(code::BUSY));
}

#[tokio::test]
async fn timers_fire_repeat_and_are_bounded() {
    let probe = Probe::default();
    let host = probed(&probe);
    let app = host.run(&package(&["timers"])).await;
    let other = host.launch(APP, "bob").await.unwrap();
    assert_eq!(
        call(&app, "1timers.set", json!({ "id": "once", "after_ms": 1 })).await,
        Ok(json!({ "id": "once" }))
    );
    assert_eq!(probe.wait(1).await, [json!({ "id": "once" })]);
    call(&app, "1timers.set", json!({ "id": "tick", "after_ms": 0, "every_ms": 100 })).await.unwrap();
    assert_eq!(probe.wait(4).await[1..], vec![json!({ "id": "tick" }); 3]);
    assert_eq!(call(&other, "1timers.clear", json!({ "id": "tick" })).await, Ok(json!({ "existed": false })));
    assert_eq!(call(&app, "1timers.clear", json!({ "id": "tick" })).await, Ok(json!({ "existed": true })));
    for bad in [
        json!({}),
        json!({ "after_ms": -1 }),
        json!({ "after_ms": 1.5 }),
        json!({ "after_ms": 1, "every_ms": 99 }),
        json!({ "after_ms": u64::MAX }),
        json!({ "after_ms": 1, "id": "" }),
        json!({ "after_ms": 1, "id": "x".repeat(65) }),
        json!({ "after_ms": 1, "payload": 1 }),
    ] {
        assert_eq!(call(&app, "1timers.set", bad.clone()).await, Err(code::INVALID_PARAMS), "{bad}");
    }
    let mut ids = BTreeSet::new();
    for _ in 0..32 {
        let made = call(&app, "1timers.set", json!({ "after_ms": 3_600_000 })).await.unwrap();
        assert!(ids.insert(made["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(call(&app, "1timers.set", json!({ "after_ms": 1 })).await, Err(code::BUSY), "a timer storm");
    let listed = call(&app, "1timers.list", json!({})).await.unwrap();
    assert_eq!(listed["timers"].as_array().unwrap().len(), 32);
    assert_eq!(call(&other, "1timers.list", json!({})).await, Ok(json!({ "timers": [] })));
}

#[tokio::test]
async fn files_are_one_apps_and_one_users_and_go_with_the_app() {
    let host = host();
    let files = |seed: &str| Package {
        app_id: format!("com.example.{seed}"),
        mpkg: json!({ "files": { "quota_bytes": 1000 } }),
        ..Package::with(&["files"])
    };
    let app = host.run(&files("one")).await;
    let other = host.run(&files("two")).await;
    let bob = host.launch("com.example.one", "../ann").await.unwrap();
    let write = |text: &str| json!({ "path": "notes/a.txt", "text": text });
    assert_eq!(call(&app, "0files.write", write("mine")).await, Ok(json!({})));
    for stranger in [&other, &bob] {
        assert_eq!(call(stranger, "0files.list", json!({})).await, Ok(json!({ "paths": [] })));
        assert_eq!(call(stranger, "0files.read", json!({ "path": "notes/a.txt" })).await, Err(code::REFUSED));
    }
    // Two instances share one folder and one count.
    let twin = host.launch("com.example.one", "ann").await.unwrap();
    call(&twin, "0files.write", json!({ "path": "notes/a.txt", "base64": "IQ==", "append": true }))
        .await
        .unwrap();
    let read = call(&app, "0files.read", json!({ "path": "notes/a.txt", "offset": 3, "length": 1 })).await;
    assert_eq!(read, Ok(json!({ "base64": "ZQ==", "size": 5, "more": true })));
    for behind in [5, 1 << 63, u64::MAX] {
        let read = call(&app, "0files.read", json!({ "path": "notes/a.txt", "offset": behind })).await;
        assert_eq!(read, Ok(json!({ "base64": "", "size": 5, "more": false })), "{behind}");
    }
    let usage = json!({ "used_bytes": 5, "quota_bytes": 1000, "files": 1, "max_files": 1000 });
    assert_eq!(call(&app, "0files.usage", json!({})).await, Ok(usage.clone()));
    let over = refusal(&app, "0files.write", json!({ "path": "b", "text": "x".repeat(996) })).await;
    assert_eq!(
        (over.code, over.data),
        (code::QUOTA_EXCEEDED, Some(json!({ "used_bytes": 5, "quota_bytes": 1000 })))
    );
    for bad in [
        json!({ "path": "../x", "text": "" }),
        json!({ "path": "a" }),
        json!({ "path": "a", "text": "", "base64": "" }),
        json!({ "path": "a", "base64": "?" }),
        json!({ "path": "a", "text": "", "mode": 7 }),
    ] {
        assert_eq!(call(&app, "0files.write", bad.clone()).await, Err(code::INVALID_PARAMS), "{bad}");
    }
    assert_eq!(call(&twin, "0files.usage", json!({})).await, Ok(usage));
    assert_eq!(call(&app, "0files.stat", json!({ "path": "none" })).await, Ok(json!({ "found": false })));
    host.revoke("ann", "com.example.one", "files").unwrap();
    assert_eq!(call(&app, "0files.list", json!({})).await, Err(code::PERMISSION_DENIED));

    host.uninstall("com.example.one").await.unwrap();
    let again = host.run(&files("one")).await;
    assert_eq!(call(&again, "0files.list", json!({})).await, Ok(json!({ "paths": [] })));
    assert_eq!(call(&other, "0files.write", write("still here")).await, Ok(json!({})));
}

#[tokio::test]
async fn a_file_longer_than_a_message_is_read_in_parts() {
    let limits = Limits { message_bytes: 4096, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["files"])).await;
    for n in 0..5u8 {
        let text = char::from(b'a' + n).to_string().repeat(2000);
        call(&app, "0files.write", json!({ "path": "long", "text": text, "append": true })).await.unwrap();
    }
    let (mut offset, mut parts) = (0, 0);
    loop {
        let part = call(&app, "0files.read", json!({ "path": "long", "offset": offset })).await.unwrap();
        offset += part["base64"].as_str().unwrap().trim_end_matches('=').len() * 3 / 4;
        parts += 1;
        if part["more"] == false {
            break;
        }
    }
    assert_eq!((offset, parts), (10_000, 5));
}

#[tokio::test]
async fn a_host_may_rule_out_a_files_quota() {
    let policy = Policy { files_ceiling: 1 << 20, ..Policy::default() };
    let host = host_with(|b| b.policy(policy));
    let package =
        Package { mpkg: json!({ "files": { "quota_bytes": 2 << 20 } }), ..Package::with(&["files"]) };
    host.install(package.signed()).await.unwrap();
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H14");
}

#[tokio::test]
async fn a_host_shows_and_wipes_what_one_users_app_has_stored() {
    let probe = Probe::default();
    let host = probed(&probe);
    let ann = host.run(&package(&["storage"])).await;
    let bob = host.launch(APP, "bob").await.unwrap();
    for app in [&ann, &bob] {
        call(app, "1storage.set", json!({ "key": "k", "value": [1] })).await.unwrap();
    }
    call(&ann, "1storage.watch", json!({})).await.unwrap();
    let storage = host.storage("ann", APP).unwrap().unwrap();
    assert_eq!((storage.keys(None, 9).unwrap(), storage.used_bytes().unwrap()), (vec!["k".to_owned()], 4));
    assert_eq!(storage.get("k").unwrap().as_deref(), Some("[1]"));
    assert!(storage.keys(Some("k"), 9).unwrap().is_empty());
    assert_eq!(storage.wipe().unwrap(), 1);
    assert_eq!(probe.wait(1).await, [json!({ "keys": [], "more": true })]);
    assert_eq!((storage.used_bytes().unwrap(), storage.get("k").unwrap()), (0, None));
    assert_eq!(host.storage("bob", APP).unwrap().unwrap().used_bytes().unwrap(), 4);
    assert!(host.storage("ann", "com.example.none").unwrap().is_none());
}

/// Two apps, or two users, never have an id in common, and none is the host's own.
#[tokio::test]
async fn apps_know_a_user_by_an_id_of_their_own() {
    let host = host_with(|b| {
        b.permissions(StaticPermissions::allow_all()).profiles(|user| async move {
            let display_name = (user == "ann").then(|| "Ann".to_owned());
            UserProfile { display_name, locale: None }
        })
    });
    let mut seen = BTreeSet::new();
    for app_id in ["com.example.one", "com.example.two"] {
        host.install(Package { app_id: app_id.into(), ..Package::with(&["user.profile"]) }.signed())
            .await
            .unwrap();
        for user in ["ann", "bob"] {
            let app = host.launch(app_id, user).await.unwrap();
            let profile = call(&app, "0user.profile", json!({})).await.unwrap();
            let id = profile["id"].as_str().unwrap().to_owned();
            assert!(!id.contains(user) && id.len() == 32, "{id}");
            assert!(seen.insert(id.clone()), "{app_id} {user}");
            assert_eq!(profile.get("display_name"), (user == "ann").then(|| json!("Ann")).as_ref());
            let again = host.launch(app_id, user).await.unwrap();
            assert_eq!(
                call(&again, "0user.profile", json!({})).await.unwrap()["id"],
                id.as_str(),
                "it stays"
            );
        }
    }
    let plain = common::host();
    let app = plain.run(&Package::with(&["user.profile"])).await;
    let profile = call(&app, "0user.profile", json!({})).await.unwrap();
    assert_eq!(profile.as_object().unwrap().len(), 1, "the id only: {profile}");
    assert!(seen.insert(profile["id"].as_str().unwrap().to_owned()), "another host, another id");
}

/// What an app said and was told is there is there, though its host did not read for a while.
#[tokio::test]
async fn a_host_that_does_not_read_refuses_events_and_loses_none() {
    let policy = Policy { notification_queue: 8, ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["events"])).await;
    let mut heard = app.notifications();
    let mut acknowledged = Vec::new();
    for n in 0..20 {
        match call(&app, "0events.publish", json!({ "topic": "t", "data": n })).await {
            Ok(published) => acknowledged.push(published["id"].as_str().unwrap().to_owned()),
            Err(error) => assert_eq!(error, code::BUSY),
        }
    }
    assert_eq!(acknowledged.len(), 8);
    app.kill("test");
    let mut ids = Vec::new();
    let mut last = None;
    while let Some(notification) = heard.recv().await {
        match &*notification {
            miniapp_runtime::Notification::Event { id, .. } => ids.push(id.clone()),
            other => last = Some(format!("{other:?}")),
        }
    }
    assert_eq!(ids, acknowledged);
    assert!(last.unwrap().contains("Stopped"));
}
