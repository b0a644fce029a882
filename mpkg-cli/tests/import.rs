//! `mpkg import`: W3C MiniApp packages, friendly, sloppy and hostile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::io::{Cursor, Write};
use std::path::PathBuf;

use common::{Place, settings, transcript};
use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MANIFEST: &str = r#"{
  "app_id": "org.example.miniapp", "name": "MiniApp", "pages": ["pages/home"],
  "version": { "name": "1.0.0", "code": 1 }, "platform_version": { "min_code": 1 },
  "icons": [{ "src": "common/icon.png", "sizes": "48x48" }]
}"#;

/// A deflated archive.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::DEFAULT.compression_method(CompressionMethod::Deflated);
    for (name, data) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn import(place: &Place, file: &str, out: &str) -> Value {
    serde_json::from_str(&place.ok(&["import", file, "--out", out, "--format", "json"])).unwrap()
}

/// The notes of one fate.
fn notes<'a>(report: &'a Value, fate: &str) -> Vec<&'a str> {
    let notes = report["notes"].as_array().unwrap().iter().filter(|note| note["fate"] == fate);
    notes.map(|note| note["what"].as_str().unwrap()).collect()
}

fn corpus() -> Option<Vec<PathBuf>> {
    let Some(corpora) = std::env::var_os("MPKG_CORPORA") else {
        eprintln!("SKIPPED: MPKG_CORPORA is not set, so no W3C package is imported");
        return None;
    };
    let folder = PathBuf::from(corpora).join("w3c-miniapp");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "ma"));
    files.sort();
    assert_eq!(files.len(), 9, "{}", folder.display());
    Some(files)
}

#[test]
fn every_w3c_package_is_imported_with_a_report() {
    let Some(files) = corpus() else { return };
    for file in files {
        let place = Place::new();
        let report = import(&place, file.to_str().unwrap(), "app");
        let name = file.file_name().unwrap().to_str().unwrap();
        let manifest = String::from_utf8(place.read("app/manifest.json")).unwrap();
        let parsed = mpkg_manifest::Manifest::parse(manifest.as_bytes())
            .unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        assert_eq!(parsed.manifest.app_id.as_str(), "org.example.miniapp", "{name}");
        assert_eq!(parsed.manifest.pages[0].as_str(), "pages/home", "{name}: the page that is there");
        assert!(place.path(&format!("app/{}", parsed.manifest.icons[0].src.as_str())).is_file(), "{name}");
        for note in report["notes"].as_array().unwrap() {
            let section = &note["section"];
            assert!(
                section["url"].as_str().unwrap().starts_with("https://www.w3.org/TR/miniapp-"),
                "{name}: {note:#}"
            );
            assert!(section["number"].is_string() && section["title"].is_string(), "{name}: {note:#}");
        }
        assert!(notes(&report, "repaired").iter().any(|note| note.contains("src/")), "{name}: {report:#}");
        assert!(
            notes(&report, "repaired").iter().any(|note| note.contains("pages/home/home")),
            "{name}: {report:#}"
        );
        assert!(notes(&report, "lost").iter().any(|note| note.contains("test.jsonld")), "{name}: {report:#}");
        assert!(!notes(&report, "by_hand").is_empty(), "{name}");
        if name == "mnf-window-background-color.ma" {
            assert_eq!(parsed.manifest.window.background_color.as_str(), "#00FF00");
        }
    }
}

#[test]
fn no_w3c_package_passes_for_one_of_ours() {
    let Some(files) = corpus() else { return };
    let place = Place::new();
    place.ok(&["keys", "generate", "--out", "key.pem"]);
    for file in files {
        let file = file.to_str().unwrap();
        let args = ["verify", file, "--unsigned", "--format", "json"];
        let output = place.mpkg().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", transcript(&output));
        let verdict: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(verdict["verdict"], "reject", "{file}");
        assert!(verdict["code"].as_str().unwrap().starts_with("MPKG-Z"), "{file}: {verdict}");
        assert!(verdict["message"].is_string(), "{file}");
        assert_eq!(place.status(&["verify", file, "--trust", "key.pem.pub"]), 3, "{file}");
    }
}

#[test]
fn a_sloppy_package_is_repaired_line_by_line() {
    let place = Place::new();
    let manifest = r#"{
      "app_id": "MiniShop", "name": "Shop", "lang": "en_GB", "dir": "sideways", "mpkg": 1, "acme_x": { "kept": true },
      "pages": ["/pages/home.html", "pages/cart", "pages/nowhere"],
      "version": { "name": "v1.2", "code": "7" }, "platform_version": { "min_code": 3 },
      "icons": [{ "src": "./common/icon.png", "sizes": "large" }, { "src": "common/missing.png" }, { "label": "none" }],
      "req_permissions": [{ "name": "system.permission.LOCATION" }, { "name": "telepathy" }, { "name": "network" }],
      "window": { "background_color": "red", "orientation": "diagonal" },
      "widgets": [{ "name": "W", "path": "../etc" }]
    }"#;
    let bytes = archive(&[
        ("manifest.json", format!("\u{feff}{manifest}").as_bytes()),
        ("app.js", b"// logic"),
        ("app.css", b".a {}"),
        ("pages/home.html", b"<template/>"),
        ("pages/shop/cart.html", b"<template/>"),
        ("common/icon.png", b"png"),
        ("common/gr\u{f6}\u{df}e.png", b"png"),
        ("common/lib.js", b"// lib"),
        ("i18n/en.json", b"{}"),
        (".DS_Store", b"?"),
    ]);
    place.write("shop.ma", bytes);
    let output = place.mpkg().args(["import", "shop.ma", "--out", "shop"]).output().unwrap();
    settings().bind(|| insta::assert_snapshot!("sloppy", transcript(&output)));
    insta::assert_snapshot!("sloppy-manifest", String::from_utf8(place.read("shop/manifest.json")).unwrap());
    insta::assert_snapshot!("sloppy-program", String::from_utf8(place.read("shop/src/index.js")).unwrap());
    assert!(place.path("shop/sdk/js/package.json").is_file());
    assert_eq!(
        place.read("shop/w3c/manifest.json"),
        format!("\u{feff}{manifest}").as_bytes(),
        "kept as it was"
    );
}

#[test]
fn next_to_nothing_is_enough() {
    let place = Place::new();
    place.write("empty.ma", archive(&[("deep/er/manifest.json", b"{}")]));
    let report = import(&place, "empty.ma", "app");
    assert!(notes(&report, "by_hand").len() > 5, "{report:#}");
    mpkg_manifest::Manifest::parse(&place.read("app/manifest.json")).unwrap();
    assert!(place.path("app/assets/icon.svg").is_file());
}

/// Whatever is in the manifest: a manifest of ours comes out, or a refusal, never a crash.
#[test]
fn any_member_may_be_anything() {
    let place = Place::new();
    let good: Value = serde_json::from_str(MANIFEST).unwrap();
    let members = [
        "app_id",
        "name",
        "short_name",
        "description",
        "lang",
        "dir",
        "version",
        "platform_version",
        "icons",
    ]
    .iter()
    .chain(&["pages", "color_scheme", "device_type", "req_permissions", "widgets", "window", "mpkg"]);
    for (index, member) in members.enumerate() {
        let values = [r#"null"#, "7", r#""""#, r#""x""#, "[]", r#"[null, 7, {}, "x"]"#, "{}", r#"[[]]"#];
        let value: Value = serde_json::from_str(values[index % values.len()]).unwrap();
        for value in [value, serde_json::json!([{}])] {
            let mut manifest = good.clone();
            manifest[*member] = value.clone();
            place.write("any.ma", archive(&[("manifest.json", manifest.to_string().as_bytes())]));
            let out = format!("{member}-{}", value.to_string().len());
            let _ = std::fs::remove_dir_all(place.path(&out));
            let report = import(&place, "any.ma", &out);
            let written = place.read(&format!("{out}/manifest.json"));
            assert!(mpkg_manifest::Manifest::parse(&written).is_ok(), "{member} = {value}: {report:#}");
        }
    }
}

#[test]
fn hostile_archives_are_refused_before_anything_is_written() {
    let place = Place::new();
    let good: &[(&str, &[u8])] = &[("manifest.json", MANIFEST.as_bytes())];
    let with = |name: &str, data: &[u8]| archive(&[good, &[(name, data)]].concat());
    let zeros = vec![0; (32 << 20) + 1];
    let many: Vec<String> = (0..4097).map(|number| format!("common/{number}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    // The writer refuses duplicates, so one is made by renaming.
    let mut twice = with("manifest.jsox", b"{}");
    for at in 0..twice.len() - 13 {
        if &twice[at..at + 13] == b"manifest.jsox" {
            twice[at + 12] = b'n';
        }
    }
    let mut damaged = archive(&[("manifest.json", MANIFEST.as_bytes())]);
    damaged[60] ^= 0x55;
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("not-an-archive", b"PK, not".to_vec(), "MPKG-C60"),
        ("empty", Vec::new(), "MPKG-C60"),
        ("damaged", damaged, "MPKG-C60"),
        ("bomb", with("common/zeros", &zeros), "MPKG-C61"),
        ("many-entries", archive(&[good, &many].concat()), "MPKG-C61"),
        ("escaping", with("../escaped.txt", b"x"), "MPKG-C62"),
        ("absolute", with("/etc/cron.d/x", b"x"), "MPKG-C62"),
        ("backslash", with("common\\..\\..\\x", b"x"), "MPKG-C62"),
        (
            "same-in-lower-case",
            archive(&[good, &[("common/a", b"1"), ("common/A", b"2")]].concat()),
            "MPKG-C62",
        ),
        ("twice", twice, "MPKG-C62"),
        ("terminal", with("common/\u{1b}]0;owned\u{7}", b"x"), "MPKG-C62"),
        ("no-manifest", archive(&[("readme.md", b"x")]), "MPKG-C63"),
        ("manifest-is-a-list", archive(&[("manifest.json", b"[]")]), "MPKG-C64"),
        ("manifest-twice-a-key", archive(&[("manifest.json", br#"{"a":1,"a":2}"#)]), "MPKG-J04"),
    ];
    for (name, bytes, code) in cases {
        let file = format!("{name}.ma");
        place.write(&file, bytes);
        let args = ["import", &file, "--out", "out"];
        let output = place.mpkg().args(args).args(["--format", "json"]).output().unwrap();
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(error["error"]["code"], *code, "{name}: {error:#}");
        assert_eq!(output.status.code(), Some(1), "{name}");
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(&args)));
        assert!(!place.path("out").exists(), "{name}");
    }
    assert!(!place.path("../escaped.txt").exists());
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let place = Place::new();
    place.write("good.ma", archive(&[("manifest.json", MANIFEST.as_bytes())]));
    place.write("used/file.txt", "mine");
    let both = place.both(&["import", "good.ma", "--out", "used"]);
    settings().bind(|| insta::assert_snapshot!("bad-used-folder", both));
    assert_eq!(std::fs::read_dir(place.path("used")).unwrap().count(), 1);
}
