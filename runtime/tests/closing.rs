//! A host that is closed lets its apps say goodbye, and starts nothing any more.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::{APP, Package, call, host, host_with, puppet};
use miniapp_runtime::{Bridge, Decision, PromptPermissions, StaticPermissions, StopReason, rpc::RpcError};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_apps_leave_behind_is_kept() {
    let seen = || Bridge::new("host.seen").immediate("seen.event", |_, _: Value| Ok::<_, RpcError>(()));
    let package = Package {
        component: wat::parse_str(puppet::watched(&["host", "storage"])).unwrap(),
        ..Package::with(&["host.seen", "storage"])
    }
    .required();
    let host = host_with(|b| b.bridge(seen()).permissions(StaticPermissions::allow_all()));
    let app = host.run(&package).await;
    app.show().await.unwrap();
    tokio::time::timeout(PATIENCE, host.close()).await.unwrap();
    assert_eq!(app.stop_reason(), Some(StopReason::HostShutdown));
    assert_eq!(host.snapshot().memory_bytes, 0);
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H19");
    drop(app);
    let folder = host.folder;
    // The folder is free when the last task has let go of the host.
    let mut left = Some(host.host);
    let again = async {
        loop {
            drop(left.take());
            let builder = common::builder(folder.path()).bridge(seen());
            match builder.permissions(StaticPermissions::allow_all()).build() {
                Ok(host) => return host,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let host = tokio::time::timeout(PATIENCE, again).await.unwrap();
    let app = host.launch(APP, "ann").await.unwrap();
    let kept = call(&app, "1storage.get", json!({ "key": "lifecycle.state" })).await.unwrap();
    assert_eq!(kept["value"], json!({ "n": 17 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn launches_under_way_are_ended() {
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    let ask = PromptPermissions::new(move |_| {
        asked.send(()).unwrap();
        std::future::pending::<Decision>()
    });
    let host = host_with(|b| b.permissions(ask));
    host.install(Package::with(&["storage"]).required().signed()).await.unwrap();
    let launch = tokio::spawn(host.begin_launch(APP, "ann").unwrap());
    questions.recv().await.unwrap();
    tokio::time::timeout(PATIENCE, host.close()).await.unwrap();
    assert_eq!(launch.await.unwrap().unwrap_err().code(), "MPKG-H22");
}

#[tokio::test]
async fn an_instance_can_be_ended_by_the_id_that_is_shown() {
    let host = host();
    let app = host.run(&Package::default()).await;
    let shown = host.snapshot().instances[0].id;
    assert!(host.handle(shown + 1).is_none());
    assert!(host.handle(shown).unwrap().kill("swiped away"));
    app.stopped().await;
    assert!(host.handle(shown).is_none());
}
