//! A user who leaves, or has enough of one app: nothing of theirs stays, and nobody else loses anything.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::{Arc, Mutex};

use common::{APP, Package, TestHost, call, host_with};
use miniapp_runtime::rpc::code;
use miniapp_runtime::{AuditOutcome, Decider, Decision, Instance, PromptPermissions};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};

const OTHER: &str = "com.example.other";

fn package(app_id: &str) -> Package {
    Package { app_id: app_id.into(), ..Package::with(&["storage", "files", "events"]) }
}

/// A host whose users allow everything, and what they were asked: who, by which app.
async fn house() -> (TestHost, Arc<Mutex<Vec<(String, String)>>>) {
    let asked = Arc::<Mutex<Vec<_>>>::default();
    let log = asked.clone();
    let always = PromptPermissions::new(move |request| {
        log.lock().unwrap().push((request.user, request.app_id));
        async { Decision::AllowAlways }
    });
    let host = host_with(|b| b.permissions(always));
    for app_id in [APP, OTHER] {
        host.install(package(app_id).signed()).await.unwrap();
    }
    (host, asked)
}

/// An instance that has left something everywhere.
async fn settled(host: &TestHost, app_id: &str, user: &str) -> Instance {
    let app = host.launch(app_id, user).await.unwrap();
    call(&app, "0storage.set", json!({ "key": "k", "value": user })).await.unwrap();
    call(&app, "1files.write", json!({ "path": "a/b", "text": user })).await.unwrap();
    call(&app, "2events.subscribe", json!({ "topic": "orders" })).await.unwrap();
    app
}

fn stored(host: &TestHost, app_id: &str, user: &str) -> u64 {
    host.storage(user, app_id).unwrap().unwrap().used_bytes().unwrap()
}

/// What the app finds of the user: pairs and files.
async fn found(app: &Instance) -> (Value, Value) {
    let pairs = call(app, "0storage.list", json!({})).await.unwrap()["keys"].clone();
    let files = call(app, "1files.list", json!({})).await.unwrap()["paths"].clone();
    (pairs, files)
}

#[tokio::test]
async fn an_app_forgets_one_user_and_nobody_else() {
    let (host, asked) = house().await;
    let ann = settled(&host, APP, "ann").await;
    let others = [settled(&host, APP, "anna").await, settled(&host, OTHER, "ann").await];
    // Of an instance that has ended something waits, too.
    ann.unload().await;
    ann.stopped().await;
    let running = host.launch(APP, "ann").await.unwrap();
    assert_eq!(host.publish(None, "orders", &1).unwrap().receivers, 3);
    asked.lock().unwrap().clear();

    assert!(host.wipe("ann", APP).await.unwrap());
    assert_eq!(running.stop_reason().map(|reason| reason.code()), Some("MPKG-H20"));
    assert_eq!((stored(&host, APP, "ann"), host.grants("ann", APP).unwrap()), (0, vec![]));
    let audit = host.audit(0, 1000).unwrap().records;
    let forgotten: Vec<_> = audit
        .iter()
        .filter(|record| (record.outcome, record.by) == (AuditOutcome::AskAgain, Decider::Host))
        .map(|record| (record.user.as_str(), record.app_id.as_str(), record.permission.as_str()))
        .collect();
    assert_eq!(forgotten, ["events", "files", "storage"].map(|permission| ("ann", APP, permission)));
    assert_eq!(host.publish(None, "orders", &2).unwrap().receivers, 2, "it has subscribed to nothing");

    let again = host.launch(APP, "ann").await.unwrap();
    assert_eq!(found(&again).await, (json!([]), json!([])));
    assert_eq!(asked.lock().unwrap().len(), 2, "what was decided is forgotten: asked for both");
    for app in &others {
        assert_eq!(app.stop_reason(), None);
        assert_eq!(found(app).await, (json!(["k"]), json!(["a/b"])));
        assert_eq!(host.grants(app.user(), app.app_id()).unwrap().len(), 3);
    }
    assert!(host.wipe("nobody", APP).await.unwrap(), "there is nothing to do");
    assert!(!host.wipe("ann", "com.example.none").await.unwrap());
}

#[tokio::test]
async fn a_user_who_leaves_is_forgotten_by_every_app() {
    let (host, _) = house().await;
    let mut apps = Vec::new();
    for (app_id, user) in [(APP, "ann"), (OTHER, "ann"), (APP, "bob")] {
        apps.push(settled(&host, app_id, user).await);
    }
    host.forget_user("ann").await.unwrap();
    assert!(apps[..2].iter().all(|app| app.stop_reason().is_some()) && apps[2].stop_reason().is_none());
    for app_id in [APP, OTHER] {
        assert_eq!((stored(&host, app_id, "ann"), host.grants("ann", app_id).unwrap()), (0, vec![]));
        assert_eq!(found(&host.launch(app_id, "ann").await.unwrap()).await, (json!([]), json!([])));
    }
    assert_eq!(found(&apps[2]).await, (json!(["k"]), json!(["a/b"])));
    host.forget_user("nobody").await.unwrap();
}

/// What was stored in an earlier form comes back with the release that understands it: but not to whom it is forgotten of.
#[tokio::test]
async fn what_is_kept_of_earlier_forms_is_forgotten_too() {
    let (host, _) = house().await;
    let release = |code: u64, schema: u32| {
        let mpkg = json!({ "storage": { "schema": schema, "quota_bytes": 1000 } });
        Package { code, mpkg, ..package(APP) }.signed()
    };
    for user in ["ann", "bob"] {
        settled(&host, APP, user).await.unload().await;
    }
    host.install(release(2, 2)).await.unwrap();
    assert!(host.wipe("ann", APP).await.unwrap());
    host.install(release(3, 1)).await.unwrap();
    let (ann, bob) = (host.launch(APP, "ann").await.unwrap(), host.launch(APP, "bob").await.unwrap());
    assert_eq!(found(&ann).await.0, json!([]));
    assert_eq!(found(&bob).await.0, json!(["k"]));
}

/// An app that writes without a pause, and one whose user is being asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_under_way_comes_after_a_wipe() {
    let (open, answer) = (Arc::new(Semaphore::new(0)), Arc::new(Notify::new()));
    let (opened, answered) = (open.clone(), answer.clone());
    let host = host_with(|b| {
        b.permissions(PromptPermissions::new(move |request| {
            let (opened, answered) = (opened.clone(), answered.clone());
            async move {
                if request.permission == "events" {
                    opened.add_permits(1);
                    answered.notified().await;
                }
                Decision::AllowAlways
            }
        }))
    });
    host.install(package(APP).signed()).await.unwrap();
    let app = host.launch(APP, "ann").await.unwrap();
    let writing = tokio::spawn({
        let app = app.clone();
        async move {
            // Refused for a while where it is too often.
            while matches!(
                call(&app, "0storage.set", json!({ "key": "k", "value": 1 })).await,
                Ok(_) | Err(code::BUSY)
            ) {}
        }
    });
    while stored(&host, APP, "ann") == 0 {
        tokio::task::yield_now().await;
    }
    let twin = host.launch(APP, "ann").await.unwrap();
    let asking = tokio::spawn(async move { call(&twin, "2events.subscribe", json!({ "topic": "t" })).await });
    open.acquire().await.unwrap().forget();
    assert!(host.wipe("ann", APP).await.unwrap());
    answer.notify_waiters();
    assert!(asking.await.unwrap().is_err());
    writing.await.unwrap();
    assert_eq!((stored(&host, APP, "ann"), host.grants("ann", APP).unwrap()), (0, vec![]));
}
