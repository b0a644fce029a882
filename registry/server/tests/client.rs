//! The client against a registry: what the command line and hosts do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{APP, Package, chain, start};
use mpkg_fleet::{Arm, Batch, Counters, Level, Report, StreamEvent};
use mpkg_package::{Digest, RootFile, Trust, verify_detached};
use mpkg_registry::{Config, Opened, Registry, Role, serve};
use mpkg_registry_client::wire::{
    Because, NewApp, NewKill, NewRollback, NewRollout, NewToken, Paging, TrafficQuery,
};
use mpkg_registry_client::{Backoff, Client, ClientError};

fn because(text: &str) -> Because {
    Because { reason: text.parse().unwrap() }
}

fn kill() -> NewKill {
    let scope = serde_json::from_value(serde_json::json!({ "app": APP })).unwrap();
    NewKill { level: Level::Stop, scope, reason: "bad".parse().unwrap() }
}

async fn publish(client: &Client, code: u64) -> mpkg_fleet::ReleaseRef {
    client.publish(&APP.parse().unwrap(), Package::new(code).signed()).await.unwrap().release
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_from_its_publisher_to_everybody_and_back() {
    let registry = start().await;
    let client = Client::new(&registry.base, Some(&registry.admin)).unwrap();
    let (app, chain) = (APP.parse().unwrap(), chain(1));
    client.put_roots(chain.publisher(), RootFile::new(chain.clone()).to_bytes()).await.unwrap();
    let claim = NewApp { app_id: APP.parse().unwrap(), publisher: chain.publisher() };
    client.claim(&claim).await.unwrap();
    let first = publish(&client, 1).await;
    publish(&client, 2).await;

    let everybody = serde_json::json!({
        "release_seq": 1, "plan": [{ "percent": 10_000, "bake_s": 0, "min_votes": 0 }],
    });
    let draft = client.draft(&app, &serde_json::from_value::<NewRollout>(everybody).unwrap()).await.unwrap();
    let started = client.start(draft.value.id, &draft.etag).await.unwrap();
    client.complete(draft.value.id, &started.etag).await.unwrap();

    let second: NewRollout = serde_json::from_value(serde_json::json!({ "release_seq": 2 })).unwrap();
    let draft = client.draft(&app, &second).await.unwrap();
    let id = draft.value.id;
    let forecast =
        client.plan(id, TrafficQuery { devices_per_day: 100_000, devices: 1_000_000 }).await.unwrap();
    assert_eq!(forecast.steps.len(), 3);
    client.start(id, &draft.etag).await.unwrap();
    let stale = client.start(id, &draft.etag).await.unwrap_err();
    assert_eq!(stale.code(), Some("MPKG-P23"));
    assert!(!stale.is_passing());
    assert!(client.gate(id).await.unwrap().is_some());
    client.hold(id, &because("look")).await.unwrap();
    let back = NewRollback { to: None, reason: "no good".parse().unwrap() };
    client.roll_back(id, &back).await.unwrap();
    assert_eq!(client.rollouts(&app, &Paging::default()).await.unwrap().items.len(), 2);

    // A host: everything it believes, it verifies.
    let new = NewToken {
        owner: "phone".parse().unwrap(),
        roles: [Role::Host].into(),
        apps: Default::default(),
        publishers: Default::default(),
        expires_in_s: Some(3_600),
    };
    let secret = client.make_token(&new).await.unwrap().secret.unwrap();
    let host = Client::new(&registry.base, Some(&secret)).unwrap();
    let mut fleet = registry.fleet();
    for outcome in [
        fleet.accept_roots(&host.registry_roots().await.unwrap()),
        fleet.accept_app(&host.state(&app).await.unwrap(), None),
        fleet.accept_head(&host.head().await.unwrap(), None),
    ] {
        assert!(outcome.changed, "{outcome:?}");
    }
    let (package, signature) = host.package(first.package).await.unwrap();
    verify_detached(package, &signature, &Trust::chain(&chain)).unwrap();
    let other = Digest { size: first.package.size - 1, ..first.package };
    assert!(matches!(host.package(other).await, Err(ClientError::TooLarge { .. })));

    let counters = Counters { launches: 1, beacons: 1, ..Counters::default() };
    let report =
        Report { app: app.clone(), release_seq: 1, arm: Arm::Neither, boot: "b".parse().unwrap(), counters };
    assert_eq!(host.report(&Batch { reports: vec![report] }).await.unwrap().accepted, 1);
    assert_eq!(client.telemetry(&app, 60).await.unwrap().items.len(), 1);
    assert_eq!(host.status().await.unwrap_err().code(), Some("MPKG-P03"));

    assert_eq!(client.drill(&kill()).await.unwrap().devices, 1);
    let killed = client.kill(&kill()).await.unwrap();
    assert_eq!(client.status().await.unwrap().kills.len(), 1);
    let found = client.find_kill(killed.value.id).await.unwrap();
    client.lift(killed.value.id, &found.etag, &because("mended")).await.unwrap();
    assert!(client.kills(&Paging::default()).await.unwrap().items.is_empty());
    let all = Paging { all: Some(true), ..Paging::default() };
    assert_eq!(client.kills(&all).await.unwrap().items.len(), 1);
    assert_eq!(client.verify_audit().await.unwrap().broken_at, None);
    assert!(!client.audit(&Paging { limit: Some(3), ..Paging::default() }).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_survives_a_restart_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Opened { registry, first_token } = Registry::open(common::config(folder.path())).await.unwrap();
    let running = serve(Arc::clone(&registry)).await.unwrap();
    let address = running.address;
    let client = Client::new(&format!("http://{address}"), first_token.as_deref()).unwrap();
    let backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_millis(200) };
    let mut follower = client.follow(None, backoff);
    assert!(matches!(follower.next().await.unwrap(), StreamEvent::Heartbeat { .. }));
    let fleet_wide = NewKill { scope: Default::default(), ..kill() };
    client.kill(&fleet_wide).await.unwrap();
    assert!(matches!(follower.next().await.unwrap(), StreamEvent::Stop { .. }));
    assert!(matches!(follower.next().await.unwrap(), StreamEvent::Head { .. }));
    let last = follower.last().unwrap();
    running.stop().await;
    drop(registry);

    let reopened = tokio::spawn({
        let config = Config { listen: address, ..common::config(folder.path()) };
        async move {
            let Opened { registry, .. } = Registry::open(config).await.unwrap();
            serve(registry).await.unwrap()
        }
    });
    // It was at the head before the restart, and is told of the one that the restart signed.
    let event = follower.next().await.unwrap();
    let StreamEvent::Head { prev, at, .. } = event else { panic!("{event:?}") };
    assert_eq!(prev, last);
    assert!(at.follows(last));
    reopened.await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_use_is_said_at_once() {
    let registry = start().await;
    let client = Client::new(&registry.base, Some("mpkg_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")).unwrap();
    let mut follower = client.follow(None, Backoff::default());
    assert_eq!(follower.next().await.unwrap_err().code(), Some("MPKG-P02"));
    for address in ["http://registry.example", "ftp://127.0.0.1", "registry", "file:///etc/passwd"] {
        assert!(matches!(Client::new(address, None), Err(ClientError::Address { .. })), "{address}");
    }
    assert!(matches!(Client::new(&registry.base, Some("a\nb")), Err(ClientError::Token)));
    let shown = format!("{client:?}");
    assert!(!shown.contains("mpkg_"), "{shown}");
}
