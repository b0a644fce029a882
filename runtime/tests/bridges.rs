//! The built-in bridges, as a guest sees them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::{APP, Package, builder, call, host, host_with};
use miniapp_runtime::rpc::{RpcError, code};
use miniapp_runtime::{Bridge, Clock, Limit, Limits, Notification, Policy, StaticPermissions};
use serde_json::{Value, json};

#[tokio::test]
async fn clock_and_random() {
    let host = host();
    let app = host.run(&Package::with(&["clock", "random"])).await;
    let now = call(&app, "0clock.now", json!({})).await.unwrap()["unix_ms"].as_u64().unwrap();
    assert!(now > 1_700_000_000_000);
    let nanos = |v: Value| v["nanos"].as_u64().unwrap();
    let first = nanos(call(&app, "0clock.monotonic", json!({})).await.unwrap());
    assert!(nanos(call(&app, "0clock.monotonic", json!({})).await.unwrap()) > first);
    let bytes = |v: Value| v["base64"].as_str().unwrap().to_owned();
    let one = bytes(call(&app, "1random.bytes", json!({ "length": 32 })).await.unwrap());
    assert_eq!(one.len(), 44);
    assert_ne!(one, bytes(call(&app, "1random.bytes", json!({ "length": 32 })).await.unwrap()));
    for params in
        [json!({ "length": 0 }), json!({ "length": 65537 }), json!({}), json!({ "length": -1 }), json!(3)]
    {
        assert_eq!(call(&app, "1random.bytes", params).await, Err(code::INVALID_PARAMS));
    }
    assert_eq!(call(&app, "0clock.now", json!({ "zone": "UTC" })).await, Err(code::INVALID_PARAMS));
}

/// A clock that stands at one second past 1 800 000 000, three nanoseconds after each launch.
struct Told(AtomicU64);

impl Clock for Told {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_001)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(3 * self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn time_and_chance_are_what_the_host_says_by_way_of_wasi_too() {
    let asked = Arc::new(AtomicU64::new(0));
    let fills = asked.clone();
    let host = host_with(|b| {
        b.clock(Told(AtomicU64::new(5))).randomness(move |bytes| {
            fills.fetch_add(1, Ordering::Relaxed);
            bytes.fill(7);
            Ok(())
        })
    });
    let app = host.run(&Package::with(&["clock", "random"])).await;
    let mut told = Vec::new();
    for (method, params) in [
        ("0clock.now", json!({})),
        ("0clock.monotonic", json!({})),
        ("1random.bytes", json!({ "length": 3 })),
    ] {
        told.push(call(&app, method, params).await.unwrap());
    }
    assert_eq!(
        told,
        [json!({ "unix_ms": 1_800_000_001_000_u64 }), json!({ "nanos": 3 }), json!({ "base64": "BwcH" })]
    );
    let component = wat::parse_str(common::puppet::sensing()).unwrap();
    let app = host.run(&Package { component, code: 2, ..Package::default() }).await;
    let sensed: String = app.call("sense", &json!({})).await.unwrap();
    let (seconds, nanos) = ("01d2496b00000000", "0300000000000000");
    assert_eq!(sensed, format!("{seconds}{nanos}{}", "07".repeat(32)));
    // Or an app would have its host ask the system for every byte.
    let before = asked.load(Ordering::Relaxed);
    app.call::<String>("byte", &json!({})).await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), before + 1);
}

#[tokio::test]
async fn an_app_does_not_go_on_without_the_randomness_that_it_asked_for() {
    let host = host_with(|b| b.randomness(|_| Err(std::io::Error::other("none is left"))));
    let app = host.run(&Package::with(&["random"])).await;
    assert_eq!(call(&app, "0random.bytes", json!({ "length": 3 })).await, Err(code::INTERNAL_ERROR));
    let component = wat::parse_str(common::puppet::sensing()).unwrap();
    for method in ["rand", "weak", "seed", "byte"] {
        let app = host.run(&Package { component: component.clone(), code: 2, ..Package::default() }).await;
        let ended = app.call::<String>(method, &json!({})).await.unwrap_err();
        assert!(ended.to_string().contains("none is left"), "{method}: {ended}");
    }
}

/// Or an app would have its host compute on threads where nobody counts it.
#[tokio::test]
async fn what_the_host_computes_for_an_app_elsewhere_is_on_the_apps_account() {
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()));
    let limits = json!({ "cpu_ms_per_second": 2 });
    let mpkg = json!({ "storage": { "quota_bytes": 1 << 20 }, "limits": limits });
    let app = host.run(&Package { mpkg, ..Package::with(&["storage"]) }).await;
    let transaction = |last: &str| {
        let keys = (0..255).map(|n| format!("key {n}")).chain([last.to_owned()]);
        let ops: Vec<Value> = keys.map(|key| json!({ "set": { "key": key, "value": 1 } })).collect();
        json!({ "ops": ops })
    };
    // What it takes to read one is charged to the guest anyhow; it is not what matters here.
    for _ in 0..25 {
        let refused = call(&app, "0storage.transaction", transaction("")).await;
        assert_eq!(refused, Err(code::INVALID_PARAMS));
    }
    assert!(app.metrics().throttled.is_zero(), "{:?}", app.metrics());
    // A page has an account of its own.
    let met = || app.metrics().limits_met.get(&Limit::CpuPerSecond).copied().unwrap_or(0);
    let mut calls = 0..25;
    while met() == 0 {
        calls.next().expect("it is on the page's account");
        app.dispatch("storage.transaction", &transaction("last").to_string()).await.unwrap();
    }
    assert!(app.metrics().throttled.is_zero(), "{:?}", app.metrics());
    let mut calls = 0..25;
    while app.metrics().throttled.is_zero() {
        calls.next().expect("it is on the guest's account");
        call(&app, "0storage.transaction", transaction("last")).await.unwrap();
    }
}

/// What the isolation kit's attackers go by.
#[tokio::test]
async fn a_puppet_goes_through_a_list() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = heard.clone();
    let ear = Bridge::new("host.ear").immediate("ear.hear", move |_, word: Value| {
        hearing.lock().unwrap().push(word);
        Ok::<_, RpcError>(())
    });
    let host = host_with(|b| b.permissions(StaticPermissions::allow_all()).bridge(ear));
    let app = host.run(&Package::with(&["host.ear"])).await;
    let list = "{\"0ear.hear\":[\"one\"]\n,\"0ear.nothing\":{}\n,\"0ear.hear\":\"two\"\n}";
    assert_eq!(app.call_json("list", list).await.unwrap(), "\"done\"");
    let times = |word: Value| heard.lock().unwrap().iter().filter(|heard| **heard == word).count();
    assert_eq!((times(json!(["one"])), times(json!("two"))), (16, 16));
}

#[tokio::test]
async fn storage_keeps_to_its_app_its_user_and_its_quota() {
    let folder = tempfile::tempdir().unwrap();
    let start = || builder(folder.path()).permissions(StaticPermissions::allow_all()).build().unwrap();
    let package =
        Package { mpkg: json!({ "storage": { "quota_bytes": 64 } }), ..Package::with(&["storage"]) };
    let host = start();
    host.install(package.signed()).await.unwrap();
    let ann = host.launch(APP, "ann").await.unwrap();
    let value = json!({ "n": [1, null, "ü"] });
    call(&ann, "0storage.set", json!({ "key": "a", "value": value })).await.unwrap();
    let over = call(&ann, "0storage.set", json!({ "key": "b", "value": "x".repeat(64) })).await;
    assert_eq!(over, Err(code::QUOTA_EXCEEDED));
    let bob = host.launch(APP, "bob").await.unwrap();
    let missing = json!({ "value": null, "found": false });
    assert_eq!(call(&bob, "0storage.get", json!({ "key": "a" })).await.unwrap(), missing);
    drop((ann, bob, host));

    let host = start();
    let ann = host.launch(APP, "ann").await.unwrap();
    let found = call(&ann, "0storage.get", json!({ "key": "a" })).await.unwrap();
    assert_eq!(found, json!({ "value": value, "found": true }), "it survives a restart");
    assert_eq!(
        call(&ann, "0storage.get", json!({ "key": "b" })).await.unwrap(),
        missing,
        "nothing half-written"
    );
    let usage = call(&ann, "0storage.usage", json!({})).await.unwrap();
    assert_eq!(usage["quota_bytes"], 64);
    assert_eq!(usage["keys"], 1);
    assert_eq!(
        call(&ann, "0storage.list", json!({})).await.unwrap(),
        json!({ "keys": ["a"], "more": false })
    );
    assert_eq!(
        call(&ann, "0storage.delete", json!({ "key": "a" })).await.unwrap(),
        json!({ "existed": true })
    );
    assert_eq!(
        call(&ann, "0storage.delete", json!({ "key": "a" })).await.unwrap(),
        json!({ "existed": false })
    );

    host.uninstall(APP).await.unwrap();
    assert!(ann.stop_reason().is_some());
    host.install(package.signed()).await.unwrap();
    let ann = host.launch(APP, "ann").await.unwrap();
    assert_eq!(call(&ann, "0storage.usage", json!({})).await.unwrap()["used_bytes"], 0);
}

#[tokio::test]
async fn storage_refuses_what_is_out_of_shape() {
    let host = host();
    let app = host.run(&Package::with(&["storage"])).await;
    let long = "k".repeat(257);
    for (method, params) in [
        ("0storage.get", json!({ "key": "" })),
        ("0storage.get", json!({ "key": long })),
        ("0storage.get", json!({})),
        ("0storage.set", json!({ "key": "a" })),
        ("0storage.set", json!({ "key": "a", "value": 1, "ttl": 5 })),
        ("0storage.list", json!({ "limit": "all" })),
    ] {
        assert_eq!(call(&app, method, params.clone()).await, Err(code::INVALID_PARAMS), "{method} {params}");
    }
    let big = json!({ "key": "a", "value": "x".repeat(256 * 1024) });
    assert_eq!(call(&app, "0storage.set", big).await, Err(code::TOO_LARGE));
}

#[tokio::test]
async fn events_go_both_ways() {
    let host = host();
    let app = host.run(&Package::with(&["events"])).await;
    let mut heard = app.notifications();
    let id =
        call(&app, "0events.publish", json!({ "topic": "cart.changed", "data": { "n": 1 } })).await.unwrap();
    let heard = heard.recv().await.unwrap();
    let Notification::Event { topic, data, id: heard_id } = &*heard else { panic!("{heard:?}") };
    assert_eq!((topic.as_str(), data.get()), ("cart.changed", r#"{"n":1}"#));
    assert_eq!(id["id"], heard_id.as_str());

    let receivers = |app: &miniapp_runtime::Instance| app.publish("orders", &json!(1)).unwrap().receivers;
    assert_eq!(receivers(&app), 0, "nobody subscribed");
    call(&app, "0events.subscribe", json!({ "topic": "orders" })).await.unwrap();
    assert_eq!(receivers(&app), 1);
    host.revoke("ann", APP, "events").unwrap();
    assert_eq!(receivers(&app), 0, "a revoked permission ends deliveries too");
    assert_eq!(
        call(&app, "0events.publish", json!({ "topic": "x", "data": 1 })).await,
        Err(code::PERMISSION_DENIED)
    );
}

#[tokio::test]
async fn topics_and_subscriptions_are_bounded() {
    let host = host();
    let app = host.run(&Package::with(&["events"])).await;
    for topic in ["", "a b", "\u{202e}evil", &"t".repeat(129)] {
        assert_eq!(
            call(&app, "0events.subscribe", json!({ "topic": topic })).await,
            Err(code::INVALID_PARAMS)
        );
    }
    for n in 0..64 {
        call(&app, "0events.subscribe", json!({ "topic": format!("t{n}") })).await.unwrap();
    }
    assert_eq!(call(&app, "0events.subscribe", json!({ "topic": "one.more" })).await, Err(code::BUSY));
    call(&app, "0events.unsubscribe", json!({ "topic": "t0" })).await.unwrap();
    call(&app, "0events.subscribe", json!({ "topic": "one.more" })).await.unwrap();
}

#[tokio::test]
async fn logs_are_bounded_in_length_and_rate() {
    let limits = Limits { log_lines_per_second: 5, ..Limits::PHONE };
    let policy = Policy { limits, ..Policy::default() };
    let host = host_with(|b| b.policy(policy));
    let app = host.run(&Package::with(&["log"])).await;
    let mut heard = app.notifications();
    call(&app, "0log.write", json!({ "level": "warn", "message": "ä".repeat(4000) })).await.unwrap();
    let first = heard.recv().await.unwrap();
    let Notification::Log { message, .. } = &*first else { panic!("{first:?}") };
    assert_eq!(message.len(), 4096);
    for _ in 0..50 {
        call(&app, "0log.write", json!({ "level": "info", "message": "again" })).await.unwrap();
    }
    let metrics = app.metrics();
    assert_eq!(metrics.log_lines + metrics.log_dropped, 51);
    assert!(metrics.log_dropped >= 40, "{metrics:?}");
    assert_eq!(
        call(&app, "0log.write", json!({ "level": "shout", "message": "" })).await,
        Err(code::INVALID_PARAMS)
    );
}

#[tokio::test]
async fn json_rpc_envelopes() {
    let host = host();
    let app = host.run(&Package::default()).await;
    let rpc = async |text: &str| app.rpc(text).await.map(|t| serde_json::from_str::<Value>(&t).unwrap());
    let answer = rpc(r#"{"jsonrpc":"2.0","id":7,"method":"echo","params":{"a":[1]}}"#).await.unwrap();
    assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": 7, "result": { "a": [1] } }));
    assert_eq!(rpc(r#"{"jsonrpc":"2.0","method":"echo"}"#).await, None, "a notification has no answer");
    let answer = rpc(r#"{"jsonrpc":"2.0","id":"x","method":"nothing"}"#).await.unwrap();
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!("x"), &json!(code::METHOD_NOT_FOUND)));
    assert_eq!(rpc("{").await.unwrap()["error"]["code"], code::PARSE_ERROR);
    rpc(r#"{"jsonrpc":"2.0","id":1,"method":"crash"}"#).await.unwrap();
    let answer = rpc(r#"{"jsonrpc":"2.0","id":2,"method":"echo"}"#).await.unwrap();
    assert_eq!(answer["error"]["data"]["code"], "MPKG-H28");
}

/// What an app says while it starts is said before its host has the instance to listen to.
#[tokio::test]
async fn the_first_listener_hears_what_was_said_before() {
    let host = host();
    let app = host.run(&Package::with(&["log"])).await;
    call(&app, "0log.write", json!({ "level": "info", "message": "early" })).await.unwrap();
    let (mut first, mut second) = (app.notifications(), app.notifications());
    assert!(
        matches!(first.try_recv().as_deref(), Some(Notification::Log { message, .. }) if message == "early")
    );
    assert!(second.try_recv().is_none(), "a later one begins when it is asked for");
}

/// All apps have one disk.
#[tokio::test]
async fn who_writes_too_much_is_told_when_to_go_on() {
    let policy = Policy { disk_bytes_per_second: 1000.try_into().unwrap(), ..Policy::default() };
    let host = host_with(|b| b.policy(policy).permissions(StaticPermissions::allow_all()));
    let app = host.run(&Package::with(&["storage", "files"])).await;
    let text = "x".repeat(5000);
    call(&app, "0storage.set", json!({ "key": "a", "value": text })).await.unwrap();
    for (method, params) in [
        ("0storage.set", json!({ "key": "b", "value": text })),
        ("0storage.transaction", json!({ "ops": [{ "set": { "key": "b", "value": text } }] })),
        ("1files.write", json!({ "path": "b", "text": text })),
    ] {
        let error = app.call::<Value>(method, &params).await.unwrap_err().into_rpc();
        assert_eq!(error.code, code::BUSY, "{method}: {error}");
        let data = error.data.unwrap();
        assert_eq!(data["limit"], json!("rate"));
        assert!(data["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0 && wait < 4000), "{data}");
    }
    assert_eq!(app.metrics().limits_met[&Limit::Rate], 3);
    call(&app, "1files.write", json!({ "path": "b", "text": "little" })).await.unwrap();
    let stored = call(&app, "0storage.list", json!({})).await.unwrap();
    assert_eq!(stored["keys"], json!(["a"]), "nothing was half done");
}
