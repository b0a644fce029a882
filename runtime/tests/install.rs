//! Installing: what a host accepts, and what it has kept afterwards.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{APP, Package, builder, call, host, host_with};
use miniapp_runtime::{DataError, Host, HostError, InstallError, LaunchError};
use mpkg_package::root::{Draft, RootChain, RootFile};
use mpkg_package::{Grant, Root, SignedGrant, Signing, Time, Trust, sign_with};
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

/// The first root of key 1, and one more for each expiry.
fn roots(expiries: &[Option<&str>]) -> RootChain {
    let first = RootChain::first(Root::single(&common::key(1).public())).unwrap();
    expiries.iter().fold(first, |chain, expires| {
        let mut draft = Draft::after(chain.last());
        draft.expires = expires.map(|text| Time::parse(text).unwrap());
        let mut file = RootFile::new(chain);
        file.propose(draft.build().unwrap()).unwrap();
        file.sign(&common::key(1)).unwrap();
        file.chain().clone()
    })
}

/// A release under these roots, with a grant of this version.
fn under(roots: &RootChain, code: u64, grant_version: u64) -> Vec<u8> {
    let unsigned = Package { code, ..Package::default() }.unsigned();
    let (app_id, publisher) = (APP.to_owned(), roots.publisher());
    let grant = Grant { app_id, publisher, version: grant_version, permissions: Default::default() };
    let mut grant = SignedGrant::new(grant).unwrap();
    grant.sign(&common::key(1), roots).unwrap();
    let created = Time::from_unix(1_767_225_600).unwrap();
    let with = Signing { roots, grant: Some(&grant), before: None, created };
    sign_with(&unsigned, &common::key(1), &with).unwrap().embed(&unsigned).unwrap()
}

#[tokio::test]
async fn roots_and_grants_only_get_newer_even_across_an_uninstall() {
    let host = host();
    let refused = async |package: Vec<u8>| match host.install(package).await {
        Err(InstallError::Refused(error)) => error.code(),
        other => panic!("{other:?}"),
    };
    host.install(under(&roots(&[None]), 1, 5)).await.unwrap();
    assert_eq!(refused(under(&roots(&[]), 2, 5)).await, "MPKG-R18");
    assert_eq!(refused(under(&roots(&[None]), 2, 4)).await, "MPKG-G05");
    host.uninstall(APP).await.unwrap();
    assert_eq!(refused(under(&roots(&[]), 2, 5)).await, "MPKG-R18");
    assert_eq!(refused(under(&roots(&[None]), 2, 4)).await, "MPKG-G05");
    host.install(under(&roots(&[None, None]), 2, 6)).await.unwrap();
}

#[tokio::test]
async fn an_expired_root_installs_nothing_and_stops_nothing() {
    let host = host();
    host.install(under(&roots(&[Some("9000-01-01T00:00:00Z")]), 1, 1)).await.unwrap();
    let expired = roots(&[Some("9000-01-01T00:00:00Z"), Some("2001-01-01T00:00:00Z")]);
    let error = host.install(under(&expired, 2, 1)).await.unwrap_err();
    assert!(matches!(&error, InstallError::Refused(error) if error.code() == "MPKG-R19"), "{error}");
    host.launch(APP, "ann").await.unwrap();
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
