//! Plays the senders: prints the demo's JSON-RPC lines, signed for now, or for the time given in Unix seconds.
//!
//! ```sh
//! cargo run --example sign | mpkg run webhook-inbox.mpkg --trust … --allow all
//! cargo run --example sign 1767225600 > demo/orders.jsonl
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool for a demo may stop where it is")]

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &[u8] = b"a secret for the demo, 32 bytes.";

#[derive(Default)]
struct Sender {
    lines: u32,
}

fn main() {
    let now = match std::env::args().nth(1) {
        Some(seconds) => seconds.parse().expect("the time is a number of seconds since 1970"),
        None => SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs(),
    };
    let mut sender = Sender::default();
    let order = |number: u32, total: u32| json!({ "order_id": format!("A-{number}"), "total_minor": total, "currency": "EUR" });
    let with = |mut order: Value, member: &str, value: Value| {
        order.as_object_mut().expect("an object").insert(member.into(), value);
        order
    };

    let secret = format!("whsec_{}", BASE64.encode(SECRET));
    sender.line("sources.set", json!({ "source": "shop-eu", "secret": secret }));
    sender.webhook("msg_1", now, &order(1001, 2_590));
    sender.webhook("msg_2", now, &order(1002, 129_900));
    sender.webhook("msg_3", now, &with(order(1003, 1_490), "express", true.into()));
    sender.webhook("msg_4", now, &with(order(1004, 990), "priority", "low".into()));
    sender.webhook("msg_5", now, &with(order(1005, 7_900), "priority", "urgent".into()));
    // Once more, as a thief would.
    sender.webhook("msg_1", now, &order(1001, 2_590));
    // Changed on the way.
    let genuine = signed("msg_6", now, &order(1006, 100));
    let changed = order(1006, 999).to_string();
    sender.line("webhook.receive", with(genuine, "body", changed.into()));
    // Kept back for too long.
    sender.webhook("msg_7", now - 301, &order(1007, 2_590));
    // Genuine, and no order.
    sender.webhook("msg_8", now, &json!({ "hello": "world" }));
    sender.line("queue.take", json!({ "limit": 3 }));
    sender.line("queue.done", json!({ "key": "shop-eu/msg_5" }));
    sender.line("queue.done", json!({ "key": "shop-eu/msg_2" }));
    sender.line("report.throughput", json!({}));
}

impl Sender {
    fn line(&mut self, method: &str, params: Value) {
        self.lines += 1;
        println!("{}", json!({ "jsonrpc": "2.0", "id": self.lines, "method": method, "params": params }));
    }

    fn webhook(&mut self, id: &str, timestamp: u64, body: &Value) {
        let params = signed(id, timestamp, body);
        self.line("webhook.receive", params);
    }
}

fn signed(id: &str, timestamp: u64, body: &Value) -> Value {
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("any length will do");
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    json!({ "source": "shop-eu", "id": id, "timestamp": timestamp, "signature": signature, "body": body })
}
