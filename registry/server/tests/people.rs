//! Tokens, the audit log, idempotency, and what must not be in a log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{APP, chain, fresh, read, start, start_with};
use mpkg_fleet::StreamEvent;
use mpkg_registry::{Config, OpenError, Registry, Role};
use reqwest::Method;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_token_is_shown_once_and_kept_nowhere() {
    let registry = start().await;
    let token = registry.admin.clone();
    let registry = registry.restart().await;
    registry.get(&token, "/v1/tokens").await.ok();
    for name in ["registry.db", "registry.db-wal"] {
        let Ok(bytes) = std::fs::read(registry.folder.path().join(name)) else { continue };
        let secret = &token.as_bytes()["mpkg_".len() + 8..];
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_registry_in_the_same_folder_is_refused() {
    let registry = start().await;
    let second = Registry::open(Config::new(registry.folder.path())).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let registry = start().await;
    for name in ["root.pem", "state.pem", "stop.pem"] {
        let mode =
            std::fs::metadata(registry.folder.path().join("keys").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let id = registry.registry.id();
    assert_eq!(registry.restart().await.registry.id(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_by_revocation_and_by_time() {
    let registry = start().await;
    let token = registry.token(Role::Operator).await;
    registry.get(&token, "/v1/status").await.ok();
    let id = &token["mpkg_".len()..][..8];
    let revoked =
        registry.post(&registry.admin, &format!("/v1/tokens/{id}/revoke"), &json!({})).await.ok().json();
    assert!(revoked["revoked"].is_string());
    registry.get(&token, "/v1/status").await.refused(401, "MPKG-P02");
    registry.post(&registry.admin, "/v1/tokens/aaaaaaaa/revoke", &json!({})).await.refused(404, "MPKG-P43");

    let body = json!({ "owner": "short", "roles": ["admin"], "expires_in_s": 0 });
    let made = registry.post(&registry.admin, "/v1/tokens", &body).await.ok().json();
    registry.get(made["secret"].as_str().unwrap(), "/v1/tokens").await.refused(401, "MPKG-P02");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_with_their_token() {
    let registry =
        start_with(|config| Config { heartbeat_every: std::time::Duration::from_millis(100), ..config })
            .await;
    let follow = async |token: &str| {
        let mut response = registry.request(token, Method::GET, "/v1/stream").send().await.unwrap();
        response.chunk().await.unwrap().expect("it begins");
        response
    };
    let end = async |mut response: reqwest::Response| while response.chunk().await.unwrap().is_some() {};
    let other = follow(&registry.admin).await;
    let token = registry.host("phone").await;
    let stream = follow(&token).await;
    let id = &token["mpkg_".len()..][..8];
    registry.post(&registry.admin, &format!("/v1/tokens/{id}/revoke"), &json!({})).await.ok();
    end(stream).await;
    let body = json!({ "owner": "short", "roles": ["host"], "expires_in_s": 5 });
    let made = registry.post(&registry.admin, "/v1/tokens", &body).await.ok().json();
    end(follow(made["secret"].as_str().unwrap()).await).await;
    let status = registry.get(&registry.admin, "/v1/status").await.ok().json();
    assert_eq!(status["listeners"], 1, "nobody else's");
    drop(other);
}

/// What is left of a host's lost connections keeps neither itself out nor anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_four_streams_and_those_are_its_newest() {
    let registry = start().await;
    let (phone, tablet) = (registry.host("phone").await, registry.host("tablet").await);
    let follow = async |token: &str| {
        let mut events = registry.stream_of(token, None).await;
        events.next().await.expect("it begins");
        events
    };
    let mut staying = vec![follow(&tablet).await];
    let mut ending = vec![follow(&phone).await, follow(&phone).await];
    for _ in 0..4 {
        staying.push(follow(&phone).await);
    }
    for events in &mut ending {
        assert_eq!(events.next().await, None);
    }
    registry.registry.sign_again().await.unwrap();
    for events in &mut staying {
        let (_, event) = events.next().await.expect("it goes on");
        assert!(matches!(event, StreamEvent::Head { .. }), "{event:?}");
    }
    assert_eq!(registry.get(&registry.admin, "/v1/status").await.ok().json()["listeners"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_leave_connections_for_who_wants_to_stop_something() {
    let registry = start_with(|config| Config { connections: 16, ..config }).await;
    let mut streams = Vec::new();
    for number in 0..14 {
        let host = registry.host(&format!("host {number}")).await;
        let mut events = registry.stream_of(&host, None).await;
        events.next().await.expect("it begins");
        streams.push((host, events));
    }
    let late = registry.host("late").await;
    let refused = registry.get(&late, "/v1/stream").await;
    refused.refused(503, "MPKG-P06");
    assert!(refused.headers.contains_key("retry-after"));
    let kill = json!({ "level": "stop", "scope": {}, "reason": "now" });
    registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    // Who has one already takes the place of that.
    let (host, mut left) = streams.remove(0);
    let mut again = registry.stream_of(&host, None).await;
    again.next().await.expect("it begins");
    while left.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_stays_within_its_scope() {
    let registry = start().await;
    registry.claim().await;
    let (own, other) = (chain(1), chain(2));
    registry.put_roots(&other).await.ok();
    let publisher = registry.scoped("build", &[Role::Publisher], &[], &[own.publisher()]).await;
    let body = json!({ "app_id": "org.example.second", "publisher": other.publisher() });
    registry.post(&publisher, "/v1/apps", &body).await.refused(403, "MPKG-P04");
    let body = json!({ "app_id": "org.example.second", "publisher": own.publisher() });
    registry.post(&publisher, "/v1/apps", &body).await.ok();

    let operator = registry.scoped("night", &[Role::Operator], &[APP], &[]).await;
    let kill = |scope| json!({ "level": "stop", "scope": scope, "reason": "bad" });
    registry.post(&operator, "/v1/kills", &kill(json!({}))).await.refused(403, "MPKG-P04");
    registry
        .post(&operator, "/v1/kills", &kill(json!({ "app": "org.example.second" })))
        .await
        .refused(403, "MPKG-P04");
    registry.post(&operator, "/v1/kills", &kill(json!({ "app": APP }))).await.ok();

    // Nobody with a scope can make a token without one.
    let admin = registry.scoped("some", &[Role::Admin], &[APP], &[]).await;
    let body = json!({ "owner": "me", "roles": ["admin"] });
    registry.post(&admin, "/v1/tokens", &body).await.refused(403, "MPKG-P04");
}

/// A token that is limited to a publisher, and to no apps by name, does nothing to those of another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_publisher_has_nothing_of_anothers() {
    let registry = start_with(|config| Config { review: true, ..config }).await;
    registry.claim().await;
    registry.put_roots(&chain(2)).await.ok();
    let sha256 = registry.publish(1).await["release"]["package"]["sha256"].as_str().unwrap().to_owned();
    let roles = [Role::Publisher, Role::Operator, Role::Releaser, Role::Reviewer, Role::Admin];
    let ours = registry.scoped("ours", &roles, &[], &[chain(1).publisher()]).await;
    let theirs = registry.scoped("theirs", &roles, &[], &[chain(2).publisher()]).await;

    let release = format!("/v1/apps/{APP}/releases/1");
    for path in
        [format!("/v1/packages/{sha256}"), format!("/v1/packages/{sha256}/signature"), release.clone()]
    {
        registry.get(&theirs, &path).await.refused(404, "MPKG-P35");
        registry.get(&ours, &path).await.ok();
    }
    let review = json!({ "approve": true, "reason": "looked at it" });
    registry.post(&theirs, &format!("{release}/review"), &review).await.refused(403, "MPKG-P04");
    registry.post(&ours, &format!("{release}/review"), &review).await.ok();

    let rollouts = format!("/v1/apps/{APP}/rollouts");
    let draft = json!({ "release_seq": 1 });
    registry.post(&theirs, &rollouts, &draft).await.refused(403, "MPKG-P04");
    let id = registry.post(&ours, &rollouts, &draft).await.ok().json()["id"].clone();
    let drafts = async |token: &str| {
        let status = registry.get(token, "/v1/status").await.ok().json();
        status["drafts"].as_array().unwrap().len()
    };
    assert_eq!((drafts(&theirs).await, drafts(&ours).await, drafts(&registry.admin).await), (0, 1, 1));

    let kill = json!({ "level": "warn", "scope": { "app": APP }, "reason": "look" });
    registry.post(&theirs, "/v1/kills", &kill).await.refused(403, "MPKG-P04");
    let kill = registry.post(&ours, "/v1/kills", &kill).await.ok().json()["id"].clone();
    let off = json!({ "sha256": sha256, "reason": "leaks" });
    for (verb, body) in [
        ("disable".to_owned(), &off),
        ("floor".to_owned(), &json!({ "min_seq": 1, "reason": "a hole" })),
        ("releases/1/yank".to_owned(), &json!({ "reason": "bad" })),
    ] {
        let path = format!("/v1/apps/{APP}/{verb}");
        registry.post(&theirs, &path, body).await.refused(403, "MPKG-P04");
        registry.post(&ours, &path, body).await.ok();
    }
    for change in [
        json!({ "what": "rollout", "id": id, "revision": 0, "command": { "verb": "start" } }),
        json!({ "what": "lift", "kill": kill }),
        json!({ "what": "enable", "app": APP, "sha256": sha256 }),
    ] {
        registry.post(&theirs, "/v1/approvals", &change).await.refused(403, "MPKG-P04");
        registry.post(&ours, "/v1/approvals", &change).await.ok();
    }

    let reports = json!({ "reports": [
        { "app": APP, "release_seq": 1, "arm": "neither", "boot": "b", "counters": {} },
    ] });
    for (publisher, accepted) in [(chain(2), 0), (chain(1), 1)] {
        let host = registry.scoped("phone", &[Role::Host], &[], &[publisher.publisher()]).await;
        let request = registry.request(&host, Method::POST, "/v1/telemetry").body(reports.to_string());
        assert_eq!(read(request).await.ok().json()["accepted"], accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_change_however_often_it_comes() {
    let registry = start().await;
    registry.claim().await;
    let body = json!({ "level": "stop", "scope": { "app": APP }, "reason": "bad" }).to_string();
    let send = |key: &str, body: &str, token: &str| {
        let request =
            registry.request(token, Method::POST, "/v1/kills").header("idempotency-key", key.to_owned());
        read(request.body(body.to_owned()))
    };
    let first = send("k1", &body, &registry.admin).await.ok();
    let again = send("k1", &body, &registry.admin).await.ok();
    assert_eq!((first.status, &first.etag, &first.bytes), (again.status, &again.etag, &again.bytes));
    assert_eq!(registry.state().await.kills.len(), 1);
    send("k1", &body.replace("bad", "worse"), &registry.admin).await.refused(409, "MPKG-P21");
    // Keys are the caller's own, and a path is part of a request.
    let other = registry.token(Role::Operator).await;
    let milder = body.replace("stop", "freeze");
    assert_ne!(send("k1", &milder, &other).await.ok().bytes, first.bytes);
    let claim = registry.request(&registry.admin, Method::POST, "/v1/apps").header("idempotency-key", "k1");
    let app = json!({ "app_id": "org.example.other", "publisher": chain(1).publisher() });
    read(claim.body(app.to_string())).await.refused(409, "MPKG-P21");
    assert_eq!(registry.state().await.kills.len(), 2);

    // A secret is in the first answer only.
    let token = json!({ "owner": "x", "roles": ["host"] }).to_string();
    let make = |key: &str| {
        let request = registry.request(&registry.admin, Method::POST, "/v1/tokens");
        read(request.header("idempotency-key", key.to_owned()).body(token.clone()))
    };
    let (first, again) = (make("t1").await.ok().json(), make("t1").await.ok().json());
    assert!(first["secret"].is_string() && again["secret"].is_null());
    assert_eq!(first["token"], again["token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_at_the_same_time_is_one_change() {
    let registry = start().await;
    registry.claim().await;
    let body = json!({ "level": "warn", "scope": { "app": APP }, "reason": "twice" }).to_string();
    let key = fresh();
    let send = || {
        let request = registry.request(&registry.admin, Method::POST, "/v1/kills");
        read(request.header("idempotency-key", key.clone()).body(body.clone()))
    };
    let (a, b, c) = tokio::join!(send(), send(), send());
    assert_eq!(a.ok().bytes, b.ok().bytes);
    c.ok();
    assert_eq!(registry.state().await.kills.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_shows_every_change_and_every_meddling() {
    let mut registry = start().await;
    registry.claim().await;
    let report = registry.get(&registry.admin, "/v1/audit/verify").await.ok().json();
    assert_eq!(report["broken_at"], json!(null));
    let entries = registry.get(&registry.admin, "/v1/audit?limit=200").await.ok().json();
    let actions: Vec<_> =
        entries["items"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect();
    assert_eq!(actions, ["token.create", "publisher.roots", "app.claim"]);
    // A refused change leaves nothing.
    registry.post(&registry.admin, "/v1/tokens/aaaaaaaa/revoke", &json!({})).await.refused(404, "MPKG-P43");
    assert_eq!(registry.registry.verify_audit().await.unwrap().entries, 3);
    registry.stop().await;

    for meddling in [
        "UPDATE audit SET owner = 'nobody' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE audit SET detail = '{}' WHERE seq = 2",
        "UPDATE audit SET hash = (SELECT hash FROM audit WHERE seq = 1) WHERE seq = 2",
    ] {
        let copy = tempfile::tempdir().unwrap();
        let to = copy.path().join("r");
        mpkg_registry::backup(registry.folder.path(), &to).await.unwrap();
        let pool =
            sqlx::SqlitePool::connect(&format!("sqlite://{}/registry.db", to.display())).await.unwrap();
        sqlx::query(meddling).execute(&pool).await.unwrap();
        pool.close().await;
        let opened = Registry::open(common::config(&to)).await.unwrap();
        assert_eq!(opened.registry.verify_audit().await.unwrap().broken_at, Some(2), "{meddling}");
        opened.registry.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_waits_but_never_to_stop_something() {
    let registry = start_with(|config| Config { requests_per_second: 2, ..config }).await;
    let mut refused = None;
    for _ in 0..50 {
        let got = registry.get(&registry.admin, "/v1/kills").await;
        if got.status == 429 {
            refused = Some(got);
            break;
        }
    }
    let refused = refused.expect("a bound");
    refused.refused(429, "MPKG-P05");
    let yanked = async || {
        let path = format!("/v1/apps/{APP}/releases/1/yank");
        registry.post(&registry.admin, &path, &json!({ "reason": "no stop" })).await.status == 429
    };
    let mut bounded = false;
    for _ in 0..50 {
        bounded = bounded || yanked().await;
    }
    assert!(bounded, "hiding a release stops nothing");
    assert!(refused.headers.contains_key("retry-after"));
    let kill = json!({ "level": "stop", "scope": {}, "reason": "now" });
    for _ in 0..5 {
        registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_token_and_nothing_that_callers_write_is_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // For all threads of this process: other tests only add to it.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let tokens = runtime.block_on(async {
        let registry = start().await;
        let token = registry.token(Role::Operator).await;
        let unknown = "mpkg_bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb".to_owned();
        registry.get(&token, "/v1/kills?token=inthequery").await.refused(400, "MPKG-P12");
        registry.get(&token, "/v1/kills").await.ok();
        registry.get(&unknown, "/v1/kills").await.refused(401, "MPKG-P02");
        registry.post(&registry.admin, "/v1/apps/inthepath/rollouts", &json!({})).await;
        [registry.admin.clone(), token, unknown]
    });
    let text = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    let ours = text.lines().filter(|line| line.contains("mpkg_registry")).collect::<Vec<_>>().join("\n");
    assert!(ours.contains("/v1/kills"), "it logs at all");
    for token in tokens {
        assert!(!text.contains(&token["mpkg_".len() + 8..]), "a token is in the log");
    }
    for written in ["inthequery", "inthepath"] {
        assert!(!ours.contains(written), "{written}");
    }
}
