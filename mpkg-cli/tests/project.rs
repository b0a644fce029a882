//! `mpkg new` and what `mpkg build` says before any compiler runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{MANIFEST, Place, settings};
use serde_json::Value;

/// Five mistakes, each of another kind.
const FIVE_MISTAKES: &str = r#"{
  "app_id": "Hello World",
  "name": "Five mistakes",
  "icons": [{ "src": "../icon.svg" }],
  "pages": ["pages/index"],
  "platform_version": { "min_code": 1 },
  "version": { "code": 0, "name": "1.0.0" },
  "req_permissions": [{ "name": "cart.wirte" }],
  "mpkg": { "component": "app.wasm", "abi": 1, "storge": { "quota_bytes": 1024 } }
}
"#;

#[test]
fn a_new_project_has_all_it_needs() {
    let place = Place::new();
    for (template, marker) in [("rust", "Cargo.toml"), ("js", "package.json")] {
        let dir = format!("my-{template}");
        let args =
            ["new", &dir, "--template", template, "--id", "com.example.my-app", "--name", "Say \"hi\""];
        settings().bind(|| insta::assert_snapshot!(format!("new-{template}"), place.ok(&args)));
        let read = |name: &str| String::from_utf8(place.read(&format!("{dir}/{name}"))).unwrap();
        let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
        assert_eq!(manifest["app_id"], "com.example.my-app");
        assert_eq!(manifest["name"], "Say \"hi\"");
        mpkg_manifest::Manifest::parse(read("manifest.json").as_bytes()).unwrap();
        assert!(read(marker).contains("my-app"));
        assert!(place.path(&format!("{dir}/.gitignore")).is_file());
        assert!(place.path(&format!("{dir}/assets/icon.svg")).is_file());
        for entry in walkdir::WalkDir::new(place.path(&dir)) {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            assert!(!name.ends_with(".in") && !["target", "node_modules"].contains(&name.as_str()), "{name}");
            if entry.file_type().is_file() && !entry.path().components().any(|part| part.as_os_str() == "sdk")
            {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                assert!(!text.contains("{{"), "{name} has an empty place");
            }
        }
    }
    assert!(place.path("my-rust/sdk/rust/Cargo.toml").is_file());
    assert!(place.path("my-rust/sdk/wit/bridge.wit").is_file());
    assert!(place.path("my-js/sdk/js/package.json").is_file());
}

#[test]
fn an_empty_folder_will_do() {
    let place = Place::new();
    std::fs::create_dir(place.path("empty")).unwrap();
    place.ok(&["new", "empty", "--template", "rust", "--id", "com.example.app"]);
}

#[test]
fn bad_input_to_new() {
    let place = Place::new();
    place.write("used/file.txt", "mine");
    place.write("file", "mine");
    let cases: &[(&str, &[&str])] = &[
        ("used-folder", &["new", "used", "--template", "rust", "--id", "com.example.app"]),
        ("file", &["new", "file", "--template", "rust", "--id", "com.example.app"]),
        ("bad-id", &["new", "app", "--template", "rust", "--id", "Hello World"]),
        ("no-template", &["new", "app", "--id", "com.example.app"]),
        ("no-id", &["new", "app", "--template", "js"]),
        ("bad-name", &["new", "app", "--template", "js", "--id", "com.example.app", "--name", "  "]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("new-bad-{name}"), place.both(args)));
    }
    assert_eq!(std::fs::read_dir(place.path("used")).unwrap().count(), 1);
    assert!(!place.path("app").exists());
}

#[test]
fn bad_input_to_build() {
    let place = Place::new();
    place.write("five/Cargo.toml", "[package]\nname = \"five\"\n");
    place.write("five/manifest.json", FIVE_MISTAKES);
    place.write("unknown/package.json", "{}");
    place.write("unknown/manifest.json", MANIFEST.replace("cart.write", "cart.wirte"));
    place.write("syntax/Cargo.toml", "");
    place.write("syntax/manifest.json", "{\n  \"app_id\": \"com.example.app\",\n  \"name\": oops\n}\n");
    place.write("latin/Cargo.toml", "");
    place.write("latin/manifest.json", b"{\n  \"name\": \"Caf\xe9\"\n}\n");
    place.write("twice/Cargo.toml", "");
    place.write(
        "twice/manifest.json",
        MANIFEST.replace("\"name\": \"Proxy\"", "\"name\": \"Proxy\", \"name\": \"Other\""),
    );
    place.write("nothing/readme.md", "");
    place.write("no-manifest/Cargo.toml", "");
    place.write("good/Cargo.toml", "");
    place.write("good/manifest.json", MANIFEST);
    let cases: &[(&str, &[&str])] = &[
        ("five-mistakes", &["build", "five"]),
        ("unknown-permission", &["build", "unknown"]),
        ("syntax", &["build", "syntax"]),
        ("not-utf8", &["build", "latin"]),
        ("duplicate-key", &["build", "twice"]),
        ("not-a-project", &["build", "nothing"]),
        ("no-folder", &["build", "nowhere"]),
        ("no-manifest", &["build", "no-manifest"]),
        ("output-folder-missing", &["build", "good", "-o", "no/such/folder/app.mpkg"]),
        ("output-is-a-folder", &["build", "good", "-o", "nothing"]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("build-bad-{name}"), place.both(args)));
    }
}

#[cfg(unix)]
#[test]
fn a_link_among_the_assets_is_refused() {
    let place = Place::new();
    place.write("app/Cargo.toml", "");
    place.write("app/manifest.json", MANIFEST);
    place.write("app/assets/icon.svg", "<svg/>");
    std::os::unix::fs::symlink("/etc/hostname", place.path("app/assets/secret.txt")).unwrap();
    settings().bind(|| insta::assert_snapshot!("build-bad-link", place.both(&["build", "app"])));
}
