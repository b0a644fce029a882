//! Packages on their way to hosts: compressed, in parts, as patches, and over a client that goes on where it stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{APP, Got, Package, TestRegistry, chain, read, start, start_with};
use mpkg_package::{Digest, Trust, verify_detached};
use mpkg_registry::{Config, Role};
use mpkg_registry_client::{Client, ClientError, delta};
use reqwest::Method;
use serde_json::json;

/// A package of some length: most of it is the same in each release, and hard to compress.
fn release(code: u64) -> Package {
    Package { noise: 300_000, ..Package::new(code) }
}

async fn publish(registry: &TestRegistry, package: &Package) -> Digest {
    registry.upload(&registry.admin, &package.app, package.signed()).await.ok();
    Digest::of(&package.unsigned())
}

fn made(registry: &TestRegistry, folder: &str) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(registry.folder.path().join(folder)).unwrap();
    let files = shards.flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// Waits until as many are made as there are to be. What does not come fails the test by its time limit.
async fn wait_for(registry: &TestRegistry, folder: &str, count: usize) {
    let come = async {
        while made(registry, folder).len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), come).await.expect("it is made");
}

struct Asker<'a>(&'a TestRegistry, String, String);

impl Asker<'_> {
    async fn ask(&self, method: Method, headers: &[(&'static str, &str)]) -> Got {
        let mut request = self.0.request(&self.1, method, &self.2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(request).await
    }

    async fn get(&self, headers: &[(&'static str, &str)]) -> Got {
        self.ask(Method::GET, headers).await
    }
}

fn unpack(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_it_gets_a_package_compressed() {
    let registry = start().await;
    registry.claim().await;
    let package = Package { filler: 200_000, ..release(1) };
    let digest = publish(&registry, &package).await;
    let asker = Asker(&registry, registry.host("phone").await, format!("/v1/packages/{}", digest.sha256));
    let plain = asker.get(&[]).await.ok();
    assert_eq!(plain.bytes, package.unsigned());
    assert!(!plain.headers.contains_key("content-encoding"));
    let compressed = asker.get(&[("accept-encoding", "zstd")]).await.ok();
    assert_eq!(compressed.headers["content-encoding"], "zstd");
    assert_eq!(compressed.headers["content-type"], "application/vnd.mpkg");
    assert_eq!(compressed.headers["content-length"], compressed.bytes.len().to_string());
    assert!(compressed.bytes.len() + 150_000 < plain.bytes.len());
    assert_eq!(unpack(&compressed.bytes), plain.bytes);
    for got in [&plain, &compressed] {
        assert_eq!(got.headers["vary"], "authorization, accept-encoding");
        assert_eq!(got.headers["accept-ranges"], "bytes");
    }
    assert_ne!(plain.etag, compressed.etag, "each form has its own");
    // The same file each time, and after a restart.
    let again = asker.get(&[("accept-encoding", "zstd")]).await.ok();
    assert_eq!((again.etag, again.bytes), (compressed.etag.clone(), compressed.bytes.clone()));
    assert_eq!(made(&registry, "compressed").len(), 1);
    let token = asker.1.clone();
    let registry = registry.restart().await;
    let asker = Asker(&registry, token, format!("/v1/packages/{}", digest.sha256));
    let again = asker.get(&[("accept-encoding", "zstd")]).await.ok();
    assert_eq!((again.etag, again.bytes), (compressed.etag, compressed.bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_has_its_ranges() {
    let registry = start().await;
    registry.claim().await;
    let digest = publish(&registry, &Package { filler: 50_000, ..release(1) }).await;
    let asker = Asker(&registry, registry.host("phone").await, format!("/v1/packages/{}", digest.sha256));
    let other_etag = asker.get(&[("accept-encoding", "zstd")]).await.etag.unwrap();
    for encoding in ["identity", "zstd"] {
        let accept = ("accept-encoding", encoding);
        let whole = asker.get(&[accept]).await.ok();
        let (etag, size) = (whole.etag.unwrap(), whole.bytes.len());
        for (range, from, to) in [
            ("bytes=10-19".to_owned(), 10, 20),
            ("bytes=0-0".to_owned(), 0, 1),
            (format!("bytes={}-", size - 3), size - 3, size),
            ("bytes=-5".to_owned(), size - 5, size),
            (format!("bytes=7-{}", size * 2), 7, size),
        ] {
            for if_range in [None, Some(etag.as_str())] {
                let mut headers = vec![accept, ("range", range.as_str())];
                headers.extend(if_range.map(|etag| ("if-range", etag)));
                let part = asker.get(&headers).await;
                assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &whole.bytes[from..to]), "{range}");
                assert_eq!(part.headers["content-range"], format!("bytes {from}-{}/{size}", to - 1));
                assert_eq!(part.etag.as_ref(), Some(&etag));
                assert_eq!(part.headers.get("content-encoding").is_some(), encoding == "zstd");
            }
        }
        // A range of the other form, of something else, or by date.
        let not_mine = if encoding == "zstd" { format!("\"{}\"", digest.sha256) } else { other_etag.clone() };
        let weak = format!("W/{etag}");
        for if_range in [not_mine.as_str(), "\"other\"", &weak, "Sat, 01 Jan 2028 00:00:00 GMT"] {
            let got = asker.get(&[accept, ("range", "bytes=10-19"), ("if-range", if_range)]).await;
            assert_eq!((got.status.as_u16(), got.bytes.len()), (200, size), "{if_range}");
        }
        for range in ["bytes=0-1,3-4", "bytes=x", "lines=1-2"] {
            assert_eq!(asker.get(&[accept, ("range", range)]).await.status, 200, "{range}");
        }
        let outside = asker.get(&[accept, ("range", &format!("bytes={size}-"))]).await;
        outside.refused(416, "MPKG-P12");
        assert_eq!(outside.headers["content-range"], format!("bytes */{size}"));
        let known = asker.get(&[accept, ("if-none-match", &etag), ("range", "bytes=0-1")]).await;
        assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
        assert_eq!(known.headers["vary"], "authorization, accept-encoding");
        let head = asker.ask(Method::HEAD, &[accept, ("range", "bytes=0-1")]).await;
        assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0), "HEAD has no ranges");
        assert_eq!(head.headers["content-length"], size.to_string());
        assert_eq!(head.etag, Some(etag));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_to_a_new_release_are_made_at_once_and_others_when_asked_for() {
    let registry = start_with(|config| Config { deltas: 2, ..config }).await;
    registry.claim().await;
    let mut digests = Vec::new();
    for code in 1..=12 {
        digests.push(publish(&registry, &release(code)).await);
    }
    wait_for(&registry, "deltas", 2 * 11 - 1).await;
    wait_for(&registry, "compressed", 12).await;
    let host = registry.host("phone").await;
    let client = Client::new(&registry.base, Some(&host)).unwrap();
    let packages: Vec<_> = (1..=12).map(|code| release(code).unsigned()).collect();
    // From release, to release: made, asked for, back, back and far; and further apart than is made.
    for (from, to) in [(11, 12), (10, 12), (4, 12), (12, 11), (12, 4)] {
        let patch = client.delta(digests[from - 1].sha256, digests[to - 1]).await.unwrap().expect("a patch");
        assert!(patch.len() < 5_000, "{}", patch.len());
        let new = delta::apply(&packages[from - 1], &patch, digests[to - 1]).unwrap();
        assert_eq!(new, packages[to - 1]);
    }
    let path = |from: usize, to: usize| {
        format!("/v1/packages/{}/delta/{}", digests[to - 1].sha256, digests[from - 1].sha256)
    };
    for (from, to) in [(3, 12), (12, 3), (5, 5)] {
        registry.get(&host, &path(from, to)).await.refused(404, "MPKG-P38");
        assert_eq!(client.delta(digests[from - 1].sha256, digests[to - 1]).await.unwrap(), None);
    }
    assert_eq!(made(&registry, "deltas").len(), 21 + 3, "nothing was made that was refused");

    let asker = Asker(&registry, host, path(11, 12));
    let whole = asker.get(&[("accept-encoding", "zstd")]).await.ok();
    assert_eq!(whole.headers["content-type"], "application/vnd.mpkg.delta");
    assert!(!whole.headers.contains_key("content-encoding"));
    let etag = whole.etag.unwrap();
    let part = asker.get(&[("range", "bytes=5-9"), ("if-range", &etag)]).await;
    assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &whole.bytes[5..10]));
    assert_eq!(asker.get(&[("if-none-match", &etag)]).await.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_saves_too_little_is_looked_at_once() {
    let registry = start().await;
    registry.claim().await;
    let old = publish(&registry, &release(1)).await;
    let new = publish(&registry, &Package { seed_of_noise: 2, ..release(2) }).await;
    wait_for(&registry, "deltas", 1).await;
    assert_eq!(made(&registry, "deltas")[0].metadata().unwrap().len(), 0);
    let host = registry.host("phone").await;
    let path = format!("/v1/packages/{}/delta/{}", new.sha256, old.sha256);
    registry.get(&host, &path).await.refused(404, "MPKG-P38");
    let client = Client::new(&registry.base, Some(&host)).unwrap();
    assert_eq!(client.delta(old.sha256, new).await.unwrap(), None);
    // Noise does not compress either, and is sent as it is.
    wait_for(&registry, "compressed", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_keep_to_what_one_may_see() {
    let registry = start_with(|config| Config { review: true, ..config }).await;
    registry.claim().await;
    let old = publish(&registry, &release(1)).await;
    let new = publish(&registry, &release(2)).await;
    let (host, reviewer) = (registry.host("phone").await, registry.token(Role::Reviewer).await);
    let path = format!("/v1/packages/{}/delta/{}", new.sha256, old.sha256);
    let approve = |code: u64| {
        let path = format!("/v1/apps/{APP}/releases/{code}/review");
        let (registry, reviewer) = (&registry, reviewer.as_str());
        async move {
            let review = json!({ "approve": true, "reason": "looked at it" });
            registry.post(reviewer, &path, &review).await.ok();
        }
    };
    registry.get(&host, &path).await.refused(404, "MPKG-P35");
    approve(2).await;
    registry.get(&host, &path).await.refused(404, "MPKG-P35");
    registry.get(&reviewer, &path).await.ok();
    approve(1).await;
    registry.get(&host, &path).await.ok();
    for bad in ["x", "..%2f..%2fregistry.db", &"A".repeat(64)] {
        let path = format!("/v1/packages/{}/delta/{bad}", new.sha256);
        registry.get(&host, &path).await.refused(400, "MPKG-P12");
        let path = format!("/v1/packages/{bad}/delta/{}", new.sha256);
        registry.get(&host, &path).await.refused(400, "MPKG-P12");
    }
    let unknown = format!("/v1/packages/{}/delta/{}", new.sha256, "0".repeat(64));
    registry.get(&host, &unknown).await.refused(404, "MPKG-P35");
    // Another app's package, however alike.
    let other = "org.example.other";
    let body = json!({ "app_id": other, "publisher": chain(1).publisher() });
    registry.post(&registry.admin, "/v1/apps", &body).await.ok();
    let theirs = publish(&registry, &Package { app: other.into(), ..release(1) }).await;
    let path = format!("/v1/packages/{}/delta/{}", theirs.sha256, old.sha256);
    registry.get(&registry.admin, &path).await.refused(404, "MPKG-P38");
}

/// What was made is swept with what it was made from, and made again where it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_goes_with_its_packages_and_comes_again() {
    let registry = start().await;
    registry.claim().await;
    let old = publish(&registry, &release(1)).await;
    let new = publish(&registry, &Package { filler: 9_000, ..release(2) }).await;
    wait_for(&registry, "deltas", 1).await;
    wait_for(&registry, "compressed", 2).await;
    let (unknown, folder) = ("f".repeat(64), registry.folder.path().to_owned());
    let orphans = [
        folder.join("compressed/ff").join(&unknown),
        folder.join("deltas/ff").join(format!("{unknown}-{}", old.sha256)),
        folder.join("deltas/ff").join(format!("{}-{unknown}", old.sha256)),
    ];
    for orphan in &orphans {
        std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
        std::fs::write(orphan, b"orphan").unwrap();
    }
    let host = registry.host("phone").await;
    let registry = registry.restart().await;
    assert!(!orphans.iter().any(|orphan| orphan.exists()));
    assert_eq!((made(&registry, "deltas").len(), made(&registry, "compressed").len()), (1, 2));

    // As after a backup, which is without them.
    for folder in ["deltas", "compressed"] {
        for file in made(&registry, folder) {
            std::fs::remove_file(file).unwrap();
        }
    }
    let client = Client::new(&registry.base, Some(&host)).unwrap();
    // Many ask, one is made.
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        asking.spawn(async move { client.delta(old.sha256, new).await.unwrap().expect("a patch") });
    }
    let patches = asking.join_all().await;
    assert!(patches.iter().all(|patch| patch == &patches[0]));
    assert_eq!(made(&registry, "deltas").len(), 1);
    assert_eq!(std::fs::read_dir(folder.join("uploads")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_downloads_goes_on_and_verifies() {
    let registry = start().await;
    registry.claim().await;
    let package = Package { filler: 3_000_000, ..release(1) };
    let digest = publish(&registry, &package).await;
    let client = Client::new(&registry.base, Some(&registry.host("phone").await)).unwrap();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("package.part");
    let mut last = 0;
    client.download(digest, &path, &mut |bytes| last = bytes).await.unwrap();
    assert_eq!(last, digest.size);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes == package.unsigned());
    let signature = client.signature(digest.sha256).await.unwrap();
    verify_detached(bytes.clone(), &signature, &Trust::chain(&chain(1))).unwrap();
    // From wherever it stopped, with what was right or not.
    for there in [0, 1, 100_000, bytes.len() - 1, bytes.len()] {
        for right in [true, false] {
            let part = if right { bytes[..there].to_vec() } else { vec![0xA5; there] };
            std::fs::write(&path, part).unwrap();
            client.download(digest, &path, &mut |_| {}).await.unwrap();
            assert!(std::fs::read(&path).unwrap() == bytes, "{there} {right}");
        }
    }
    let unknown = Digest { sha256: mpkg_package::Hash::of(b"unknown"), ..digest };
    let error = client.download(unknown, &place.path().join("unknown"), &mut |_| {}).await.unwrap_err();
    assert_eq!(error.code(), Some("MPKG-P35"));
    // The registry's bytes under a length that is not theirs.
    let longer = Digest { size: digest.size + 1, ..digest };
    let error = client.download(longer, &place.path().join("longer"), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ClientError::Package { .. }), "{error}");
    let shorter = Digest { size: digest.size - 1, ..digest };
    let error = client.download(shorter, &place.path().join("shorter"), &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error}");
}

/// The registry is gone in the middle of a download and comes back somewhere else in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_download_outlives_a_restart_of_the_registry() {
    let mut registry = start().await;
    registry.claim().await;
    let package = Package { noise: 8 << 20, ..release(1) };
    let digest = publish(&registry, &package).await;
    wait_for(&registry, "compressed", 1).await;
    let (host, place) = (registry.host("phone").await, tempfile::tempdir().unwrap());
    let path = place.path().join("package.part");
    // As far as it came when its future was dropped.
    let client = Client::new(&registry.base, Some(&host)).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut progress = move |bytes| {
        let _ = tell.send(bytes);
    };
    tokio::select! {
        result = client.download(digest, &path, &mut progress) => result.unwrap(),
        bytes = told.recv() => assert!(bytes.unwrap() > 0),
    }
    let there = std::fs::metadata(&path).unwrap().len();
    assert!(there > 0);
    registry.stop().await;
    let registry = registry.started().await;
    let client = Client::new(&registry.base, Some(&host)).unwrap();
    let mut first = None;
    client
        .download(digest, &path, &mut |bytes| {
            first.get_or_insert(bytes);
        })
        .await
        .unwrap();
    assert!(first.is_none_or(|first| first > there), "it goes on from where it was");
    assert!(std::fs::read(&path).unwrap() == package.unsigned());
}
