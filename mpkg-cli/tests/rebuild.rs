//! `mpkg verify --rebuild`, with the real toolchain. Skipped, saying so, where node is missing; an error with CI=true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Place, settings, transcript};
use serde_json::Value;

fn has_node() -> bool {
    if Command::new("node").arg("--version").output().is_ok() {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "node is missing");
    eprintln!("SKIPPED: node is missing");
    false
}

fn mpkg(place: &Place, args: &[&str]) -> Output {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest-toolchain");
    let toolchain = std::env::var_os("MPKG_TOOLCHAIN").map_or(own, PathBuf::from);
    place.mpkg().env("MPKG_TOOLCHAIN", toolchain).args(args).output().unwrap()
}

#[test]
fn a_package_comes_from_its_source_and_from_no_other() {
    if !has_node() {
        return;
    }
    let place = Place::new();
    place.ok(&["new", "app", "--template", "js", "--id", "com.example.notes"]);
    place.ok(&["new", "clone", "--template", "js", "--id", "com.example.notes", "--name", "App"]);
    place.ok(&["keys", "generate", "--out", "key.pem"]);
    let built = mpkg(&place, &["build", "app", "-o", "app.mpkg"]);
    assert!(built.status.success(), "{}", transcript(&built));
    place.ok(&["sign", "app.mpkg", "--key", "key.pem"]);

    // Another folder, the same source: signed or not, the bytes are the same.
    let args = ["verify", "app.mpkg", "--rebuild", "clone", "--format", "json"];
    let same = mpkg(&place, &args);
    assert_eq!(same.status.code(), Some(0), "{}", transcript(&same));
    let report: Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(report["rebuilt"], true);
    assert!(report["publisher"].is_null() && !report["tools"].as_array().unwrap().is_empty(), "{report:#}");

    // One character more.
    let source = String::from_utf8(place.read("clone/src/index.js")).unwrap();
    place.write("clone/src/index.js", source.replace("LONGEST = 280", "LONGEST = 281"));
    let other = mpkg(&place, &[&args[..4], &["--trust", "key.pem.pub", "--format", "json"]].concat());
    assert_eq!(other.status.code(), Some(3), "{}", transcript(&other));
    let error: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert_eq!(error["error"]["code"], "MPKG-C65");
    assert_eq!(error["error"]["differences"][0]["file"], "app.wasm", "{error:#}");
    assert!(error["error"]["message"].as_str().unwrap().contains("app.wasm differs from byte"), "{error:#}");
    assert!(!error["error"]["tools"].as_array().unwrap().is_empty(), "{error:#}");

    // Without trust in the signer nothing is built.
    place.ok(&["keys", "generate", "--out", "other.pem"]);
    let untrusted = mpkg(&place, &["verify", "app.mpkg", "--rebuild", "nowhere", "--trust", "other.pem.pub"]);
    assert_eq!(untrusted.status.code(), Some(3), "{}", transcript(&untrusted));
}

#[test]
fn bad_input() {
    let place = Place::with_package();
    place.write("text.mpkg", "this is not a package\n");
    let cases: &[(&str, &[&str])] = &[
        ("no-source", &["verify", "app.mpkg", "--rebuild", "nowhere"]),
        ("no-package", &["verify", "text.mpkg", "--rebuild", "nowhere"]),
        ("with-unsigned", &["verify", "app.mpkg", "--rebuild", "nowhere", "--unsigned"]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
}
