//! Hosts without news: what holds, what fades, and state that comes in a folder.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use miniapp_runtime::updates::{AgentError, Event, Settings, Way};
use mpkg_fleet::{FrozenBy, Level, Standing, StateFile};
use mpkg_manifest::permission::Risk;
use mpkg_package::{Time, Trust};
use serde_json::json;

use crate::common::{APP, Package, TestRegistry};
use crate::device::{Host, Noting, app, context, settings, until};
use crate::following::{kill, with_baseline};

const DAY: i64 = 24 * 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn knowledge_fades_by_the_risk_of_what_it_allows_and_kills_do_not() {
    let registry = with_baseline().await;
    let now = Arc::new(AtomicI64::new(0));
    let folder = tempfile::tempdir().unwrap();
    let token = registry.host("unit").await;
    let client = mpkg_registry_client::Client::new(&registry.base, Some(&token)).unwrap();
    let clock = now.clone();
    let real =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let settings = settings(&registry, "unit", &folder)
        .registry(client)
        .clock(move || Time::from_unix(real() + clock.load(Ordering::SeqCst)));
    let mut host = Host::with(settings, Noting::default(), folder).await;
    host.runs(1).await;
    kill(&registry, Level::Block, json!({ "app": APP, "releases": { "from": 2, "to": null } })).await;
    host.caught_up(&registry).await;
    let orders = host.device.orders();
    let standing = || [Risk::Low, Risk::Sensitive, Risk::High].map(|risk| orders.standing(risk));
    assert_eq!(standing(), [Standing::Fresh; 3]);
    now.store(DAY + 60, Ordering::SeqCst);
    assert_eq!(standing(), [Standing::Fresh, Standing::Fresh, Standing::Withdrawn]);
    now.store(7 * DAY + 60, Ordering::SeqCst);
    assert_eq!(standing(), [Standing::Fresh, Standing::Refresh, Standing::Withdrawn]);
    let release = host.device.held().shelf.current.clone();
    assert!(orders.decide(&app(), release.as_ref()).frozen.contains(&FrozenBy::Expired));
    now.store(3_650 * DAY, Ordering::SeqCst);
    assert_eq!(orders.fleet().kills().active().count(), 1);
    // A clock that is set back makes nothing newer: not after a restart, and not than when it was signed.
    now.store(DAY + 60, Ordering::SeqCst);
    let fleet = || host.device.orders().fleet().clone();
    until("the time to be kept", || fleet().age_s(Time::from_unix(0)).unwrap() > DAY as u64).await;
    now.store(-3_650 * DAY, Ordering::SeqCst);
    let settings = host.settings.clone();
    let host = host.restart(settings).await;
    let orders = host.device.orders();
    let standing = || [Risk::Low, Risk::Sensitive, Risk::High].map(|risk| orders.standing(risk));
    assert_eq!(standing()[2], Standing::Withdrawn);
    // The app asks for a refresh, and the registry has signed its head again.
    now.store(0, Ordering::SeqCst);
    let before = registry.registry.head();
    registry.registry.sign_again().await.unwrap();
    assert!(registry.registry.head() > before);
    orders.refresh().await;
    assert_eq!(host.agent.status().await.unwrap().head, Some(registry.registry.head()));
}

/// What `mpkg fleet export` writes.
async fn export(registry: &TestRegistry, folder: &std::path::Path, releases: &[u64]) {
    let get = async |path: &str| registry.get(&registry.admin, path).await.ok().bytes;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let file = StateFile {
        roots: get("/v1/state/roots").await,
        head: text(get("/v1/state/head").await),
        apps: [(app(), text(get(&format!("/v1/state/apps/{APP}")).await))].into(),
    };
    fs::write(folder.join(StateFile::NAME), file.to_bytes()).unwrap();
    for code in releases {
        let package = Package::new(*code);
        let hash = mpkg_package::Hash::of(&package.unsigned());
        fs::write(folder.join(format!("{hash}.mpkg")), package.signed()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_network_takes_state_and_packages_from_a_folder() {
    let registry = with_baseline().await;
    let drive = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust::publisher(registry.registry.id());
    let settings = Settings::new(trust, context("unit"), folder.path().join("updates"));
    let mut host = Host::with(settings, Noting::default(), folder).await;
    let error = host.agent.import(drive.path()).await.unwrap_err();
    assert!(matches!(error, AgentError::Read { .. }), "{error}");

    // The package is not there yet: nothing is lost, and it is found when it is.
    export(&registry, drive.path(), &[]).await;
    host.agent.import(drive.path()).await.unwrap();
    host.event("failure", |event| matches!(event, Event::Failed { .. })).await;
    export(&registry, drive.path(), &[1]).await;
    host.agent.import(drive.path()).await.unwrap();
    let installed = host.event("installation", |event| matches!(event, Event::Installed { .. })).await;
    assert!(matches!(installed, Event::Installed { way: Way::Folder, .. }));
    host.runs(1).await;

    // A newer drive with a kill, and then the old one again.
    let old = fs::read(drive.path().join(StateFile::NAME)).unwrap();
    kill(&registry, Level::Stop, json!({ "app": APP })).await;
    export(&registry, drive.path(), &[1]).await;
    host.agent.import(drive.path()).await.unwrap();
    assert!(!host.device.launches() && host.device.held().stops == 1);
    fs::write(drive.path().join(StateFile::NAME), old).unwrap();
    host.agent.import(drive.path()).await.unwrap();
    host.refused("MPKG-F36").await;
    assert!(!host.device.launches());

    // Another registry's drive says nothing here.
    let other = with_baseline().await;
    export(&other, drive.path(), &[1]).await;
    host.agent.import(drive.path()).await.unwrap();
    host.refused("MPKG-F31").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_no_good_does_not_keep_a_host_from_its_registry() {
    let registry = with_baseline().await;
    let drive = tempfile::tempdir().unwrap();
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    export(&registry, drive.path(), &[]).await;
    host.agent.import(drive.path()).await.unwrap();
    let path = |code| {
        let hash = mpkg_package::Hash::of(&Package::new(code).unsigned());
        drive.path().join(format!("{hash}.mpkg"))
    };
    // What is no package, and a package that nobody signed.
    fs::write(path(2), b"garbage").unwrap();
    fs::write(path(3), Package::new(3).unsigned()).unwrap();
    for code in [2, 3] {
        registry.publish(code).await;
        registry.everywhere(code).await;
        host.runs(code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_is_never_taken_for_nothing() {
    let registry = with_baseline().await;
    let mut host = Host::new(&registry, "unit").await;
    host.runs(1).await;
    let path = host.settings.folder.join("fleet.json");
    let Host { agent, device, settings, folder, .. } = host;
    agent.shutdown().await;
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = miniapp_runtime::updates::Agent::start(settings.clone(), device.clone()).await.unwrap_err();
    assert_eq!(error.code(), "MPKG-F40");
    fs::write(&path, whole).unwrap();
    let other = Settings { trust: Trust::publisher(with_baseline().await.registry.id()), ..settings };
    let error = miniapp_runtime::updates::Agent::start(other, device).await.unwrap_err();
    assert_eq!(error.code(), "MPKG-F31");
    drop(folder);
}
