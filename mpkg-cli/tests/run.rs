//! `mpkg run`, with a guest that hands every call on to a bridge.

#![cfg(feature = "run")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::io::Write;
use std::process::{Output, Stdio};

use common::{MANIFEST, Place, component, pack, settings, transcript};
use serde_json::{Value, json};

const ADD: &str = r#"{"sku":"tea","name":"Tea","quantity":2,"unit_price_minor":450}"#;

fn call(place: &Place, args: &[&str]) -> Value {
    let text = place.ok(&[&["run", "app.mpkg", "--format", "json"], args].concat());
    serde_json::from_str(&text).unwrap()
}

fn session(place: &Place, args: &[&str], lines: &str) -> Output {
    let mut child = place
        .mpkg()
        .args([&["run", "app.mpkg"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The program may have ended already.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    child.wait_with_output().unwrap()
}

/// The package, with `cart.write` asked for at first use only.
fn optional() -> Place {
    let place = Place::new();
    let manifest = MANIFEST.replace("\"abi\": 1", "\"abi\": 1, \"optional_permissions\": [\"cart.write\"]");
    place.write("app.mpkg", pack(&manifest, &component()));
    place
}

#[test]
fn a_call_gives_its_result() {
    let place = Place::with_package();
    let text = place.ok(&["run", "app.mpkg", "--allow", "all", "--call", "cart.add", "--params", ADD]);
    let cart: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(cart["total_minor"], 900);
    let called = call(&place, &["--allow", "all", "--call", "cart.add", "--params", ADD]);
    assert_eq!(called["result"], cart);
    assert_eq!(called["permissions"], json!(["storage", "cart.write"]));
    assert!(called["times"]["launch_ms"].as_f64().unwrap() > 0.0);
    assert!(called["memory"]["peak_bytes"].as_u64().unwrap() >= 2 * 65536);
}

#[test]
fn a_session_answers_line_by_line() {
    let place = Place::with_package();
    let lines = format!(
        "{}\n\n{}\nnonsense\n{}\n{}\n",
        json!({ "jsonrpc": "2.0", "id": 1, "method": "cart.add", "params": serde_json::from_str::<Value>(ADD).unwrap() }),
        json!({ "jsonrpc": "2.0", "method": "storage.set", "params": { "key": "k", "value": "a notification" } }),
        json!({ "jsonrpc": "2.0", "id": "two", "method": "storage.get", "params": { "key": "k" } }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "cart.checkout" }),
    );
    let output = session(&place, &["--allow", "all"], &lines);
    settings().bind(|| insta::assert_snapshot!("session", transcript(&output)));
    // The last line needs no line break.
    let output = session(&place, &["--allow", "all"], r#"{"jsonrpc":"2.0","id":1,"method":"storage.usage"}"#);
    assert!(String::from_utf8(output.stdout).unwrap().contains(r#""keys":0"#));
}

#[test]
fn a_required_permission_comes_first() {
    let place = Place::with_package();
    for (name, args) in [
        ("nothing-allowed", &["run", "app.mpkg", "--call", "storage.usage"][..]),
        ("one-allowed", &["run", "app.mpkg", "--allow", "storage", "--call", "storage.usage"]),
        (
            "one-denied",
            &["run", "app.mpkg", "--allow", "all", "--deny", "cart.write", "--call", "storage.usage"],
        ),
    ] {
        assert_eq!(place.status(args), 3, "{name}");
        settings().bind(|| insta::assert_snapshot!(name, place.both(args)));
    }
}

#[test]
fn an_optional_permission_is_asked_for_at_first_use() {
    let place = optional();
    let args = ["run", "app.mpkg", "--allow", "storage", "--call", "cart.add", "--params", ADD];
    assert_eq!(place.status(&args), 1);
    settings().bind(|| insta::assert_snapshot!("optional-denied", place.both(&args)));
    let granted = call(&place, &["--allow", "storage,cart.write", "--call", "cart.add", "--params", ADD]);
    assert_eq!(granted["result"]["total_minor"], 900);
}

#[test]
fn data_stays_where_it_is_told_to() {
    let place = Place::with_package();
    let set = [
        "--allow",
        "all",
        "--data",
        "data",
        "--call",
        "storage.set",
        "--params",
        r#"{"key":"k","value":[1,2]}"#,
    ];
    call(&place, &set);
    let get = ["--allow", "all", "--data", "data", "--call", "storage.get", "--params", r#"{"key":"k"}"#];
    assert_eq!(call(&place, &get)["result"], json!({ "value": [1, 2], "found": true }));
    let other = [&get[..], &["--user", "somebody-else"]].concat();
    assert_eq!(call(&place, &other)["result"]["found"], false);
    let elsewhere = ["--allow", "all", "--call", "storage.get", "--params", r#"{"key":"k"}"#];
    assert_eq!(call(&place, &elsewhere)["result"]["found"], false);
}

/// As in a Super App: an app that takes the id for a name is found out here.
#[test]
fn an_app_learns_a_pseudonym_not_the_users_name() {
    let place = Place::with_permission("user.profile");
    let profile = |user| {
        let args = ["--allow", "all", "--data", "data", "--user", user, "--call", "user.profile"];
        call(&place, &[&args[..], &["--params", "{}"]].concat())["result"].clone()
    };
    let ada = profile("ada");
    assert_eq!(ada["display_name"], "Ada Example");
    let id = ada["id"].as_str().unwrap();
    assert!(id.len() == 32 && !id.contains("ada"), "{id}");
    assert_eq!(profile("ada")["id"], id, "it stays");
    assert_ne!(profile("bob")["id"], id);
}

#[test]
fn every_engine_gives_the_same_answer() {
    let place = Place::with_package();
    let answers: Vec<Value> = ["auto", "cranelift", "winch", "pulley"]
        .iter()
        .map(|engine| {
            call(&place, &["--engine", engine, "--allow", "all", "--call", "cart.add", "--params", ADD])
        })
        .map(|called| called["result"].clone())
        .collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
}

#[test]
fn trust_is_checked_when_asked_for() {
    let place = Place::with_package();
    place.ok(&["keys", "generate", "--out", "other.pem"]);
    place.ok(&["sign", "app.mpkg", "--key", "key.pem"]);
    let run = |trust| ["run", "app.mpkg", "--allow", "all", "--trust", trust, "--call", "storage.usage"];
    assert_eq!(place.status(&run("key.pem.root.json")), 0);
    assert_eq!(place.status(&run("other.pem.root.json")), 3);
    let mut bytes = place.read("app.mpkg");
    bytes[100] ^= 1;
    place.write("app.mpkg", bytes);
    assert_eq!(place.status(&run("key.pem.root.json")), 3);
    // Without trust the rules of the format hold all the same.
    assert_eq!(place.status(&["run", "app.mpkg", "--allow", "all", "--call", "storage.usage"]), 3);
}

#[test]
fn a_detached_signature_is_enough() {
    let place = Place::with_package();
    place.ok(&["sign", "app.mpkg", "--key", "key.pem", "--detached"]);
    let args = ["run", "app.mpkg", "--allow", "all", "--trust", "key.pem.pub", "--call", "storage.usage"];
    assert_eq!(place.status(&args), 0);
}

#[test]
fn bad_input() {
    let place = Place::with_package();
    place.write("text.mpkg", "this is not a package\n");
    let package = place.read("app.mpkg");
    place.write("truncated.mpkg", &package[..package.len() / 2]);
    place.write("unknown-permission.mpkg", pack(&MANIFEST.replace("cart.write", "cart.wirte"), &component()));
    place.write("loyalty.mpkg", {
        let manifest = MANIFEST.replace(
            "{ \"name\": \"cart.write\" }",
            "{ \"name\": \"cart.write\" }, { \"name\": \"host.loyalty\" }",
        );
        pack(&manifest, &component())
    });
    place.write("data", "a file, not a folder");
    let call = ["--allow", "all", "--call", "storage.usage"];
    let cases: &[(&str, &[&str])] = &[
        ("missing", &["run", "missing.mpkg"]),
        ("text", &["run", "text.mpkg"]),
        ("truncated", &["run", "truncated.mpkg"]),
        ("unknown-permission", &["run", "unknown-permission.mpkg"]),
        ("unsupported-permission", &["run", "loyalty.mpkg", "--allow", "all", "--call", "storage.usage"]),
        ("params-not-json", &["run", "app.mpkg", "--call", "storage.usage", "--params", "{sku:1}"]),
        ("params-a-number", &["run", "app.mpkg", "--call", "storage.usage", "--params", "7"]),
        ("allow-misspelt", &["run", "app.mpkg", "--allow", "cart.wirte"]),
        ("trust-missing", &["run", "app.mpkg", "--trust", "nowhere.pem"]),
        ("unknown-method", &["run", "app.mpkg", "--allow", "all", "--call", "storage.steal"]),
        (
            "bad-params",
            &["run", "app.mpkg", "--allow", "all", "--call", "storage.get", "--params", "{\"kye\":1}"],
        ),
        ("data-is-a-file", &[&["run", "app.mpkg", "--data", "data"], &call[..]].concat()),
        ("memory-zero", &["run", "app.mpkg", "--memory", "0"]),
        ("unsigned-but-trusted", &["run", "app.mpkg", "--trust", "key.pem.pub"]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
}
