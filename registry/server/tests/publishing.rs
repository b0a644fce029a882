//! From a publisher's root to a package on a host.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::time::Duration;

use common::{APP, Package, chain, fresh, key, read, start, start_with};
use mpkg_package::root::{Draft, RELEASE_ROLE, ROOT_ROLE};
use mpkg_package::{Hash, Root, RootChain, RootFile, Signing, Time, Trust, sign_with, verify_detached};
use mpkg_registry::{Config, Role};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A chain whose second root has key 2 instead of key 1.
fn rotated() -> RootChain {
    let mut file = RootFile::new(chain(1));
    let mut draft = Draft::after(file.chain().last());
    for role in [ROOT_ROLE, RELEASE_ROLE] {
        draft.add(role, &key(2).public());
        draft.remove(role, key(1).public().id());
    }
    file.propose(draft.build().unwrap()).unwrap();
    file.sign(&key(1)).unwrap();
    file.sign(&key(2)).unwrap();
    file.chain().clone()
}

fn packages(folder: &std::path::Path) -> usize {
    let mut found = 0;
    for shard in std::fs::read_dir(folder.join("packages")).unwrap() {
        found += std::fs::read_dir(shard.unwrap().path()).unwrap().count();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_comes_out_as_it_went_in() {
    let registry = start().await;
    registry.claim().await;
    let publisher = registry.scoped("build", &[Role::Publisher], &[], &[chain(1).publisher()]).await;
    let package = Package::new(3);
    let made = registry.upload(&publisher, APP, package.signed()).await.ok();
    assert_eq!(made.status, 201);
    let view = made.json();
    let sha256 = view["release"]["package"]["sha256"].as_str().unwrap().to_owned();
    assert_eq!(view["release"]["release_seq"], 3);
    assert_eq!(view["published_by"], "build");

    let host = registry.host("phone").await;
    let path = format!("/v1/packages/{sha256}");
    let whole = registry.get(&host, &path).await.ok();
    assert_eq!(whole.bytes, package.unsigned());
    assert_eq!(whole.headers["cache-control"], "private, max-age=31536000, immutable");
    let signature = registry.get(&host, &format!("{path}/signature")).await.ok();
    let trust = Trust::publisher(chain(1).publisher());
    let verified = verify_detached(whole.bytes.clone(), &signature.bytes, &trust).unwrap();
    assert_eq!(verified.statement().release_seq, 3);

    let etag = whole.etag.clone().unwrap();
    assert_eq!(etag, format!("\"{sha256}\""));
    let ask = |headers: &[(&'static str, String)]| {
        let mut request = registry.request(&host, Method::GET, &path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        read(request)
    };
    let size = whole.bytes.len();
    let part = ask(&[("range", "bytes=10-19".into())]).await;
    assert_eq!((part.status.as_u16(), &part.bytes[..]), (206, &whole.bytes[10..20]));
    assert_eq!(part.headers["content-range"], format!("bytes 10-19/{size}"));
    let tail = ask(&[("range", "bytes=-5".into()), ("if-range", etag.clone())]).await;
    assert_eq!((tail.status.as_u16(), &tail.bytes[..]), (206, &whole.bytes[size - 5..]));
    let other = ask(&[("range", "bytes=-5".into()), ("if-range", "\"other\"".into())]).await;
    assert_eq!((other.status.as_u16(), other.bytes.len()), (200, size));
    assert_eq!(ask(&[("range", format!("bytes={size}-"))]).await.status, 416);
    assert_eq!(ask(&[("if-none-match", etag)]).await.status, 304);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_only_grow_and_never_change() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(5).await;
    for code in [5, 4] {
        let mut package = Package::new(code);
        package.name = "Another".into();
        let got = registry.upload(&registry.admin, APP, package.signed()).await;
        got.refused(409, "MPKG-P34");
    }
    registry.publish(6).await;
    let listed = registry.get(&registry.admin, &format!("/v1/apps/{APP}/releases")).await.ok().json();
    let seqs: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|it| it["release"]["release_seq"].clone()).collect();
    assert_eq!(seqs, [6, 5]);
    assert_eq!(packages(registry.folder.path()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_leaves_nothing_behind() {
    let registry = start().await;
    registry.claim().await;
    let good = Package::new(1).signed();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let stranger = Package { seed: 2, ..Package::new(1) }.signed();
    let elsewhere = Package { app: "org.example.elsewhere".into(), ..Package::new(1) }.signed();
    for (package, status) in [
        (flipped, 422),
        (good[..good.len() - 1].to_vec(), 422),
        (Package::new(1).unsigned(), 422),
        (stranger, 422),
        (b"PK".to_vec(), 422),
        (Vec::new(), 422),
        (elsewhere, 400),
    ] {
        let got = registry.upload(&registry.admin, APP, package).await;
        assert_eq!(got.status.as_u16(), status, "{got:?}");
        assert!(got.json()["error"]["code"].as_str().unwrap().starts_with("MPKG-"));
    }
    registry.upload(&registry.admin, "org.example.unknown", good).await.refused(404, "MPKG-P33");
    assert_eq!(packages(registry.folder.path()), 0);
    let uploads = std::fs::read_dir(registry.folder.path().join("uploads")).unwrap().count();
    assert_eq!(uploads, 0);
    let app = registry.get(&registry.admin, &format!("/v1/apps/{APP}")).await.ok().json();
    assert_eq!(app["newest_seq"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_claim_wins() {
    let registry = start().await;
    let claim = |seed: u8| json!({ "app_id": APP, "publisher": chain(seed).publisher() });
    registry.post(&registry.admin, "/v1/apps", &claim(1)).await.refused(404, "MPKG-P30");
    registry.claim().await;
    registry.put_roots(&chain(2)).await.ok();
    assert_eq!(registry.post(&registry.admin, "/v1/apps", &claim(1)).await.ok().status, 200);
    registry.post(&registry.admin, "/v1/apps", &claim(2)).await.refused(409, "MPKG-P32");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_go_on_and_never_back() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    let rotated = rotated();
    registry.put_roots(&rotated).await.ok();
    registry.put_roots(&chain(1)).await.refused(409, "MPKG-P31");
    // The key that was thrown out signs nothing any more.
    let got = registry.upload(&registry.admin, APP, Package::new(2).signed()).await;
    assert_eq!(got.status, 422);
    let unsigned = Package::new(2).unsigned();
    let created = Time::from_unix(1_767_225_600).unwrap();
    let signing = Signing { roots: &rotated, grant: None, before: None, created };
    let package = sign_with(&unsigned, &key(2), &signing).unwrap().embed(&unsigned).unwrap();
    registry.upload(&registry.admin, APP, package).await.ok();

    let path = format!("/v1/publishers/{}/roots", chain(1).publisher());
    let file = registry.get(&registry.admin, &path).await.ok();
    assert_eq!(RootFile::parse(&file.bytes).unwrap().chain(), &rotated);
    // Under somebody else's name.
    let path = format!("/v1/publishers/{}/roots", chain(2).publisher());
    let request = registry.request(&registry.admin, Method::PUT, &path).header("idempotency-key", fresh());
    read(request.body(file.bytes)).await.refused(400, "MPKG-P12");
}

/// A package may bring a newer root than the registry has; then the registry has it too.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_can_bring_a_newer_root() {
    let registry = start().await;
    registry.claim().await;
    let rotated = rotated();
    let unsigned = Package::new(1).unsigned();
    let created = Time::from_unix(1_767_225_600).unwrap();
    let signing = Signing { roots: &rotated, grant: None, before: None, created };
    let package = sign_with(&unsigned, &key(2), &signing).unwrap().embed(&unsigned).unwrap();
    registry.upload(&registry.admin, APP, package).await.ok();
    let publishers = registry.get(&registry.admin, "/v1/publishers").await.ok().json();
    assert_eq!(publishers["items"][0]["root_version"], 2);
    registry.put_roots(&chain(1)).await.refused(409, "MPKG-P31");
    assert_ne!(Root::single(&key(1).public()).hash(), rotated.last().hash());
}

#[tokio::test(flavor = "multi_thread")]
async fn yanked_is_hidden_and_kept() {
    let registry = start().await;
    registry.claim().await;
    let view = registry.publish(1).await;
    let sha256 = view["release"]["package"]["sha256"].as_str().unwrap();
    registry
        .post(&registry.admin, &format!("/v1/apps/{APP}/releases/1/yank"), &json!({ "reason": "bad" }))
        .await
        .ok();
    let entries = registry.registry.verify_audit().await.unwrap().entries;
    let again = json!({ "reason": "worse" });
    let again = registry.post(&registry.admin, &format!("/v1/apps/{APP}/releases/1/yank"), &again).await.ok();
    assert_eq!(again.json()["yanked"], "bad");
    assert_eq!(registry.registry.verify_audit().await.unwrap().entries, entries, "nothing was changed");
    let host = registry.host("phone").await;
    let list = |query: &str| {
        let path = format!("/v1/apps/{APP}/releases{query}");
        let request = registry.request(&host, Method::GET, &path);
        async { read(request).await.ok().json()["items"].as_array().unwrap().len() }
    };
    assert_eq!((list("").await, list("?all=true").await), (0, 1));
    assert_eq!(registry.get(&host, "/v1/search").await.ok().json()["items"], json!([]));
    registry.get(&host, &format!("/v1/packages/{sha256}")).await.ok();
    let draft = json!({ "release_seq": 1 });
    registry
        .post(&registry.admin, &format!("/v1/apps/{APP}/rollouts"), &draft)
        .await
        .refused(409, "MPKG-P36");
    registry.upload(&registry.admin, APP, Package::new(1).signed()).await.refused(409, "MPKG-P34");
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_decide_once_and_nobody_sees_what_is_not_approved() {
    let registry = start_with(|config| Config { review: true, ..config }).await;
    registry.claim().await;
    let view = registry.publish(1).await;
    registry.publish(2).await;
    assert_eq!(view["review"], "pending");
    let sha256 = view["release"]["package"]["sha256"].as_str().unwrap();
    let (host, reviewer) = (registry.host("phone").await, registry.token(Role::Reviewer).await);
    registry.get(&host, &format!("/v1/packages/{sha256}")).await.refused(404, "MPKG-P35");
    registry.get(&reviewer, &format!("/v1/packages/{sha256}")).await.ok();
    let draft = json!({ "release_seq": 1 });
    registry
        .post(&registry.admin, &format!("/v1/apps/{APP}/rollouts"), &draft)
        .await
        .refused(409, "MPKG-P36");
    let path = format!("/v1/apps/{APP}/releases/1/review");
    let review = |approve: bool| json!({ "approve": approve, "reason": "looked at it" });
    registry.post(&reviewer, &path, &review(true)).await.ok();
    registry.post(&reviewer, &path, &review(false)).await.refused(409, "MPKG-P37");
    registry.post(&reviewer, &path.replace("/1/", "/2/"), &review(false)).await.ok();
    registry.get(&host, &format!("/v1/packages/{sha256}")).await.ok();
    registry.get(&host, &format!("/v1/apps/{APP}/releases/2")).await.refused(404, "MPKG-P35");
    registry.post(&registry.admin, &format!("/v1/apps/{APP}/rollouts"), &draft).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_by_id_and_name_page_by_page() {
    let registry = start().await;
    registry.put_roots(&chain(1)).await.ok();
    for (app, name) in
        [("org.example.a", "Tea 100%"), ("org.example.b", "Coffee"), ("org.example.c", "Tea and milk")]
    {
        let body = json!({ "app_id": app, "publisher": chain(1).publisher() });
        registry.post(&registry.admin, "/v1/apps", &body).await.ok();
        for code in [1, 2] {
            let package = Package { app: app.into(), name: name.into(), ..Package::new(code) };
            registry.upload(&registry.admin, app, package.signed()).await.ok();
        }
    }
    let find = |query: &str| {
        let request = registry.request(&registry.admin, Method::GET, &format!("/v1/search?{query}"));
        async {
            let page = read(request).await.ok().json();
            let items = page["items"].as_array().unwrap().clone();
            let ids: Vec<_> = items.iter().map(|it| it["app_id"].as_str().unwrap().to_owned()).collect();
            assert!(items.iter().all(|it| it["release"]["release_seq"] == 2), "the newest of each");
            (ids, page["next"].as_str().map(str::to_owned))
        }
    };
    assert_eq!(find("q=TEA").await.0, ["org.example.a", "org.example.c"]);
    assert_eq!(find("q=example.b").await.0, ["org.example.b"]);
    // `%` is a letter like others.
    assert_eq!(find("q=0%25").await.0, ["org.example.a"]);
    assert_eq!(find("q=%25%25").await.0, Vec::<String>::new());
    let (first, next) = find("limit=2").await;
    assert_eq!(first, ["org.example.a", "org.example.b"]);
    let (rest, next) = find(&format!("limit=2&after={}", next.unwrap())).await;
    assert_eq!((rest, next), (vec!["org.example.c".to_owned()], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leads_out_of_where_it_belongs() {
    let registry = start().await;
    registry.claim().await;
    for path in [
        "/v1/packages/..%2f..%2fregistry.db",
        "/v1/packages/%2e%2e%2fkeys%2fstate.pem",
        "/v1/packages/ABCDEF",
        "/v1/apps/org.example.app%00",
        "/v1/apps/org.example.app'%20OR%201=1--",
        "/v1/apps/..",
        "/v1/rollouts/1%3BDROP%20TABLE%20apps",
        "/v1/publishers/mp1..%2f/roots",
        "/v1/apps/%ff%fe",
        "/v1/search?q=a&q=b",
        "/v1/search?unknown=1",
        "/v1/search?limit=99999999",
        "/v1/audit?after=-1",
        "/v1/audit?after=x",
    ] {
        let got = registry.get(&registry.admin, path).await;
        assert!(matches!(got.status.as_u16(), 400 | 404), "{path} {got:?}");
        assert!(got.json()["error"]["code"].as_str().unwrap().starts_with("MPKG-P"), "{path}");
    }
    for body in [
        "",
        "{",
        "[]",
        r#"{"owner": "x", "roles": ["admin"], "roles": ["host"]}"#,
        r#"{"owner": "x", "roles": ["admin"], "extra": 1}"#,
        r#"{"owner": "x", "roles": ["root"]}"#,
        r#"{"owner": "x", "roles": []}"#,
        "{\"owner\": \"x\\u001b[2J\", \"roles\": [\"admin\"]}",
    ] {
        let request =
            registry.request(&registry.admin, Method::POST, "/v1/tokens").header("idempotency-key", fresh());
        read(request.body(body)).await.refused(400, "MPKG-P11");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_long_or_too_slow_end() {
    let registry = start_with(|config| Config { idle: Duration::from_millis(300), ..config }).await;
    registry.claim().await;
    let long = " ".repeat((64 << 10) + 1);
    let request =
        || registry.request(&registry.admin, Method::POST, "/v1/tokens").header("idempotency-key", fresh());
    read(request().body(long)).await.refused(413, "MPKG-P10");
    // Without a length it is counted as it comes.
    let chunks = futures_util::stream::iter((0..80).map(|_| Ok::<_, std::io::Error>(" ".repeat(1 << 10))));
    read(request().body(reqwest::Body::wrap_stream(chunks))).await.refused(413, "MPKG-P10");

    let address = registry.base.strip_prefix("http://").unwrap();
    let head = |announced: u64| {
        format!(
            "POST /v1/apps/{APP}/releases HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: {}\r\n\
             content-length: {announced}\r\n\r\n",
            registry.admin,
            fresh()
        )
    };
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(head(1 << 40).as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");

    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(head(1_000).as_bytes()).await.unwrap();
    socket.write_all(b"PK").await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");

    // Headers that never end.
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut rest))
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(std::fs::read_dir(registry.folder.path().join("uploads")).unwrap().count(), 0);
}

/// A package takes as long as the disk to be written, and a kill must not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_on_the_disk_before_its_change_begins() {
    let registry = start().await;
    registry.claim().await;
    // No change begins while somebody else writes.
    let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let db = sqlx::SqlitePool::connect(&file).await.unwrap();
    let writing = db.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let package = Package::new(1);
    let (unsigned, uploads) = (package.unsigned(), registry.folder.path().join("uploads"));
    let is_there = || {
        let mut files = std::fs::read_dir(&uploads).unwrap();
        files.any(|file| std::fs::read(file.unwrap().path()).is_ok_and(|bytes| bytes == unsigned))
    };
    let upload = registry.upload(&registry.admin, APP, package.signed());
    let seen = async {
        while !is_there() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::pin!(upload);
    tokio::select! {
        got = &mut upload => panic!("it waits for the change: {got:?}"),
        () = seen => {}
    }
    writing.rollback().await.unwrap();
    db.close().await;
    assert_eq!(upload.await.ok().status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_comes_again_gets_its_first_answer() {
    let registry = start().await;
    registry.claim().await;
    let send = |package: Vec<u8>| {
        let request = registry.request(&registry.admin, Method::POST, &format!("/v1/apps/{APP}/releases"));
        read(request.header("idempotency-key", "upload-1").body(package))
    };
    let first = send(Package::new(1).signed()).await.ok();
    assert_eq!(send(Package::new(1).signed()).await.ok().bytes, first.bytes);
    send(Package::new(2).signed()).await.refused(409, "MPKG-P21");
    let hash = Hash::of(&Package::new(1).unsigned());
    assert!(String::from_utf8(first.bytes).unwrap().contains(&hash.to_string()));
}

/// A process that is killed between file and row leaves a file; the next start removes it and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_row_names_is_gone_after_the_next_start() {
    let registry = start().await;
    registry.claim().await;
    let view = registry.publish(1).await;
    let sha256 = view["release"]["package"]["sha256"].as_str().unwrap().to_owned();
    let orphan = registry.folder.path().join("packages").join(&sha256[..2]).join("f".repeat(64));
    std::fs::write(&orphan, b"half a change").unwrap();
    std::fs::write(registry.folder.path().join("uploads").join("half"), b"PK").unwrap();
    let registry = registry.restart().await;
    assert!(!orphan.exists());
    assert_eq!(std::fs::read_dir(registry.folder.path().join("uploads")).unwrap().count(), 0);
    registry.get(&registry.admin, &format!("/v1/packages/{sha256}")).await.ok();
}
