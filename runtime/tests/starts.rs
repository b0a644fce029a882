//! Releases that do not start: what counts, what is gone back to, and what is left of the app's data.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::fleet::{Registry, offer, shelve};
use common::{APP, Package, TestHost, builder, call, host, host_with, puppet};
use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::updates::{Device, Shelf, Switch};
use miniapp_runtime::{Bridge, DataError, Host, HostError, LaunchError, Policy, StaticPermissions};
use mpkg_fleet::Counters;
use serde_json::{Value, json};

fn release(code: u64) -> Package {
    Package { code, ..Package::with(&["storage"]) }
}

/// A release that traps when it is told that it was launched.
fn broken(code: u64) -> Package {
    Package { component: wat::parse_str(puppet::when_launched("(unreachable)")).unwrap(), ..release(code) }
}

fn shelf(host: &Host) -> Shelf {
    host.shelf(&APP.parse().unwrap()).unwrap()
}

fn sequence(release: &Option<mpkg_fleet::ReleaseRef>) -> Option<u64> {
    release.as_ref().map(|release| release.release_seq)
}

fn rejected(host: &Host) -> Vec<u64> {
    shelf(host).rejected.iter().map(|release| release.release_seq).collect()
}

async fn offered(host: &Host, package: &Package) -> bool {
    let release = shelve(host, package).await;
    host.switch(&APP.parse().unwrap(), &release, Switch::NextLaunch).await.unwrap()
}

fn counters(host: &Host, release_seq: u64) -> Counters {
    let counted = host.counted().into_iter().find(|it| it.release_seq == release_seq);
    counted.map(|it| it.counters).unwrap_or_default()
}

/// Launches, beacons, crashes and crash loops of a release.
fn outcomes(host: &Host, release_seq: u64) -> [u64; 4] {
    let it = counters(host, release_seq);
    [it.launches, it.beacons, it.crashes, it.crash_loops]
}

/// A host that somebody watches over, with a release that has come up.
async fn watched() -> TestHost {
    let host = host();
    host.obey(&Registry::default().orders());
    assert!(offered(&host, &release(1)).await);
    comes_up(&host, 1).await;
    host
}

/// Launches the app, which is that release, and sees it up.
async fn comes_up(host: &Host, release_seq: u64) {
    let app = host.launch(APP, "ann").await.unwrap();
    assert_eq!(sequence(&shelf(host).current), Some(release_seq));
    call(&app, "echo", json!(1)).await.unwrap();
    app.kill("done");
}

/// Launches the app, which fails before it is up.
async fn fails(host: &Host, release_seq: u64) {
    let app = host.launch(APP, "ann").await;
    assert_eq!(sequence(&shelf(host).current), Some(release_seq));
    if let Ok(app) = app {
        app.call::<Value>("crash", &json!({})).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_release_that_fails_three_times_gives_way_to_the_last_good_one() {
    let host = watched().await;
    let ann = host.launch(APP, "ann").await.unwrap();
    call(&ann, "0storage.set", json!({ "key": "k", "value": "kept" })).await.unwrap();
    ann.kill("done");
    let bad = Package { mpkg: json!({ "storage": { "schema": 2 } }), ..broken(2) };
    assert!(offered(&host, &bad).await);
    for _ in 0..3 {
        let error = host.launch(APP, "ann").await.unwrap_err();
        assert!(matches!(error, LaunchError::Stopped { .. }), "{error}");
        assert_eq!(sequence(&shelf(&host).current), Some(2));
    }
    assert_eq!((rejected(&host), sequence(&shelf(&host).next)), (vec![2], Some(1)));
    let ann = host.launch(APP, "ann").await.unwrap();
    assert_eq!(sequence(&shelf(&host).current), Some(1));
    assert_eq!(call(&ann, "0storage.get", json!({ "key": "k" })).await.unwrap()["value"], json!("kept"));

    assert!(!offered(&host, &bad).await, "it is not run again");
    assert_eq!(outcomes(&host, 2), [3, 0, 3, 1]);
    // A collection takes its package, and not what is known of it.
    ann.kill("done");
    for code in 3..=4 {
        assert!(offered(&host, &release(code)).await);
        comes_up(&host, code).await;
    }
    host.collect(0).unwrap();
    assert!(!shelf(&host).releases.iter().any(|release| release.release_seq == 2));
    assert_eq!(rejected(&host), [2]);
}

#[tokio::test]
async fn then_the_embedded_one_and_then_none_until_another_is_offered() {
    let host = host();
    host.obey(&Registry::default().orders());
    host.embed(release(1).signed()).await.unwrap();
    assert!(offered(&host, &release(2)).await);
    comes_up(&host, 2).await;
    assert!(offered(&host, &broken(3)).await);
    for _ in 0..3 {
        fails(&host, 3).await;
    }
    for _ in 0..2 {
        fails(&host, 2).await;
    }
    for _ in 0..2 {
        fails(&host, 1).await;
    }
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(
        matches!(&error, LaunchError::Quarantined { reason, .. } if reason.contains("crashed")),
        "{error}"
    );
    assert_eq!((error.code(), rejected(&host).len()), ("MPKG-H43", 3));
    assert!(!offered(&host, &release(2)).await);
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H43");
    assert!(offered(&host, &release(4)).await);
    comes_up(&host, 4).await;
}

#[tokio::test]
async fn a_good_start_in_between_begins_the_count_anew() {
    let host = watched().await;
    for _ in 0..3 {
        fails(&host, 1).await;
        fails(&host, 1).await;
        comes_up(&host, 1).await;
    }
    assert!(rejected(&host).is_empty());
}

#[tokio::test]
async fn what_others_end_is_no_failure_of_the_app() {
    let host = watched().await;
    assert!(offered(&host, &release(2)).await);
    for n in 0..8 {
        let app = host.launch(APP, "ann").await.unwrap();
        match n % 3 {
            0 => drop(app.kill("the user went back")),
            1 => app.unload().await,
            _ => host.shutdown(),
        }
    }
    assert!(rejected(&host).is_empty());
    assert_eq!(outcomes(&host, 2), [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_release_is_up_when_it_has_lived_for_a_while() {
    let policy = Policy { beacon: Duration::from_millis(1), ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    host.obey(&Registry::default().orders());
    assert!(offered(&host, &release(1)).await);
    let _app = host.launch(APP, "ann").await.unwrap();
    while !host.releases(APP).unwrap()[0].good {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let counted = counters(&host, 1);
    assert_eq!((counted.launches, counted.beacons), (1, 1));
}

#[tokio::test]
async fn a_release_that_this_host_cannot_start_at_all_gives_way_too() {
    let host = watched().await;
    let unprovided = Package { code: 2, ..Package::with(&["cart.write"]).required() };
    assert!(offered(&host, &unprovided).await);
    for _ in 0..3 {
        let error = host.launch(APP, "ann").await.unwrap_err();
        assert!(matches!(error, LaunchError::NotProvided { .. }), "{error}");
    }
    comes_up(&host, 1).await;
    assert_eq!(rejected(&host), [2]);
}

#[tokio::test]
async fn what_the_orders_do_not_let_run_is_not_gone_back_to() {
    let host = watched().await;
    assert!(offered(&host, &broken(2)).await);
    let mut registry = Registry::default();
    registry.state(|state| state.min_seq = 2);
    host.obey(&registry.orders());
    for _ in 0..3 {
        fails(&host, 2).await;
    }
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H43");
}

#[tokio::test]
async fn a_host_that_nobody_watches_over_gives_nothing_up() {
    let host = host();
    host.install(broken(1).signed()).await.unwrap();
    for _ in 0..6 {
        let error = host.launch(APP, "ann").await.unwrap_err();
        assert!(matches!(error, LaunchError::Stopped { .. }), "{error}");
    }
    assert!(rejected(&host).is_empty());
}

#[tokio::test]
async fn an_installation_by_hand_forgets_what_happened() {
    let host = host();
    host.obey(&Registry::default().orders());
    host.install(broken(1).signed()).await.unwrap();
    for _ in 0..3 {
        fails(&host, 1).await;
    }
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H43");
    host.install(broken(1).signed()).await.unwrap();
    let error = host.launch(APP, "ann").await.unwrap_err();
    assert!(matches!(error, LaunchError::Stopped { .. }), "{error}");
}

const FOLDER: &str = "MPKG_TEST_STARTS_FOLDER";
const LEAVING: &str = "MPKG_TEST_STARTS_LEAVING";

/// Release 2 tells its host when it is launched, and the host's process dies of it.
fn deadly() -> Package {
    let component = wat::parse_str(puppet::watched(&["host"])).unwrap();
    Package { code: 2, component, ..Package::with(&["host.seen"]) }
}

/// The host before may still be on its way out.
fn open(folder: &Path) -> Host {
    fn die() -> Result<(), RpcError> {
        std::process::abort()
    }
    for _ in 0..1000 {
        let seen = Bridge::new("host.seen").method("seen.event", |_, _: Value| async { die() });
        match builder(folder).bridge(seen).permissions(StaticPermissions::allow_all()).build() {
            Ok(host) => return host,
            Err(HostError::Data(DataError::InUse { .. })) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the folder stays in use");
}

/// The child: launches what is to run, and dies if that is release 2. By itself it does nothing.
#[tokio::test]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let host = open(Path::new(&folder));
    host.obey(&Registry::default().orders());
    host.launch(APP, "ann").await.unwrap();
}

/// The child: launches release 2, which is not up yet when the Super App ends in good order.
#[tokio::test]
async fn leaving_child() {
    let Ok(folder) = std::env::var(LEAVING) else { return };
    let host = open(Path::new(&folder));
    host.obey(&Registry::default().orders());
    let _app = host.launch(APP, "ann").await.unwrap();
    host.shutdown();
    std::process::abort();
}

#[tokio::test]
async fn a_host_that_is_shut_down_was_not_taken_down() {
    let folder = tempfile::tempdir().unwrap();
    {
        let host = open(folder.path());
        host.obey(&Registry::default().orders());
        assert!(offered(&host, &release(2)).await);
    }
    for round in 0..3 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "leaving_child", "--nocapture", "--test-threads=1"])
            .env(LEAVING, folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(!said.contains("panicked"), "round {round}: {said}");
        let host = open(folder.path());
        assert_eq!(sequence(&shelf(&host).current), Some(2));
        assert_eq!(counters(&host, 2).launches, 0, "round {round}: it was taken for a failed start");
    }
}

#[tokio::test]
async fn a_release_that_takes_its_host_down_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    {
        let host = open(folder.path());
        host.obey(&Registry::default().orders());
        assert!(offered(&host, &Package { code: 1, ..Package::default() }).await);
        comes_up(&host, 1).await;
        assert!(shelf(&host).releases.len() == 1 && host.releases(APP).unwrap()[0].good);
        assert!(offered(&host, &deadly()).await);
    }
    for round in 0..3 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!child.success(), "round {round}: the child lived");
    }
    let host = open(folder.path());
    host.obey(&Registry::default().orders());
    let counted = counters(&host, 2);
    assert_eq!((counted.launches, counted.beacons), (1, 0), "the last one is counted by who found it");
    assert_eq!(rejected(&host), [2]);
    comes_up(&host, 1).await;
    assert_eq!(offer(&deadly()).release.release_seq, 2);
}
