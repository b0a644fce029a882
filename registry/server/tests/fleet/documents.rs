//! Heads, states and roots over time, over restarts, and out of backups.

use mpkg_fleet::StreamEvent;
use mpkg_package::root::{Draft, STATE_ROLE, STOP_ROLE};
use mpkg_package::{RootChain, RootFile, SecretKey};
use mpkg_registry::{Config, Registry, backup, restore, serve};
use serde_json::json;

use super::{context, host, plan, ready, taken};
use crate::common::{APP, Package, TestRegistry, chain, config, fresh, key, read, start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_signed_again_and_follow_each_other_over_a_restart() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = host(&registry);
    let before = registry.head().await;
    registry.registry.sign_again().await.unwrap();
    let head = registry.head().await;
    assert_eq!(head.seq, before.seq + 1);
    let bytes = registry.get(&registry.admin, "/v1/state/head").await.ok().bytes;
    taken(host.accept_head(&bytes, None));
    let registry = registry.restart().await;
    let bytes = registry.get(&registry.admin, "/v1/state/head").await.ok().bytes;
    taken(host.accept_head(&bytes, None));
    assert_eq!(registry.state().await.baseline.unwrap().release_seq, 1);
    let report = registry.registry.verify_audit().await.unwrap();
    assert_eq!(report.broken_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_whole_and_newer_than_what_hosts_saw() {
    let registry = start().await;
    ready(&registry).await;
    let folder = tempfile::tempdir().unwrap();
    let (copy, restored) = (folder.path().join("copy"), folder.path().join("restored"));
    backup(registry.folder.path(), &copy).await.unwrap();
    assert!(backup(registry.folder.path(), &copy).await.is_err(), "nothing is written over");
    // After the backup hosts saw more.
    registry.roll_out(&json!({ "release_seq": 2, "plan": plan() })).await;
    let context = context(&registry.unreached().await);
    let mut host = host(&registry);
    let path = format!("/v1/state/apps/{APP}");
    taken(host.accept_app(&registry.get(&registry.admin, &path).await.ok().bytes, None));
    taken(host.accept_head(&registry.get(&registry.admin, "/v1/state/head").await.ok().bytes, None));

    restore(&copy, &restored).await.unwrap();
    let opened = Registry::open(config(&restored)).await.unwrap();
    assert_eq!(opened.registry.id(), registry.registry.id());
    let running = serve(opened.registry).await.unwrap();
    let base = format!("http://{}", running.address);
    let get = async |path: &str| {
        let request = registry.http.get(format!("{base}{path}")).bearer_auth(&registry.admin);
        read(request).await.ok().bytes
    };
    taken(host.accept_app(&get(&path).await, None));
    taken(host.accept_head(&get("/v1/state/head").await, None));
    let decision = host.decide(&APP.parse().unwrap(), &context, None, None);
    assert_eq!(decision.run.unwrap().release_seq, 1);
    let sha256 = mpkg_package::Hash::of(&Package::new(3).unsigned());
    get(&format!("/v1/packages/{sha256}")).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_the_machine_see_that_it_runs() {
    let registry = start().await;
    ready(&registry).await;
    for path in ["/healthz", "/readyz"] {
        read(registry.http.get(format!("{}{path}", registry.base))).await.ok();
    }
    let text = String::from_utf8(registry.get(&registry.admin, "/metrics").await.ok().bytes).unwrap();
    assert!(text.ends_with("# EOF\n"));
    assert!(
        text.contains("mpkg_registry_requests_total{route=\"/v1/apps\",method=\"POST\",status=\"201\"} 1\n"),
        "{text}"
    );
    let status = registry.get(&registry.admin, "/v1/status").await.ok().json();
    assert_eq!(status["head"], json!(registry.registry.head()));
    assert_eq!(status["rollouts"], json!([]));
    let file = read(registry.http.get(format!("{}/v1/state/roots", registry.base))).await.ok();
    assert_eq!(RootChain::parse(&file.bytes).unwrap().publisher(), registry.registry.id());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_root_rotates_and_keeps_its_keys_in_charge() {
    let registry = start().await;
    let mut host = host(&registry);
    let mut events = registry.stream(None).await;
    events.next().await.unwrap();
    let pem = std::fs::read_to_string(registry.folder.path().join("keys/root.pem")).unwrap();
    let root_key = SecretKey::from_pem(&pem).unwrap();
    let rotate = |change: &dyn Fn(&mut Draft)| {
        let mut file = RootFile::new(registry.registry.roots());
        let mut draft = Draft::after(file.chain().last());
        change(&mut draft);
        file.propose(draft.build().unwrap()).unwrap();
        file.sign(&root_key).unwrap();
        file.to_bytes()
    };
    let put = async |bytes: Vec<u8>| {
        let request = registry.request(&registry.admin, reqwest::Method::PUT, "/v1/state/roots");
        read(request.header("idempotency-key", fresh()).body(bytes)).await
    };
    // A root under which the registry could sign nothing.
    let locked_out = rotate(&|draft| {
        let old: Vec<_> = draft.roles()[STATE_ROLE].keys.clone();
        draft.add(STATE_ROLE, &key(9).public());
        draft.remove(STATE_ROLE, old[0]);
    });
    put(locked_out).await.refused(400, "MPKG-P11");
    let second = rotate(&|draft| {
        draft.add(STOP_ROLE, &key(8).public());
    });
    put(second).await.ok();
    let (_, event) = events.next().await.unwrap();
    assert_eq!(event, StreamEvent::Roots { version: 2 });
    let bytes = read(registry.http.get(format!("{}/v1/state/roots", registry.base))).await.ok().bytes;
    taken(host.accept_roots(&bytes));
    assert_eq!(host.roots().unwrap().len(), 2);
    let registry = registry.restart().await;
    assert_eq!(registry.registry.roots().len(), 2);
    let bytes = registry.get(&registry.admin, "/v1/state/head").await.ok().bytes;
    taken(host.accept_head(&bytes, None));
    // Somebody else's root.
    let foreign = RootFile::new(chain(1)).to_bytes();
    let request = registry.request(&registry.admin, reqwest::Method::PUT, "/v1/state/roots");
    let got = read(request.header("idempotency-key", fresh()).body(foreign)).await;
    got.refused(409, "MPKG-P31");
}

/// The roots of a registry with one more behind them, as a file.
fn next_root(registry: &TestRegistry, expires: i64) -> Vec<u8> {
    let pem = std::fs::read_to_string(registry.folder.path().join("keys/root.pem")).unwrap();
    let mut file = RootFile::new(registry.registry.roots());
    let mut draft = Draft::after(file.chain().last());
    draft.expires = mpkg_package::Time::from_unix(expires);
    file.propose(draft.build().unwrap()).unwrap();
    file.sign(&SecretKey::from_pem(&pem).unwrap()).unwrap();
    file.to_bytes()
}

/// A newer root is in database and file, one after the other. Whichever of the two a process that ended in between had
/// written, and whichever a backup has the newer copy of: the newest root counts, and both have it again.
#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_root_is_whole_wherever_the_process_ended() {
    let mut registry = start().await;
    let path = registry.folder.path().join("keys/roots");
    let database = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let kept = async || {
        let db = sqlx::SqlitePool::connect(&database).await.unwrap();
        let kept: String =
            sqlx::query_scalar("SELECT value FROM meta WHERE name = 'roots'").fetch_one(&db).await.unwrap();
        (db, kept)
    };
    let (old_file, (_, old_row)) = (std::fs::read(&path).unwrap(), kept().await);
    let request = registry.request(&registry.admin, reqwest::Method::PUT, "/v1/state/roots");
    let request = request.header("idempotency-key", "roots").body(next_root(&registry, 4_000_000_000));
    read(request).await.ok();
    let (new_file, (_, new_row)) = (std::fs::read(&path).unwrap(), kept().await);
    assert!(old_file != new_file && old_row != new_row);
    let whole = async |registry: &TestRegistry| {
        assert_eq!(registry.registry.roots().len(), 2);
        assert_eq!(std::fs::read(&path).unwrap(), new_file);
        assert_eq!(kept().await.1, new_row);
        let audit = registry.get(&registry.admin, "/v1/audit?limit=200").await.ok().json();
        let items = audit["items"].as_array().unwrap();
        assert_eq!(items.iter().filter(|it| it["action"] == "registry.roots").count(), 1);
    };
    for (file, row) in [(&old_file, &new_row), (&new_file, &old_row), (&new_file, &new_row)] {
        registry.stop().await;
        std::fs::write(&path, file).unwrap();
        let (db, _) = kept().await;
        sqlx::query("UPDATE meta SET value = ? WHERE name = 'roots'").bind(row).execute(&db).await.unwrap();
        db.close().await;
        registry = registry.started().await;
        whole(&registry).await;
    }

    // Another registry's file is no older or newer copy of this one's.
    let other = start().await;
    registry.stop().await;
    std::fs::copy(other.folder.path().join("keys/roots"), &path).unwrap();
    for name in ["state.pem", "stop.pem"] {
        let name = format!("keys/{name}");
        std::fs::copy(other.folder.path().join(&name), registry.folder.path().join(&name)).unwrap();
    }
    let folder = registry.closed();
    let refused = mpkg_registry::Registry::open(config(folder.path())).await;
    assert!(matches!(refused, Err(mpkg_registry::OpenError::Keys { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn states_do_not_pile_up_and_a_stop_that_changes_nothing_signs_none() {
    let registry = start().await;
    ready(&registry).await;
    let mut host = host(&registry);
    let sha256 = mpkg_package::Hash::of(&Package::new(3).unsigned());
    let file = format!("sqlite://{}/registry.db", registry.folder.path().display());
    let db = sqlx::SqlitePool::connect(&file).await.unwrap();
    for round in 0..12 {
        let scope = json!({ "app": APP, "releases": { "from": 100 + round, "to": null } });
        let kill = json!({ "level": "warn", "scope": scope, "reason": "one more state" });
        registry.post(&registry.admin, "/v1/kills", &kill).await.ok();
        let path = format!("/v1/state/apps/{APP}");
        taken(host.accept_app(&registry.get(&registry.admin, &path).await.ok().bytes, None));
    }
    let states: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM documents WHERE app = ?")
        .bind(APP)
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(states, 4);

    let stops = [
        ("floor", json!({ "min_seq": 1, "reason": "a hole" })),
        ("disable", json!({ "sha256": sha256, "reason": "leaks" })),
    ];
    for (verb, body) in stops {
        let path = format!("/v1/apps/{APP}/{verb}");
        let first = registry.post(&registry.admin, &path, &body).await.ok();
        let head = registry.head().await;
        let again = registry.post(&registry.admin, &path, &body).await.ok();
        assert_eq!((again.etag.clone(), again.json()), (first.etag.clone(), first.json()), "{verb}");
        assert_eq!(registry.head().await, head, "{verb}");
    }
    assert!(registry.state().await.disabled.contains(&sha256));
    registry.registry.sign_again().await.unwrap();
    taken(host.accept_head(&registry.get(&registry.admin, "/v1/state/head").await.ok().bytes, None));
}

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

/// States that are old are signed again, however many there are.
#[tokio::test(flavor = "multi_thread")]
async fn aging_states_are_signed_again_a_part_at_a_time() {
    let registry = start_with(|config| Config { state_lifetime: DAY, ..config }).await;
    registry.claim().await;
    let publisher = chain(1).publisher();
    for number in 0..70 {
        let body = json!({ "app_id": format!("org.example.n{number}"), "publisher": publisher });
        registry.post(&registry.admin, "/v1/apps", &body).await.ok();
        let floor = json!({ "min_seq": 1, "reason": "it has a state from here on" });
        registry.post(&registry.admin, &format!("/v1/apps/org.example.n{number}/floor"), &floor).await.ok();
    }
    let kept = registry.restart_with(|config| Config {
        state_lifetime: DAY,
        now: || std::time::SystemTime::now() + DAY,
        ..config
    });
    let registry = kept.await;
    let before = registry.head().await;
    registry.registry.sign_again().await.unwrap();
    let head = registry.head().await;
    assert_eq!((before.apps.len(), head.apps.len()), (70, 70));
    assert!(before.apps.iter().all(|(app, entry)| head.apps[app].seq == entry.seq + 1));
    assert_eq!(head.seq, before.seq + 2, "two parts");
    registry.registry.sign_again().await.unwrap();
    assert_eq!(registry.head().await.apps, head.apps, "they are young again");
}
