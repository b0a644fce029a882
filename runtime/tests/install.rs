//! Installing: what a host accepts, and what it has kept afterwards.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{APP, Package, builder, call, host, host_with};
use miniapp_runtime::{DataError, Host, HostError, InstallError, LaunchError};
use mpkg_package::Trust;
use serde_json::json;

#[tokio::test]
async fn only_what_a_trusted_publisher_signed() {
    let host = host();
    let stranger = Package { seed: 2, ..Package::default() };
    assert!(matches!(host.install(stranger.signed()).await, Err(InstallError::Refused(_))));
    let mut tampered = Package::default().signed();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    assert!(matches!(host.install(tampered).await, Err(InstallError::Refused(_))));
    assert!(host.installed().unwrap().is_empty());
    assert!(matches!(host.launch(APP, "ann").await, Err(LaunchError::NotInstalled { .. })));
    let kept = std::fs::read_dir(host.folder.path().join("packages")).unwrap().count();
    assert_eq!(kept, 0, "nothing of a refused package is kept");
}

#[tokio::test]
async fn two_publishers_can_be_trusted_and_stay_apart() {
    let host = host_with(|b| b.trust(Trust::key(&common::key(2).public())));
    host.install(Package { seed: 2, ..Package::default() }.signed()).await.unwrap();
    let other = host.install(Package::default().signed()).await.unwrap_err();
    assert!(matches!(other, InstallError::OtherPublisher { .. }), "{other}");
    host.uninstall(APP).await.unwrap();
    host.install(Package::default().signed()).await.unwrap();
}

#[tokio::test]
async fn nobody_is_trusted_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::builder(folder.path()).build().unwrap();
    assert!(matches!(host.install(Package::default().signed()).await, Err(InstallError::NobodyTrusted)));
}

#[tokio::test]
async fn the_sequence_only_grows_even_across_an_uninstall() {
    let host = host();
    let release = |code| Package { code, ..Package::default() };
    host.install(release(5).signed()).await.unwrap();
    host.install(release(5).signed()).await.unwrap();
    let error = host.install(release(4).signed()).await.unwrap_err();
    assert!(matches!(error, InstallError::Rollback { offered: 4, floor: 5, .. }), "{error}");
    let changed = Package { component: common::wat(&["log"]), ..release(5) };
    assert!(matches!(host.install(changed.signed()).await, Err(InstallError::Changed { .. })));
    host.uninstall(APP).await.unwrap();
    assert!(matches!(host.install(release(4).signed()).await, Err(InstallError::Rollback { .. })));
    host.install(release(6).signed()).await.unwrap();
}

#[tokio::test]
async fn an_update_leaves_one_package_on_disk_and_running_instances_alone() {
    let host = host();
    let old = host.run(&Package::default()).await;
    host.install(Package { code: 2, ..Package::default() }.signed()).await.unwrap();
    assert_eq!(call(&old, "echo", json!(1)).await, Ok(json!(1)));
    let packages = host.folder.path().join("packages");
    assert_eq!(std::fs::read_dir(&packages).unwrap().count(), 1);
    host.launch(APP, "ann").await.unwrap();
}

#[tokio::test]
async fn a_package_changed_on_disk_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let host = builder(folder.path()).build().unwrap();
    let installed = host.install(Package::default().signed()).await.unwrap();
    let path = folder.path().join("packages").join(format!("{}.mpkg", installed.digest));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(host.launch(APP, "ann").await, Err(LaunchError::Damaged { .. })));
}

#[tokio::test]
async fn one_folder_one_host() {
    let host = host();
    let error = builder(host.folder.path()).build().unwrap_err();
    assert!(matches!(error, HostError::Data(DataError::InUse { .. })), "{error}");
}

#[test]
fn a_host_needs_a_runtime() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Host::builder(folder.path()).build(), Err(HostError::NoRuntime)));
}

#[tokio::test]
async fn bounds_on_users_and_instances() {
    let host = host_with(|b| b.policy(miniapp_runtime::Policy { instances: 2, ..Default::default() }));
    let first = host.run(&Package::default()).await;
    assert!(matches!(host.launch(APP, "").await, Err(LaunchError::BadUser { bytes: 0 })));
    assert!(matches!(host.launch(APP, &"u".repeat(129)).await, Err(LaunchError::BadUser { .. })));
    let _second = host.launch(APP, "bob").await.unwrap();
    assert!(matches!(host.launch(APP, "eve").await, Err(LaunchError::Full { limit: 2 })));
    first.kill("room for eve");
    host.launch(APP, "eve").await.unwrap();
}
