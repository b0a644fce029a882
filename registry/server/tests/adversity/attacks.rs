//! What somebody with bad intentions sends.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use crate::common::{APP, Package, TestRegistry, chain, fresh, read, start, start_with};
use mpkg_fleet::{Arm, Batch, Counters, Report, SignedDocument, StopNotice, StreamEvent};
use mpkg_registry::{Config, Role, routes};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

impl TestRegistry {
    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.base.strip_prefix("http://").unwrap()).await.unwrap()
    }

    /// All that comes back until the registry closes the connection.
    async fn raw(&self, request: &str) -> String {
        let mut socket = self.socket().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), socket.read_to_end(&mut answer));
        read.await.expect("it ends").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_the_routes_and_nothing_of_it_into_a_header() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    let token = &registry.admin;
    for path in [
        "/v1/packages/..%2f..%2fregistry.db",
        "/v1/packages/%2e%2e/registry.db",
        "/v1/packages/../../keys/state.pem",
        "/../registry.db",
        "//v1/tokens",
        "/v1//tokens",
        "/v1/tokens/",
        "/V1/tokens",
        "/v1/apps/%00/releases",
        "/v1/apps/a%0d%0aset-cookie:%20x=1/releases",
        "/v1/state/apps/%ff",
        "/v1/state/apps/",
        "/v1/kills/%27%20OR%201=1%20--",
        "/v1/rollouts/1%20OR%201=1",
        "/v1/rollouts/-1",
        "/v1/rollouts/99999999999999999999",
        "/v1/apps/org.example.app/releases/1;DROP%20TABLE%20releases",
        "/v1/apps?after=%27%20OR%201=1&limit=0&unknown=1",
        "/v1/audit?after=-1",
        "*",
    ] {
        let answer = registry
            .raw(&format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
            ))
            .await;
        let status: u16 = answer["HTTP/1.1 ".len()..][..3].parse().unwrap();
        assert!((400..500).contains(&status), "{path}: {answer}");
        let head = answer.split("\r\n\r\n").next().unwrap();
        assert!(!head.contains("set-cookie") && !answer.contains("PRIVATE KEY"), "{path}: {answer}");
    }
    // Text that asks for more than it is.
    let found = registry.get(token, "/v1/search?q=%27%20OR%20%271%27=%271").await.ok().json();
    assert_eq!(found["items"], json!([]));
    registry.get(token, &format!("/v1/apps/{APP}/releases/1")).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_two_readers_would_read_differently_are_refused() {
    let registry = start().await;
    let head = format!("authorization: Bearer {}\r\nidempotency-key: k\r\n", registry.admin);
    let kill = json!({ "level": "stop", "scope": {}, "reason": "smuggled" }).to_string();
    let length = kill.len();
    for bad in [
        format!("content-length: {length}\r\ncontent-length: {}\r\n", length + 1),
        format!("content-length: +{length}\r\n"),
        format!("content-length: {length},{length}1\r\n"),
        format!("content-length : {length}\r\n"),
        format!("content-length: {length}\r\nx: a\r\n folded\r\n"),
        "transfer-encoding: chunked, identity\r\n".into(),
        "transfer-encoding: xchunked\r\n".into(),
        format!("content-length: {length}\r\nx\0y: 1\r\n"),
    ] {
        let answer = registry
            .raw(&format!("POST /v1/kills HTTP/1.1\r\nhost: x\r\n{head}{bad}connection: close\r\n\r\n{kill}"))
            .await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{bad:?}: {answer}");
    }
    let kills = registry.get(&registry.admin, "/v1/kills").await.ok().json();
    assert_eq!(kills["items"], json!([]));
}

/// Whoever is refused learns why, however much it still has to send.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_who_is_still_sending() {
    let registry = start().await;
    registry.claim().await;
    let host = registry.host("phone").await;
    for _ in 0..10 {
        let package = vec![0; 8 << 20];
        let unknown = "mpkg_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        registry.upload(unknown, APP, package.clone()).await.refused(401, "MPKG-P02");
        registry.upload(&host, APP, package.clone()).await.refused(403, "MPKG-P03");
        registry
            .upload(&registry.admin, "org.example.unknown", package.clone())
            .await
            .refused(404, "MPKG-P33");
        let request = registry.request(&registry.admin, Method::POST, "/v1/kills");
        read(request.header("idempotency-key", fresh()).body(package)).await.refused(413, "MPKG-P10");
    }
}

/// A name for each string of a value, with `url` in its place.
fn with_urls(value: &Value, url: &str) -> Vec<Value> {
    match value {
        Value::String(_) => vec![json!(url)],
        Value::Array(items) => {
            items.iter().flat_map(|item| with_urls(item, url)).map(|item| json!([item])).collect()
        }
        Value::Object(members) => {
            let mut all = Vec::new();
            for (name, member) in members {
                for replaced in with_urls(member, url) {
                    let mut changed = members.clone();
                    changed.insert(name.clone(), replaced);
                    all.push(Value::Object(changed));
                }
            }
            all
        }
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_address_that_anybody_sends_is_ever_asked() {
    let bait = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", bait.local_addr().unwrap());
    let mut registry = start().await;
    registry.claim().await;
    let package = Package { name: url.chars().take(60).collect(), ..Package::new(1) };
    registry.upload(&registry.admin, APP, package.signed()).await.ok();

    let publisher = chain(1).publisher();
    let release =
        json!({ "package": { "sha256": "0".repeat(64), "size": 1 }, "release_seq": 1, "version": "1.0.0" });
    let bodies = [
        json!({ "owner": "x", "roles": ["host"], "apps": [APP], "publishers": [publisher] }),
        json!({ "app_id": APP, "publisher": publisher }),
        json!({ "reason": "x" }),
        json!({ "approve": true, "reason": "x" }),
        json!({ "min_seq": 1, "reason": "x" }),
        json!({ "sha256": "0".repeat(64), "reason": "x" }),
        json!({ "level": "stop", "scope": { "app": APP, "platforms": ["a"] }, "reason": "x" }),
        json!({ "level": "revoke", "scope": { "permission": "network", "method": "m" }, "reason": "x" }),
        json!({ "release_seq": 1, "allow": ["u"], "targeting": { "platforms": ["a"], "regions": ["r"],
                "segments": ["s"], "allow": ["0"], "host_versions": null } }),
        json!({ "what": "rollout", "id": 1, "revision": 0, "command": { "verb": "roll_back", "to": release, "reason": "x" } }),
        json!({ "what": "lift", "kill": "0".repeat(64) }),
        json!({ "what": "enable", "app": APP, "sha256": "0".repeat(64) }),
        json!({ "reports": [{ "app": APP, "release_seq": 1, "arm": "neither", "boot": "b", "counters": {} }] }),
    ];
    let host = registry.host(&url).await;
    let escaped: String = url.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut sent = 0;
    for route in routes().into_iter().filter(|route| route.path != "/v1/stream") {
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let token = if route.path == "/v1/telemetry" { &host } else { &registry.admin };
        for parameter in [APP, "1", &escaped] {
            let mut path = String::new();
            for part in route.path.split_inclusive('/') {
                let name = part.trim_end_matches('/');
                path += &if name.starts_with('{') { part.replace(name, parameter) } else { part.to_owned() };
            }
            let ask = |body: String| {
                let query = if route.method == "GET" {
                    format!("?q={escaped}&after={escaped}")
                } else {
                    String::new()
                };
                let request = registry.request(token, method.clone(), &format!("{path}{query}"));
                let headers =
                    ["host", "origin", "referer", "x-forwarded-host", "last-event-id", "if-none-match"];
                let request = headers.into_iter().fold(request, |request, name| request.header(name, &url));
                read(request.header("idempotency-key", fresh()).header("if-match", &url).body(body))
            };
            let changed = bodies.iter().flat_map(|body| with_urls(body, &url));
            let bodies = if route.method == "GET" { vec![json!(null)] } else { changed.collect() };
            for body in bodies {
                let got = ask(body.to_string()).await;
                assert!(got.status.as_u16() < 500, "{route:?} {body}: {got:?}");
                sent += 1;
            }
        }
    }
    assert!(sent > 1_000);
    let raw = format!("GET {url} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", &url[7..]);
    registry.raw(&raw).await;
    registry
        .raw(&format!("CONNECT {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", &url[7..url.len() - 2]))
        .await;
    // Also nothing that was only begun: everything has ended by then.
    registry.stop().await;
    bait.set_nonblocking(true).unwrap();
    assert_eq!(bait.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// The surest way not to be sent anywhere: there is nothing to go with.
#[test]
fn the_registry_is_built_without_a_client() {
    let manifest = include_str!("../../Cargo.toml");
    let normal = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(normal.contains("\naxum"), "the right part of the file");
    for client in ["reqwest", "rustls", "features = [\"http\"]", "features = [\"client"] {
        assert!(!normal.contains(client), "{client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_whose_sender_hangs_up_is_made_and_told_or_not_made() {
    let registry = start().await;
    registry.claim().await;
    let mut events = registry.stream(None).await;
    events.next().await.unwrap();
    for number in 0..60_u32 {
        let releases = json!({ "from": number, "to": null });
        let (level, scope) = if number < 20 {
            ("stop", json!({ "app": APP, "releases": releases }))
        } else {
            ("warn", json!({ "releases": releases }))
        };
        let body = json!({ "level": level, "scope": scope, "reason": format!("kill {number}") }).to_string();
        let mut socket = registry.socket().await;
        let request = format!(
            "POST /v1/kills HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nidempotency-key: {}\r\n\
             content-length: {}\r\n\r\n{body}",
            registry.admin,
            fresh(),
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        // Sooner or later: in all parts of what it takes.
        for _ in 0..number * 3 {
            tokio::task::yield_now().await;
        }
        drop(socket);
    }
    // Changes are made one after the other, so all that were begun before this one are decided when it is.
    let last = json!({ "level": "warn", "scope": {}, "reason": "the last one" });
    registry.post(&registry.admin, "/v1/kills", &last).await.ok();
    let mut told = BTreeSet::new();
    while !told.contains("the last one") {
        let (_, event) = events.next().await.unwrap();
        let StreamEvent::Stop { notice } = event else { continue };
        let signed = SignedDocument::<StopNotice>::parse(notice.as_bytes()).unwrap();
        told.extend(signed.document().kills.iter().map(|kill| kill.reason.to_string()));
    }
    // Those that came to the lock after the last one are told by now as well, or by the next change at the latest.
    let made = || async {
        let listed = registry.get(&registry.admin, "/v1/kills?limit=200").await.ok().json();
        let kills = listed["items"].as_array().unwrap().clone();
        kills.iter().map(|it| it["kill"]["reason"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let mut made_now = made().await;
    while !made_now.is_subset(&told) {
        let (_, event) = events.next().await.expect("a kill that was made is told");
        if let StreamEvent::Stop { notice } = event {
            let signed = SignedDocument::<StopNotice>::parse(notice.as_bytes()).unwrap();
            told.extend(signed.document().kills.iter().map(|kill| kill.reason.to_string()));
        }
    }
    made_now = made().await;
    assert!(told.is_subset(&made_now), "{:?}", told.difference(&made_now));
}

/// Somebody has an app and hosts of their own, and wants another's release gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_forged_telemetry_rolls_back_nobody_elses_app() {
    let registry = start().await;
    registry.claim().await;
    registry.publish(1).await;
    registry.publish(2).await;
    registry.everywhere(1).await;
    let plan = json!([{ "percent": 5_000, "bake_s": 0, "min_votes": 0 }, { "percent": 10_000, "bake_s": 0, "min_votes": 0 }]);
    let (id, _) = registry.roll_out(&json!({ "release_seq": 2, "plan": plan })).await;
    let (own, other) = ("org.example.evil", chain(2));
    registry.put_roots(&other).await.ok();
    let claim = json!({ "app_id": own, "publisher": other.publisher() });
    registry.post(&registry.admin, "/v1/apps", &claim).await.ok();

    let row = |boot: &str, counters: Counters| Report {
        app: APP.parse().unwrap(),
        release_seq: 2,
        arm: Arm::Treatment,
        boot: boot.parse().unwrap(),
        counters,
    };
    let worst = Counters {
        launches: 1 << 40,
        calls: 1 << 40,
        errors: 1 << 40,
        crash_loops: 1 << 40,
        ..Counters::default()
    };
    let flood: Vec<_> = (0..200).map(|boot| row(&format!("b{boot}"), worst)).collect();
    // Hosts that are limited to the attacker's app, however many.
    for number in 0..40 {
        let token = registry.scoped(&format!("evil {number}"), &[Role::Host], &[own], &[]).await;
        let request = registry.request(&token, Method::POST, "/v1/telemetry");
        let got = read(request.body(Batch { reports: flood.clone() }.to_bytes())).await.ok().json();
        assert_eq!(got, json!({ "accepted": 0, "ignored": 200 }));
    }
    // A host that may report everything is one device, whoever it says that it is.
    let token = registry.host("evil").await;
    for round in 0..20 {
        let request = registry.request(&token, Method::POST, "/v1/telemetry");
        read(request.body(Batch { reports: flood.clone() }.to_bytes())).await.ok();
        let forged = json!({ "device": format!("d{round}"), "reports": [] });
        let request = registry.request(&token, Method::POST, "/v1/telemetry");
        assert!(read(request.body(forged.to_string())).await.status.is_client_error());
        let named = json!({ "reports": [{ "app": APP, "release_seq": 2, "arm": "treatment", "boot": "b",
            "device": format!("d{round}"), "counters": { "calls": 9, "errors": 9 } }] });
        let request = registry.request(&token, Method::POST, "/v1/telemetry");
        assert!(read(request.body(named.to_string())).await.status.is_client_error());
    }
    // Who is no host reports nothing.
    for role in [Role::Publisher, Role::Operator, Role::Admin] {
        let token = registry.token(role).await;
        let request = registry.request(&token, Method::POST, "/v1/telemetry");
        read(request.body(Batch { reports: flood.clone() }.to_bytes())).await.refused(403, "MPKG-P03");
    }
    registry.registry.look_at_gates().await.unwrap();
    let rollout = registry.get(&registry.admin, &format!("/v1/rollouts/{id}")).await.ok().json();
    assert_eq!(rollout["rollout"]["phase"]["phase"], "running");
    let gate = registry.get(&registry.admin, &format!("/v1/rollouts/{id}/gate")).await.ok().json();
    assert_eq!(gate["inputs"]["treatment"]["devices"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_back_after_a_restart_changes_nothing_again() {
    let registry = start().await;
    registry.claim().await;
    let kill = json!({ "level": "stop", "scope": { "app": APP }, "reason": "once" }).to_string();
    let send = |registry: &TestRegistry| {
        let request = registry.request(&registry.admin, Method::POST, "/v1/kills");
        read(request.header("idempotency-key", "replayed").body(kill.clone()))
    };
    let first = send(&registry).await.ok();
    let lift = format!("/v1/kills/{}/lift", first.json()["id"].as_str().unwrap());
    registry
        .go(&registry.admin, &lift, first.etag.as_deref().unwrap(), &json!({ "reason": "over" }))
        .await
        .ok();
    let registry = registry.restart().await;
    // The answer of then: nothing is switched off again.
    assert_eq!(send(&registry).await.ok().bytes, first.bytes);
    assert!(registry.state().await.kills.is_empty());
    // A key is its token's: somebody else cannot ask what it did.
    let other = registry.token(Role::Operator).await;
    let request = registry.request(&other, Method::POST, "/v1/kills").header("idempotency-key", "replayed");
    assert_ne!(read(request.body(kill.clone())).await.ok().bytes, first.bytes);
}

/// Listeners that take nothing are cut off, and keep nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_reads_nothing_is_cut_off_and_others_are_not() {
    let registry = start_with(|config| Config { idle: Duration::from_secs(2), ..config }).await;
    registry.claim().await;
    let mut asleep = Vec::new();
    for number in 0..5 {
        let (mut socket, host) = (registry.socket().await, registry.host(&format!("host {number}")).await);
        let request = format!("GET /v1/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {host}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        asleep.push(socket);
    }
    let mut events = registry.stream(None).await;
    events.next().await.unwrap();
    // A head names all kills, so that events get long, until no socket takes one more.
    let mut heads = 0;
    for number in 0.. {
        let scope = json!({ "releases": { "from": number, "to": null } });
        let kill = json!({ "level": "warn", "scope": scope, "reason": format!("{number:0>200}") });
        if registry.post(&registry.admin, "/v1/kills", &kill).await.status != 201 {
            registry.registry.sign_again().await.unwrap();
        }
        while !matches!(events.next().await.unwrap().1, StreamEvent::Head { .. }) {}
        heads += 1;
        let status = registry.get(&registry.admin, "/v1/status").await.ok().json();
        if status["listeners"] == 1 {
            break;
        }
        assert!(heads < 5_000, "{status}");
    }
}
