use std::time::Duration;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use mpkg_sdk::Error;
use mpkg_sdk::testing::{FakeHost, Launched, START_MS};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::Inbox;

const SECRET: &[u8] = b"a secret for the tests, 32 bytes";
const OTHER: &[u8] = b"another secret, also 32 bytes ok";
const NOW: i64 = START_MS / 1000;

fn start() -> (FakeHost, Launched<Inbox>) {
    let host = FakeHost::with_manifest(include_str!("../manifest.json"));
    let mut app = Launched::new();
    set_secret(&mut app, SECRET);
    (host, app)
}

fn set_secret(app: &mut Launched<Inbox>, secret: &[u8]) {
    let secret = format!("whsec_{}", BASE64.encode(secret));
    app.call("sources.set", json!({ "source": "shop", "secret": secret })).unwrap();
}

fn webhook(secret: &[u8], id: &str, timestamp: i64, body: &Value) -> Value {
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    json!({ "source": "shop", "id": id, "timestamp": timestamp, "signature": signature, "body": body })
}

fn order(number: u32) -> Value {
    json!({ "order_id": format!("A-{number}"), "total_minor": 100, "currency": "EUR" })
}

fn refusal(result: Result<Value, Error>) -> i32 {
    result.unwrap_err().code()
}

#[test]
fn the_demo_does_what_it_says() {
    let host = FakeHost::with_manifest(include_str!("../manifest.json"));
    host.set_clock_ms(START_MS);
    let mut app = Launched::<Inbox>::new();
    let mut answers = Vec::new();
    for line in include_str!("../demo/orders.jsonl").lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        let answer = app.call(request["method"].as_str().unwrap(), request["params"].clone());
        answers.push(answer.map_err(|error| error.code()));
    }
    let codes: Vec<i32> = answers.iter().map(|answer| answer.as_ref().err().copied().unwrap_or(0)).collect();
    assert_eq!(codes, [0, 0, 0, 0, 0, 0, 4, 2, 3, 5, 0, 0, 0, 0]);
    let taken: Vec<&str> = answers[10].as_ref().unwrap()["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| order["order_id"].as_str().unwrap())
        .collect();
    assert_eq!(taken, ["A-1005", "A-1002", "A-1003"], "urgent, then high in order of arrival");
    let report = answers[13].as_ref().unwrap();
    assert_eq!(report["accepted"], 5);
    assert_eq!(report["refused"], json!({ "forged": 1, "late": 1, "replayed": 1, "malformed": 1 }));
    assert_eq!((&report["done"], &report["waiting"]), (&json!(2), &json!(3)));
}

#[test]
fn a_webhook_is_taken_once_even_after_a_restart() {
    let (_host, mut app) = start();
    let hook = webhook(SECRET, "m1", NOW, &order(1));
    app.call("webhook.receive", hook.clone()).unwrap();
    assert_eq!(refusal(app.call("webhook.receive", hook.clone())), 4);
    app.unload().unwrap();
    let mut app = Launched::<Inbox>::new();
    assert_eq!(refusal(app.call("webhook.receive", hook)), 4);
}

#[test]
fn an_id_is_forgotten_only_when_its_timestamp_is_no_longer_believed() {
    let (host, mut app) = start();
    // From a sender whose clock runs five minutes ahead: believed for ten minutes.
    let ahead = webhook(SECRET, "m1", NOW + 300, &order(1));
    app.call("webhook.receive", ahead.clone()).unwrap();
    for _ in 0..10 {
        assert_eq!(refusal(app.call("webhook.receive", ahead.clone())), 4);
        host.advance(Duration::from_secs(60));
    }
    host.advance(Duration::from_secs(1));
    assert_eq!(refusal(app.call("webhook.receive", ahead)), 3);
    app.call("webhook.receive", webhook(SECRET, "m2", NOW + 600, &order(2))).unwrap();
    let seen: Vec<String> = host.stored_keys().into_iter().filter(|key| key.starts_with("seen/")).collect();
    assert_eq!(seen, ["seen/shop/m2"]);
}

#[test]
fn the_window_is_five_minutes_either_way() {
    let (_host, mut app) = start();
    for (id, timestamp, code) in [
        ("a", NOW - 300, 0),
        ("b", NOW - 301, 3),
        ("c", NOW + 300, 0),
        ("d", NOW + 301, 3),
        ("e", i64::MAX, 3),
    ] {
        let result = app.call("webhook.receive", webhook(SECRET, id, timestamp, &order(1)));
        assert_eq!(result.err().map_or(0, |error| error.code()), code, "{id}");
    }
}

#[test]
fn a_forger_makes_us_store_nothing() {
    let (host, mut app) = start();
    let before = host.stored_keys();
    for id in 0..20 {
        let hook = webhook(OTHER, &format!("m{id}"), NOW, &order(id));
        assert_eq!(refusal(app.call("webhook.receive", hook)), 2);
    }
    assert_eq!(host.stored_keys(), before);
    let report = app.call("report.throughput", json!({})).unwrap();
    assert_eq!(report["refused"]["forged"], 20);
}

#[test]
fn secrets_can_be_changed_without_losing_a_webhook() {
    let (_host, mut app) = start();
    set_secret(&mut app, OTHER);
    app.call("webhook.receive", webhook(SECRET, "m1", NOW, &order(1))).unwrap();
    app.call("webhook.receive", webhook(OTHER, "m2", NOW, &order(2))).unwrap();
    set_secret(&mut app, b"and the third secret of 32 bytes");
    assert_eq!(refusal(app.call("webhook.receive", webhook(SECRET, "m3", NOW, &order(3)))), 2);
}

#[test]
fn an_order_that_nobody_finished_is_handed_out_again() {
    let (host, mut app) = start();
    app.call("webhook.receive", webhook(SECRET, "m1", NOW, &order(1))).unwrap();
    let mut taken =
        |params: Value| app.call("queue.take", params).unwrap()["orders"].as_array().unwrap().len();
    assert_eq!(taken(json!({ "lease_seconds": 30 })), 1);
    assert_eq!(taken(json!({})), 0, "on lease");
    host.advance(Duration::from_secs(30));
    assert_eq!(taken(json!({})), 1);
    app.call("queue.done", json!({ "key": "shop/m1" })).unwrap();
    assert_eq!(refusal(app.call("queue.done", json!({ "key": "shop/m1" }))), 7);
    assert!(!host.stored_keys().iter().any(|key| key.starts_with("order/")));
}

#[test]
fn the_queue_survives_a_restart() {
    let (_host, mut app) = start();
    for (id, number) in [("m1", 1), ("m2", 2)] {
        app.call("webhook.receive", webhook(SECRET, id, NOW, &order(number))).unwrap();
    }
    app.call("queue.take", json!({})).unwrap();
    app.unload().unwrap();
    let mut app = Launched::<Inbox>::new();
    let taken = app.call("queue.take", json!({ "limit": 10 })).unwrap();
    assert_eq!(taken["orders"].as_array().unwrap().len(), 2, "leases do not survive");
    assert_eq!(app.call("report.throughput", json!({})).unwrap()["accepted"], 2);
}

#[test]
fn names_cannot_reach_other_keys() {
    let (_host, mut app) = start();
    let mut hook = webhook(SECRET, "m1", NOW, &order(1));
    hook["source"] = json!("shop/../x");
    assert_eq!(refusal(app.call("webhook.receive", hook.clone())), -32602);
    hook["source"] = json!("nobody");
    assert_eq!(refusal(app.call("webhook.receive", hook)), 1);
    assert_eq!(refusal(app.call("webhook.receive", webhook(SECRET, "a/b", NOW, &order(1)))), -32602);
    assert_eq!(refusal(app.call("queue.take", json!({ "limit": 0 }))), -32602);
    assert_eq!(refusal(app.call("queue.take", json!({ "lease_seconds": 0 }))), -32602);
}
