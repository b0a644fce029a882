//! Several releases of an app on one host: what is let onto the shelf, which one runs, and what goes with a change.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::fleet::{Registry, detached, offer, shelve};
use common::{APP, Package, TestHost, call, host};
use miniapp_runtime::updates::{Device, Switch};
use miniapp_runtime::{Host, InstallError, LaunchError};
use mpkg_fleet::{Level, ReleaseRef};
use mpkg_manifest::{AppId, Manifest, PermissionSet};
use mpkg_package::root::{Draft, RootChain, RootFile};
use mpkg_package::{Grant, Root, SignedGrant, Signing, Time, sign_with};
use serde_json::json;

fn app() -> AppId {
    APP.parse().unwrap()
}

fn release(code: u64) -> Package {
    Package { code, ..Package::with(&["storage"]) }
}

/// A release whose pairs have that form.
fn with_schema(code: u64, schema: u64) -> Package {
    Package { mpkg: json!({ "storage": { "schema": schema } }), ..release(code) }
}

fn current(host: &Host) -> Option<u64> {
    host.shelf(&app()).unwrap().current.map(|release| release.release_seq)
}

fn sequences(host: &Host) -> Vec<u64> {
    host.shelf(&app()).unwrap().releases.iter().map(|release| release.release_seq).collect()
}

/// Has the next launch run this release, from the shelf.
async fn switched(host: &Host, package: &Package) -> ReleaseRef {
    let release = shelve(host, package).await;
    assert!(host.switch(&app(), &release, Switch::NextLaunch).await.unwrap());
    release
}

fn files(host: &TestHost, folder: &str) -> usize {
    std::fs::read_dir(host.folder.path().join(folder)).unwrap().count()
}

#[tokio::test]
async fn only_what_was_offered_comes_onto_the_shelf() {
    let host = host();
    let refused = async |offer, package: Vec<u8>, signature: Vec<u8>| {
        let error = Device::install(&*host, offer, package, signature).await.unwrap_err();
        assert!(host.shelf(&app()).unwrap().releases.is_empty());
        error
    };
    let (unsigned, signature) = detached(&release(2));
    let another = offer(&release(3));
    let error = refused(another, unsigned.clone(), signature.clone()).await;
    assert!(matches!(error, InstallError::NotTheOffer { what: "digest", .. }), "{error}");
    assert_eq!(error.code(), "MPKG-H07");
    let mut version = offer(&release(2));
    version.release.version = "1.0.1".parse().unwrap();
    let error = refused(version, unsigned.clone(), signature.clone()).await;
    assert!(matches!(error, InstallError::NotTheOffer { what: "version", .. }), "{error}");
    let mut sequence = offer(&release(2));
    sequence.release.release_seq = 9;
    let error = refused(sequence, unsigned.clone(), signature.clone()).await;
    assert!(matches!(error, InstallError::NotTheOffer { what: "release sequence", .. }), "{error}");
    let mut other_app = offer(&release(2));
    other_app.app = "com.example.other".parse().unwrap();
    let error = refused(other_app, unsigned.clone(), signature.clone()).await;
    assert!(matches!(error, InstallError::NotTheOffer { what: "app", .. }), "{error}");

    // Whoever else signed it, and whoever this host trusts for packages that are installed by hand.
    let stranger = Package { seed: 2, ..release(2) };
    let (package, strange) = detached(&stranger);
    let error = refused(offer(&release(2)), package, strange.clone()).await;
    assert!(matches!(error, InstallError::Refused(_)), "{error}");
    let error = refused(offer(&release(2)), unsigned, strange).await;
    assert!(matches!(error, InstallError::Refused(_)), "{error}");
    let mut damaged = detached(&release(2));
    damaged.0[200] ^= 1;
    let error = refused(offer(&release(2)), damaged.0, damaged.1).await;
    assert!(matches!(error, InstallError::Refused(_)), "{error}");
    assert_eq!(files(&host, "packages"), 0, "nothing of a refused package is kept");
}

#[tokio::test]
async fn an_app_stays_with_its_publisher_and_a_release_never_changes() {
    let host = host();
    shelve(&*host, &release(2)).await;
    let stranger = Package { seed: 2, ..release(3) };
    let (package, signature) = detached(&stranger);
    let error = Device::install(&*host, offer(&stranger), package, signature).await.unwrap_err();
    assert!(matches!(error, InstallError::OtherPublisher { .. }), "{error}");
    let changed =
        Package { permissions: vec![], optional: vec![], component: common::wat(&[]), ..release(2) };
    let (package, signature) = detached(&changed);
    let error = Device::install(&*host, offer(&changed), package, signature).await.unwrap_err();
    assert!(matches!(error, InstallError::Changed { release_seq: 2, .. }), "{error}");
    // Signed within is as good as beside.
    Device::install(&*host, offer(&release(3)), release(3).signed(), vec![]).await.unwrap();
    assert_eq!(sequences(&host), [2, 3]);
}

#[tokio::test]
async fn a_release_takes_anothers_place_when_nothing_of_the_app_runs() {
    let host = host();
    let first = switched(&host, &release(1)).await;
    assert_eq!(current(&host), Some(1), "what has nothing to replace is current at once");
    let ann = host.launch(APP, "ann").await.unwrap();
    let second = switched(&host, &release(2)).await;
    let shelf = host.shelf(&app()).unwrap();
    assert_eq!((shelf.current, shelf.next), (Some(first), Some(second.clone())));
    let bob = host.launch(APP, "bob").await.unwrap();
    assert_eq!(current(&host), Some(1), "an instance of it runs");
    ann.kill("done");
    bob.kill("done");
    host.launch(APP, "bob").await.unwrap();
    let shelf = host.shelf(&app()).unwrap();
    assert_eq!((shelf.current, shelf.next), (Some(second), None));
    assert_eq!(shelf.releases.len(), 2);
}

#[tokio::test]
async fn at_once_means_that_instances_are_unloaded() {
    let host = host();
    switched(&host, &release(1)).await;
    let ann = host.launch(APP, "ann").await.unwrap();
    let second = shelve(&*host, &release(2)).await;
    assert!(host.switch(&app(), &second, Switch::AtOnce).await.unwrap());
    assert_eq!(ann.stop_reason().unwrap().label(), "unloaded");
    assert_eq!(current(&host), Some(2));
}

#[tokio::test]
async fn going_back_is_allowed_over_the_air_and_not_by_hand() {
    let host = host();
    let first = switched(&host, &release(1)).await;
    switched(&host, &release(2)).await;
    host.launch(APP, "ann").await.unwrap();
    assert!(host.switch(&app(), &first, Switch::NextLaunch).await.unwrap());
    host.launch(APP, "ann").await.unwrap();
    assert_eq!(current(&host), Some(1));
    let error = host.host.install(release(1).signed()).await.unwrap_err();
    assert!(matches!(error, InstallError::Rollback { floor: 2, .. }), "{error}");
    assert!(!host.switch(&app(), &offer(&release(7)).release, Switch::NextLaunch).await.unwrap());
}

#[tokio::test]
async fn going_back_gives_back_what_was_stored() {
    let host = host();
    switched(&host, &with_schema(1, 1)).await;
    let stored = async |key: &str| {
        let ann = host.launch(APP, "ann").await.unwrap();
        let answer = call(&ann, "0storage.get", json!({ "key": key })).await.unwrap();
        ann.kill("done");
        answer["value"].clone()
    };
    let store = async |user: &str, value: &str| {
        let app = host.launch(APP, user).await.unwrap();
        call(&app, "0storage.set", json!({ "key": "k", "value": value })).await.unwrap();
        app.kill("done");
    };
    store("ann", "old").await;
    store("bob", "old, too").await;
    let second = switched(&host, &with_schema(2, 2)).await;
    assert_eq!(stored("k").await, json!("old"), "the new release finds what was there");
    store("ann", "new").await;

    let first = offer(&with_schema(1, 1)).release;
    assert!(host.switch(&app(), &first, Switch::NextLaunch).await.unwrap());
    assert_eq!(stored("k").await, json!("old"));
    let bob = host.launch(APP, "bob").await.unwrap();
    assert_eq!(
        call(&bob, "0storage.usage", json!({})).await.unwrap()["used_bytes"],
        json!("k\"old, too\"".len()),
        "the usage is that of what was given back"
    );
    bob.kill("done");
    // And forward again: each form has its own.
    assert!(host.switch(&app(), &second, Switch::NextLaunch).await.unwrap());
    assert_eq!(stored("k").await, json!("new"));

    host.uninstall(APP).await.unwrap();
    switched(&host, &with_schema(2, 2)).await;
    assert_eq!(stored("k").await, json!(null));
    switched(&host, &with_schema(1, 1)).await;
    assert_eq!(stored("k").await, json!(null), "an uninstallation forgets the snapshots");
}

#[tokio::test]
async fn a_host_that_has_only_the_newer_release_can_go_back() {
    let host = host();
    switched(&host, &release(2)).await;
    host.launch(APP, "ann").await.unwrap();
    switched(&host, &release(1)).await;
    host.launch(APP, "ann").await.unwrap();
    assert_eq!(current(&host), Some(1));
}

/// Keys that were thrown out since sign nothing that comes anew, whoever offers it.
#[tokio::test]
async fn an_older_root_is_refused_over_the_air_too() {
    let host = host();
    let first = RootChain::first(Root::single(&common::key(1).public())).unwrap();
    let mut file = RootFile::new(first);
    file.propose(Draft::after(file.chain().last()).build().unwrap()).unwrap();
    file.sign(&common::key(1)).unwrap();
    let (package, roots) = (release(2), file.chain().clone());
    let unsigned = package.unsigned();
    let grant = Grant {
        app_id: APP.to_owned(),
        publisher: roots.publisher(),
        version: 1,
        permissions: offered_permissions(&unsigned),
    };
    let mut grant = SignedGrant::new(grant).unwrap();
    grant.sign(&common::key(1), &roots).unwrap();
    let created = Time::from_unix(1_767_225_600).unwrap();
    let with = Signing { roots: &roots, grant: Some(&grant), before: None, created };
    let signature = sign_with(&unsigned, &common::key(1), &with).unwrap().detached();
    Device::install(&*host, offer(&package), unsigned, signature).await.unwrap();
    let (older, signature) = detached(&release(1));
    let error = Device::install(&*host, offer(&release(1)), older, signature).await.unwrap_err();
    assert!(matches!(&error, InstallError::Refused(error) if error.code() == "MPKG-R18"), "{error}");
}

/// What its manifest declares.
fn offered_permissions(unsigned: &[u8]) -> PermissionSet {
    let container = mpkg_package::container::read(unsigned).unwrap();
    serde_json::from_slice::<Manifest>(container.manifest()).unwrap().permissions()
}

#[tokio::test]
async fn the_same_form_needs_no_snapshot() {
    let host = host();
    switched(&host, &release(1)).await;
    let ann = host.launch(APP, "ann").await.unwrap();
    call(&ann, "0storage.set", json!({ "key": "k", "value": 1 })).await.unwrap();
    ann.kill("done");
    switched(&host, &release(2)).await;
    let ann = host.launch(APP, "ann").await.unwrap();
    call(&ann, "0storage.set", json!({ "key": "k", "value": 2 })).await.unwrap();
    ann.kill("done");
    host.switch(&app(), &offer(&release(1)).release, Switch::NextLaunch).await.unwrap();
    let ann = host.launch(APP, "ann").await.unwrap();
    assert_eq!(call(&ann, "0storage.get", json!({ "key": "k" })).await.unwrap()["value"], json!(2));
}

#[tokio::test]
async fn grants_are_asked_again_by_what_asks_for_more() {
    let host = host();
    switched(&host, &release(1)).await;
    assert!(host.grant("ann", APP, "storage").unwrap());
    switched(&host, &release(2)).await;
    host.launch(APP, "eve").await.unwrap();
    assert_eq!(host.grants("ann", APP).unwrap().len(), 1);
    switched(&host, &Package { code: 3, ..Package::with(&["storage", "files"]) }).await;
    host.launch(APP, "eve").await.unwrap();
    assert_eq!((current(&host), host.grants("ann", APP).unwrap().len()), (Some(3), 0));
}

#[tokio::test]
async fn what_is_not_needed_goes_oldest_first() {
    let host = host();
    for code in 1..=5 {
        switched(&host, &release(code)).await;
        host.launch(APP, "ann").await.unwrap();
    }
    let size = offer(&release(1)).release.package.size;
    assert_eq!(sequences(&host), [1, 2, 3, 4, 5]);
    assert_eq!(host.collect(4 * size).unwrap(), 4 * size);
    assert_eq!(sequences(&host), [2, 3, 4, 5]);
    assert_eq!(host.collect(0).unwrap(), 2 * size, "two of an app stay");
    assert_eq!(sequences(&host), [4, 5]);
    assert_eq!(files(&host, "packages"), 2);
    assert!(host.package(&offer(&release(1)).release).is_none());
    assert_eq!(host.package(&offer(&release(4)).release), Some(release(4).unsigned()));
}

#[tokio::test]
async fn what_runs_is_next_or_embedded_is_never_collected() {
    let host = host();
    let embedded = host.embed(release(1).signed()).await.unwrap();
    assert_eq!((embedded.release_seq, current(&host)), (1, Some(1)));
    for code in 2..=4 {
        shelve(&*host, &release(code)).await;
    }
    host.switch(&app(), &offer(&release(2)).release, Switch::NextLaunch).await.unwrap();
    host.collect(0).unwrap();
    assert_eq!(sequences(&host), [1, 2]);
    let [first, second] = &host.releases(APP).unwrap()[..] else { panic!() };
    assert!(first.embedded && first.current && !first.next && !second.embedded && second.next);
    let stranger =
        host.embed(Package { seed: 2, app_id: "com.example.b".into(), ..release(1) }.signed()).await;
    assert!(matches!(stranger, Err(InstallError::Refused(_))), "{stranger:?}");
}

#[tokio::test]
async fn all_of_an_app_is_removed() {
    let host = host();
    for code in 1..=3 {
        shelve(&*host, &release(code)).await;
    }
    host.remove(&app()).await.unwrap();
    assert_eq!((sequences(&host), files(&host, "packages")), (vec![], 0));
    assert!(!host.uninstall(APP).await.unwrap());
}

#[tokio::test]
async fn what_is_damaged_on_the_disk_is_mended() {
    let host = host();
    let first = switched(&host, &release(1)).await;
    let path = host.folder.path().join(format!("packages/{}.mpkg", first.package.sha256));
    let whole = std::fs::read(&path).unwrap();
    let mut rotten = whole.clone();
    rotten[200] ^= 1;
    // As long as before, so that only who reads it finds out; shorter; and gone.
    std::fs::write(&path, &rotten).unwrap();
    assert_eq!(sequences(&host), [1]);
    assert_eq!(host.launch(APP, "ann").await.unwrap_err().code(), "MPKG-H16");
    assert_eq!((sequences(&host), current(&host)), (vec![], Some(1)));
    shelve(&*host, &release(1)).await;
    assert_eq!((sequences(&host), std::fs::read(&path).unwrap()), (vec![1], whole.clone()));
    std::fs::write(&path, &whole[1..]).unwrap();
    assert!(sequences(&host).is_empty());
    shelve(&*host, &release(1)).await;
    host.launch(APP, "ann").await.unwrap();

    // What is shipped within the Super App is mended by that.
    for damaged in [Some(&rotten), None] {
        let host = common::host();
        let digest = host.embed(release(1).signed()).await.unwrap().digest;
        let path = host.folder.path().join(format!("packages/{digest}.mpkg"));
        match damaged {
            Some(rotten) => std::fs::write(&path, rotten).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        host.embed(release(1).signed()).await.unwrap();
        host.launch(APP, "ann").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_app_survives_its_removal() {
    let host = host();
    for _ in 0..8 {
        switched(&host, &release(1)).await;
        let launching = tokio::spawn({
            let host = host.host.clone();
            async move {
                let mut launched = Vec::new();
                loop {
                    match host.launch(APP, "ann").await {
                        Ok(app) => launched.push(app),
                        Err(LaunchError::NotInstalled { .. }) => return launched,
                        Err(LaunchError::Stopped { .. } | LaunchError::DoesNotFit { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        while host.instances().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(host.uninstall(APP).await.unwrap());
        assert!(launching.await.unwrap().iter().all(|app| app.stop_reason().is_some()));
        assert!(host.instances().is_empty());
    }
}

#[tokio::test]
async fn the_shelf_outlives_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let build = || common::builder(folder.path()).build().unwrap();
    let host = build();
    for code in 1..=2 {
        shelve(&host, &release(code)).await;
    }
    assert!(host.switch(&app(), &offer(&release(1)).release, Switch::NextLaunch).await.unwrap());
    assert!(host.switch(&app(), &offer(&release(2)).release, Switch::NextLaunch).await.unwrap());
    drop(host);
    std::fs::write(folder.path().join("packages/0123.mpkg"), b"left").unwrap();
    let host = build();
    let shelf = host.shelf(&app()).unwrap();
    assert_eq!(shelf.releases.len(), 2);
    assert_eq!(shelf.next.unwrap().release_seq, 2);
    assert_eq!(std::fs::read_dir(folder.path().join("packages")).unwrap().count(), 2, "the rest is swept");
}

#[tokio::test]
async fn the_next_release_waits_while_it_must_not_run() {
    let host = host();
    switched(&host, &release(1)).await;
    let mut registry = Registry::default();
    let second = switched(&host, &release(2)).await;
    let kill = registry.kill(Level::Block, |scope| {
        scope.releases = Some(mpkg_fleet::SeqRange { from: 2, to: None });
    });
    host.obey(&registry.orders());
    host.launch(APP, "ann").await.unwrap();
    assert_eq!(current(&host), Some(1));
    registry.lift(kill);
    host.obey(&registry.orders());
    host.launch(APP, "ann").await.unwrap();
    assert_eq!(host.shelf(&app()).unwrap().current, Some(second));
}

#[tokio::test]
async fn a_prepared_release_is_compiled_before_it_runs() {
    let host = host();
    switched(&host, &release(1)).await;
    let second =
        shelve(&*host, &Package { code: 2, component: common::wat(&["storage", "log"]), ..release(2) }).await;
    let before = files(&host, "native");
    Device::prepare(&*host, &app(), &second).await;
    assert!(files(&host, "native") > before);
    assert_eq!(current(&host), Some(1));
}
