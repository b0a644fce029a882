use std::time::Duration;

use mpkg_sdk::testing::{FakeHost, Launched, START_MS};
use mpkg_sdk::{Denied, Error};
use serde_json::{Value, json};

use crate::StockAlert;

fn start() -> (FakeHost, Launched<StockAlert>) {
    let host = FakeHost::with_manifest(include_str!("../manifest.json"));
    let app = Launched::new();
    (host, app)
}

fn mugs(app: &mut Launched<StockAlert>, stock: u64) {
    let params = json!({ "sku": "mug", "stock": stock, "lead_time_hours": 24, "pack_size": 12 });
    app.call("inventory.set", params).unwrap();
}

fn sell(app: &mut Launched<StockAlert>, id: u32, quantity: u64) -> Value {
    app.call("orders.add", json!({ "order_id": format!("o{id}"), "sku": "mug", "quantity": quantity }))
        .unwrap()
}

#[test]
fn a_shop_is_warned_in_time() {
    let (host, mut app) = start();
    mugs(&mut app, 200);
    let mut levels = Vec::new();
    for hour in 0..48 {
        let status = sell(&mut app, hour, 4);
        let level = status["level"].as_str().unwrap().to_owned();
        if levels.last() != Some(&level) {
            levels.push(level);
        }
        host.advance(Duration::from_secs(3600));
    }
    assert_eq!(levels, ["ok", "warning", "critical"]);
    let alerts = host.published();
    assert_eq!(alerts.len(), 2, "one message per change of level: {alerts:?}");
    assert_eq!(alerts[1].topic, "stock.alert");
    assert_eq!(alerts[1].data["to"], "critical");
    assert_eq!(alerts[1].data["reorder_units"].as_u64().unwrap() % 12, 0);
}

#[test]
fn the_demo_does_what_it_says() {
    let (host, mut app) = start();
    let answers: Vec<Result<Value, i32>> = include_str!("../demo/shop.jsonl")
        .lines()
        .map(|line| {
            let request: Value = serde_json::from_str(line).unwrap();
            let answer = app.call(request["method"].as_str().unwrap(), request["params"].clone());
            answer.map_err(|error| error.code())
        })
        .collect();
    let errors: Vec<i32> = answers.iter().filter_map(|answer| answer.as_ref().err().copied()).collect();
    assert_eq!(errors, [1, -32602], "an unknown product and an order of nothing");
    let levels: Vec<(String, String)> = host
        .published()
        .iter()
        .map(|alert| (alert.data["sku"].to_string(), alert.data["to"].to_string()))
        .collect();
    let expected = [("mug-blue", "warning"), ("mug-blue", "critical"), ("poster-a2", "out_of_stock")];
    assert_eq!(levels, expected.map(|(sku, to)| (format!("{sku:?}"), format!("{to:?}"))));
}

#[test]
fn a_viral_spike_shortens_what_is_left() {
    let (host, mut app) = start();
    mugs(&mut app, 200);
    for hour in 0..12 {
        sell(&mut app, hour, 2);
        host.advance(Duration::from_secs(3600));
    }
    let calm = app
        .call("metrics.report", json!({ "sku": "mug", "views_per_hour": 120, "engagement_permille": 40 }))
        .unwrap();
    let viral = app
        .call("metrics.report", json!({ "sku": "mug", "views_per_hour": 2400, "engagement_permille": 90 }))
        .unwrap();
    assert_eq!((calm["level"].as_str(), calm["boost_milli"].as_u64()), (Some("ok"), Some(1000)));
    assert_eq!((viral["level"].as_str(), viral["boost_milli"].as_u64()), (Some("critical"), Some(5000)));
    assert_eq!(calm["velocity_milli"], viral["velocity_milli"], "sold is sold");

    host.advance(Duration::from_secs(6 * 3600));
    let over = app.call("stock.status", json!({ "sku": "mug" })).unwrap();
    assert_eq!(over["boost_milli"], 1000);
}

#[test]
fn an_order_counts_when_it_was_placed() {
    let (_host, mut app) = start();
    mugs(&mut app, 500);
    let mut add = |id: &str, minutes_ago: u64| {
        let order = json!({ "order_id": id, "sku": "mug", "quantity": 10, "minutes_ago": minutes_ago });
        app.call("orders.add", order).unwrap()["velocity_milli"].as_u64().unwrap()
    };
    let old = add("a", 60 * 48);
    assert!(add("b", 10) > 5 * old);
    assert_eq!(add("c", 60 * 24 * 365), add("d", 60 * 24 * 365), "last year says nothing");
}

#[test]
fn an_order_counts_once() {
    let (_host, mut app) = start();
    mugs(&mut app, 100);
    sell(&mut app, 1, 10);
    assert_eq!(sell(&mut app, 1, 10)["stock"], 90);
    assert_eq!(sell(&mut app, 2, 10)["stock"], 80);
}

#[test]
fn everything_survives_a_restart() {
    let (host, mut app) = start();
    mugs(&mut app, 10);
    sell(&mut app, 1, 9);
    let before = app.call("stock.status", json!({ "sku": "mug" })).unwrap();
    app.unload().unwrap();

    let mut app = Launched::<StockAlert>::new();
    assert_eq!(app.call("stock.status", json!({ "sku": "mug" })).unwrap(), before);
    assert_eq!(sell(&mut app, 1, 9)["stock"], 1, "the order is remembered too");
    sell(&mut app, 2, 1);
    let alerts = app.call("alerts.history", json!({ "sku": "mug" })).unwrap();
    let levels: Vec<&str> =
        alerts["alerts"].as_array().unwrap().iter().map(|a| a["to"].as_str().unwrap()).collect();
    assert_eq!(levels, ["out_of_stock", "critical"], "newest first");
    assert_eq!(alerts["alerts"][0]["at_ms"], START_MS);
    assert_eq!(host.stored_keys().iter().filter(|key| key.starts_with("alert/")).count(), 2);
}

#[test]
fn events_of_the_host_do_what_calls_do() {
    let (host, mut app) = start();
    assert_eq!(host.topics(), ["inventory.changed", "metrics.reported", "orders.placed"]);
    let message = |topic: &str, data: Value| json!({ "topic": topic, "data": data, "id": "1" });
    app.notify("events.message", message("inventory.changed", json!({ "sku": "mug", "stock": 5 }))).unwrap();
    let order = json!({ "order_id": "a", "sku": "mug", "quantity": 2 });
    app.notify("events.message", message("orders.placed", order)).unwrap();
    assert_eq!(app.call("stock.status", json!({ "sku": "mug" })).unwrap()["stock"], 3);

    app.notify("events.message", message("weather", json!("rain"))).unwrap();
    assert!(app.notify("events.message", message("orders.placed", json!({ "sku": 1 }))).is_err());
    assert!(host.logs().iter().any(|(_, line)| line.contains("ignored a message of orders.placed")));
}

#[test]
fn the_most_urgent_product_comes_first() {
    let (_host, mut app) = start();
    for (sku, stock) in [("calm", 1000), ("gone", 0), ("soon", 30)] {
        app.call("inventory.set", json!({ "sku": sku, "stock": stock })).unwrap();
    }
    app.call("orders.add", json!({ "order_id": "1", "sku": "soon", "quantity": 3 })).unwrap();
    let overview = app.call("stock.overview", Value::Null).unwrap();
    let order: Vec<&str> =
        overview["products"].as_array().unwrap().iter().map(|p| p["sku"].as_str().unwrap()).collect();
    assert_eq!(order, ["gone", "soon", "calm"]);
}

#[test]
fn mistakes_are_named() {
    let (_host, mut app) = start();
    mugs(&mut app, 5);
    let mut field = |method: &str, params: Value| match app.call(method, params) {
        Err(Error::InvalidParams { field, .. }) => field.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert_eq!(field("orders.add", json!({ "order_id": "1", "sku": "mug" })), "quantity");
    assert_eq!(field("orders.add", json!({ "order_id": "1", "sku": "mug", "quantity": -1 })), "quantity");
    assert_eq!(field("orders.add", json!({ "order_id": "1", "sku": "mug", "quantity": 0 })), "quantity");
    assert_eq!(field("orders.add", json!({ "order_id": "", "sku": "mug", "quantity": 1 })), "order_id");
    let future = json!({ "order_id": "1", "sku": "mug", "quantity": 1, "at_ms": START_MS + 600_000 });
    assert_eq!(field("orders.add", future), "at_ms");
    let both = json!({ "order_id": "1", "sku": "mug", "quantity": 1, "at_ms": START_MS, "minutes_ago": 5 });
    assert_eq!(field("orders.add", both), "minutes_ago");
    assert_eq!(field("inventory.set", json!({ "sku": "mug", "stock": 1, "pack_size": 0 })), "pack_size");
    assert_eq!(field("inventory.set", json!({ "sku": "x".repeat(65), "stock": 1 })), "sku");
    assert_eq!(field("alerts.history", json!({ "limit": 0 })), "limit");
    let metrics = json!({ "sku": "mug", "views_per_hour": 1, "engagement_permille": 1001 });
    assert_eq!(field("metrics.report", metrics), "engagement_permille");
    assert_eq!(app.call("stock.status", json!({ "sku": "cup" })).unwrap_err().code(), 1);
    assert_eq!(app.call("stock.sattus", json!({})).unwrap_err().code(), -32601);
}

#[test]
fn full_storage_leaves_memory_and_disk_agreeing() {
    let (host, mut app) = start();
    mugs(&mut app, 100);
    host.set_quota(10);
    let refused = app.call("orders.add", json!({ "order_id": "1", "sku": "mug", "quantity": 1 }));
    assert!(matches!(refused, Err(Error::QuotaExceeded { .. })), "{refused:?}");
    assert_eq!(app.call("stock.status", json!({ "sku": "mug" })).unwrap()["stock"], 100);
}

#[test]
fn a_revoked_permission_reaches_the_caller() {
    let (host, mut app) = start();
    host.deny("storage", Denied::Revoked);
    let refused = app.call("inventory.set", json!({ "sku": "mug", "stock": 1 })).unwrap_err();
    assert!(matches!(refused, Error::PermissionDenied { reason: Denied::Revoked, .. }), "{refused:?}");
}
