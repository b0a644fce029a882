//! `mpkg lint`: each check with an input that triggers it and one that just does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "common/cases.rs"]
mod cases;
mod common;

use std::process::Output;

use cases::{Case, codes, found, merge};
use common::{Place, settings, transcript};
use serde_json::Value;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A manifest that nobody objects to.
const MANIFEST: &str = r#"{
  "app_id": "com.example.proxy",
  "name": "Proxy",
  "description": "Hands every call on to the host.",
  "lang": "en",
  "version": { "code": 3, "name": "1.2.0" },
  "platform_version": { "min_code": 1 },
  "icons": [{ "src": "assets/icon.svg", "sizes": "64x64", "label": "An arrow" }],
  "pages": ["pages/index"],
  "req_permissions": [
    { "name": "storage", "reason": "Remembers what you did." },
    { "name": "cart.write", "reason": "Orders what you chose." }
  ],
  "mpkg": { "component": "app.wasm", "abi": 1 }
}
"#;
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 64 64\"/>\n";

/// The component that hands calls on, with `extra` in its module.
fn component(extra: &str) -> Vec<u8> {
    let text =
        include_str!("fixtures/proxy.wat").trim_end().strip_suffix(')').unwrap().to_owned() + extra + ")";
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let wit = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("mini-app")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// The package of a case. `manifest.merge.json` patches the manifest, `data.txt` goes into the component's memory,
/// `custom.txt` names a custom section of it and its size. Files are named by the manifest, except where that is what
/// the check is about.
fn package(case: &mut Case) -> Vec<u8> {
    let mut manifest: Value = serde_json::from_str(MANIFEST).unwrap();
    if let Some(patch) = case.take("manifest.merge.json") {
        merge(&mut manifest, &serde_json::from_str(&patch).unwrap());
    }
    let mut extra = String::new();
    if let Some(text) = case.take("data.txt") {
        let text = text.trim_end().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        extra.push_str(&format!("(data (i32.const 4096) \"{text}\")"));
    }
    if let Some(custom) = case.take("custom.txt") {
        let (name, size) = custom.trim().split_once(' ').unwrap();
        extra.push_str(&format!("(@custom \"{name}\" \"{}\")", "x".repeat(size.parse().unwrap())));
    }
    let mut files = std::mem::take(&mut case.files);
    if case.code != "MPKG-L10" {
        manifest["acme_files"] = files.keys().cloned().collect();
    }
    files.entry("assets/icon.svg".to_owned()).or_insert_with(|| ICON.into());
    if !manifest["icons"].to_string().contains("assets/icon.svg") {
        files.remove("assets/icon.svg");
    }
    files.insert("app.wasm".to_owned(), component(&extra));
    let mut entries = vec![("manifest.json".to_owned(), serde_json::to_vec_pretty(&manifest).unwrap())];
    entries.extend(files);
    mpkg_package::container::write(&entries).unwrap()
}

fn list(place: &Place) -> Value {
    serde_json::from_str(&place.ok(&["explain", "--list", "--format", "json"])).unwrap()
}

fn lint(place: &Place, args: &[&str]) -> (Output, Value) {
    let output = place.mpkg().arg("lint").args(args).args(["--format", "json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output)));
    (output, report)
}

#[test]
fn each_check_sees_what_it_should_and_no_more() {
    let place = Place::new();
    for mut case in cases::cases("lint", &codes(&list(&place), "MPKG-L")) {
        let name = format!("{}/{}", case.code, case.name);
        place.write("case.mpkg", package(&mut case));
        let (output, report) = lint(&place, &["case.mpkg"]);
        if case.is_hit() {
            assert_eq!(found(&report), [case.code.as_str()], "{name}: {report:#}");
            let finding = &report["findings"][0];
            let failed = finding["severity"] == "error";
            assert_eq!(output.status.code(), Some(i32::from(failed)), "{name}");
            assert_eq!(report["passed"], !failed, "{name}");
            assert!(finding["at"]["file"].is_string() && finding["fix"].is_string(), "{name}: {finding:#}");
            let (strict, _) = lint(&place, &["case.mpkg", "--strict"]);
            assert_eq!(strict.status.code(), Some(1), "{name}");
            let (allowed, report) = lint(&place, &["case.mpkg", "--strict", "--allow", &case.code[5..]]);
            assert_eq!(allowed.status.code(), Some(0), "{name}: {report:#}");
        } else {
            assert!(found(&report).is_empty(), "{name}: {report:#}");
            assert_eq!(output.status.code(), Some(0), "{name}");
        }
    }
}

#[test]
fn each_kind_of_token_is_known_and_none_is_repeated() {
    let place = Place::new();
    let all = cases::cases("lint", &codes(&list(&place), "MPKG-L"));
    let mut case = all.into_iter().find(|case| case.code == "MPKG-L02" && case.name == "hit").unwrap();
    let text = String::from_utf8(case.files["assets/settings.txt"].clone()).unwrap();
    place.write("tokens.mpkg", package(&mut case));
    let (output, report) = lint(&place, &["tokens.mpkg"]);
    assert_eq!(report["findings"].as_array().unwrap().len(), text.lines().count(), "{report:#}");
    let lines: std::collections::BTreeSet<u64> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["at"]["line"].as_u64().unwrap())
        .collect();
    assert_eq!(lines.len(), text.lines().count(), "one for each line");
    let said = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(!said.contains(line), "a report must not repeat a secret");
    }
}

#[test]
fn a_project_is_looked_at_before_it_is_built() {
    let place = Place::new();
    place.write("app/manifest.json", MANIFEST);
    place.write("app/Cargo.toml", "");
    place.write("app/assets/icon.svg", ICON);
    place.write("app/src/lib.rs", format!("const API_KEY: &str = \"{}\";\n", cases::random(32)));
    place.write("app/node_modules/x/index.js", format!("const api_key = '{}';\n", cases::random(32)));
    place.write("app/tests/fake.rs", format!("const API_KEY: &str = \"{}\";\n", cases::random(32)));
    let (output, report) = lint(&place, &["app"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(found(&report), ["MPKG-L04"], "{report:#}");
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report:#}");
    assert_eq!(report["findings"][0]["at"]["file"], "src/lib.rs");
    assert!(report["sizes"]["component"].is_null());
}

#[test]
fn what_people_see() {
    let place = Place::new();
    place.write("app/manifest.json", MANIFEST.replace(", \"reason\": \"Orders what you chose.\"", ""));
    place.write("app/Cargo.toml", "");
    place.write("app/assets/icon.svg", ICON);
    place.write("app/assets/draft.txt", "a draft");
    place.write("app/src/lib.rs", "");
    let output = place.mpkg().args(["lint", "app"]).output().unwrap();
    settings().bind(|| insta::assert_snapshot!("project", transcript(&output)));
    let entries = [
        ("manifest.json", MANIFEST.as_bytes()),
        ("app.wasm", &component("")),
        ("assets/icon.svg", ICON.as_bytes()),
    ];
    place.write("app.mpkg", mpkg_package::container::write(&entries).unwrap());
    let mut settings = settings();
    // Sizes depend on the version of the tools.
    settings.add_filter(r"\d+(\.\d)? (KiB|B)\b", "[SIZE]");
    settings.add_filter(r"\d+ %", "[SHARE]");
    settings.add_filter(r" +\n", "\n");
    settings.bind(|| insta::assert_snapshot!("package", place.ok(&["lint", "app.mpkg"])));
}

#[test]
fn examples_and_templates_are_clean() {
    let place = Place::new();
    place.ok(&["new", "fresh-rust", "--template", "rust", "--id", "com.example.fresh"]);
    place.ok(&["new", "fresh-js", "--template", "js", "--id", "com.example.fresh"]);
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let examples = ["stock-alert", "shopping-cart", "webhook-inbox"].map(|name| examples.join(name));
    let paths = examples.iter().map(|path| path.to_str().unwrap()).chain(["fresh-rust", "fresh-js"]);
    for path in paths {
        let (output, report) = lint(&place, &[path, "--strict"]);
        assert_eq!(output.status.code(), Some(0), "{path}: {report:#}");
    }
}

#[test]
fn bad_input() {
    let place = Place::new();
    place.write("text.mpkg", "this is not a package\n");
    place.write("folder/readme.md", "");
    let cases: &[(&str, &[&str])] = &[
        ("missing", &["lint", "nowhere.mpkg"]),
        ("text", &["lint", "text.mpkg"]),
        ("no-project", &["lint", "folder"]),
        ("unknown-check", &["lint", "text.mpkg", "--allow", "L99"]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
}
