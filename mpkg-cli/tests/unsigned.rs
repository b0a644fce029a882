//! `mpkg verify --unsigned`: a verdict on any file at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use common::{MANIFEST, Place, component, pack, settings};
use serde_json::Value;

/// Exit status and what it printed, which must be JSON. It must not take long, whatever the file.
fn judge(place: &Place, file: &str) -> (i32, Value) {
    let mut command = place.mpkg();
    command.args(["verify", file, "--unsigned", "--list", "--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{file} is still being judged");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    let value: Value = serde_json::from_slice(&stdout).unwrap();
    (status.code().unwrap(), value)
}

/// The code and place of a refusal.
fn refused(place: &Place, file: &str) -> (String, Option<u64>) {
    let (exit, value) = judge(place, file);
    assert_eq!((exit, &value["verdict"]), (3, &Value::from("reject")), "{file}: {value:#}");
    assert!(!value["message"].as_str().unwrap().is_empty(), "{value:#}");
    assert!(value.get("files").is_none());
    (value["code"].as_str().unwrap().to_owned(), value["offset"].as_u64())
}

#[test]
fn what_it_prints() {
    let place = Place::with_package();
    place.write("text.mpkg", "this is not a package\n");
    place.write("typo.mpkg", pack(&MANIFEST.replace("cart.write", "cart.wirte"), &component()));
    place.ok(&["sign", "app.mpkg", "--key", "key.pem", "--out", "signed.mpkg"]);
    let mut settings = settings();
    settings.add_filter(r"\d{4,} bytes +sha256:", "[SIZE] bytes sha256:");
    settings.add_filter(r"\d{4,} bytes", "[SIZE] bytes");
    settings.add_filter(r#""size": \d{4,}"#, r#""size": [SIZE]"#);
    settings.add_filter(r"\d{4,}", "[NUMBER]");
    settings.add_filter(r"[0-9a-f]{64}", "[SHA-256]");
    for (name, file) in [("accepted", "app"), ("text", "text"), ("typo", "typo"), ("signed", "signed")] {
        let args = ["verify", &format!("{file}.mpkg"), "--unsigned", "--list"];
        let human = place.mpkg().args(args).output().unwrap();
        let json = place.mpkg().args(args).args(["--format", "json"]).output().unwrap();
        assert_eq!(human.status.code(), json.status.code());
        let text = format!(
            "exit {:?}\n{}{}\n{}",
            human.status.code().unwrap(),
            String::from_utf8(human.stdout).unwrap(),
            String::from_utf8(human.stderr).unwrap(),
            String::from_utf8(json.stdout).unwrap()
        );
        settings.bind(|| insta::assert_snapshot!(format!("unsigned-{name}"), text));
    }
}

#[test]
fn an_accepted_package_is_listed() {
    let place = Place::with_package();
    let (exit, value) = judge(&place, "app.mpkg");
    assert_eq!(exit, 0);
    for member in ["code", "message", "offset"] {
        assert_eq!(value[member], Value::Null);
    }
    assert_eq!(value["verdict"], "accept");
    let files = value["files"].as_array().unwrap();
    let names: Vec<&str> = files.iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["manifest.json", "app.wasm", "assets/icon.svg"]);
    assert_eq!(files[0]["size"], MANIFEST.len());
    assert_eq!(files[0]["sha256"], mpkg_package::Hash::of(MANIFEST.as_bytes()).to_string());
    assert_eq!(value["digest"], place.ok(&["digest", "app.mpkg"]).trim());
    let without: Value =
        serde_json::from_str(&place.ok(&["verify", "app.mpkg", "--unsigned", "--format", "json"])).unwrap();
    assert!(without.get("files").is_none());
}

#[test]
fn every_refusal_says_where() {
    let place = Place::with_package();
    let package = place.read("app.mpkg");
    let middle = package.len() / 2;
    let mut flipped = package.clone();
    flipped[middle] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "MPKG-Z01"),
        ("zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), "MPKG-Z18"),
        ("comment", [&package[..package.len() - 2], b"\x01\0!"].concat(), "MPKG-Z05"),
        ("cut", package[..middle].to_vec(), "MPKG-Z03"),
        ("flipped", flipped, "MPKG-Z24"),
        ("core", pack(MANIFEST, b"\0asm\x01\0\0\0"), "MPKG-W01"),
        ("broken", pack(MANIFEST, b"\0asm\x0d\0\x01\0\xff"), "MPKG-W02"),
        ("json", pack("{", &component()), "MPKG-J01"),
        (
            "undeclared",
            pack(&MANIFEST.replace(",\n    { \"name\": \"cart.write\" }", ""), &component()),
            "MPKG-W08",
        ),
        ("noise", (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect(), "MPKG-Z03"),
    ];
    for (name, bytes, code) in cases {
        place.write(name, &bytes);
        let (found, offset) = refused(&place, name);
        assert_eq!(found, code, "{name}");
        assert!(offset.is_none_or(|offset| offset <= bytes.len() as u64), "{name}: {offset:?}");
        assert_eq!(offset.is_none(), code == "MPKG-W08", "{name} has no place");
    }
    // The offsets are of the file, not of the part inside of it.
    let typo = MANIFEST.replace("cart.write", "cart.wirte");
    place.write("typo", pack(&typo, &component()));
    let (_, offset) = refused(&place, "typo");
    let bytes = place.read("typo");
    assert!(bytes[offset.unwrap() as usize..].starts_with(b"\"cart.wirte\""), "{offset:?}");
    let (_, offset) = refused(&place, "core");
    assert!(place.read("core")[offset.unwrap() as usize..].starts_with(b"\0asm"));
}

/// A warning that stands before the error in the manifest is not what refuses it.
#[test]
fn the_code_is_that_of_an_error() {
    let place = Place::new();
    let manifest =
        MANIFEST.replace("\"app_id\"", "\"Vendor\": 1, \"app_id\"").replace("cart.write", "cart.wirte");
    place.write("app.mpkg", pack(&manifest, &component()));
    let (code, _) = refused(&place, "app.mpkg");
    assert_eq!(code, {
        place.write("plain.mpkg", pack(&MANIFEST.replace("cart.write", "cart.wirte"), &component()));
        refused(&place, "plain.mpkg").0
    });
}

#[test]
fn a_file_that_cannot_be_judged_says_why() {
    let place = Place::new();
    std::fs::create_dir(place.path("folder")).unwrap();
    let mut files = vec!["missing".to_owned(), "folder".to_owned()];
    if cfg!(unix) {
        let fifo = place.path("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        files.extend(["fifo", "/dev/zero", "/dev/null", "/dev/urandom"].map(str::to_owned));
    }
    for file in files {
        let (exit, value) = judge(&place, &file);
        assert_eq!((exit, &value["error"]["code"]), (1, &Value::from("MPKG-C02")), "{file}: {value:#}");
        // Nothing else that reads packages waits for them either.
        let inspected = place.mpkg().args(["inspect", &file, "--format", "json"]).output().unwrap();
        assert_eq!(inspected.status.code(), Some(1), "{file}");
    }
}

/// Over the limit by its size alone, without disk or memory for its contents.
#[test]
fn a_file_over_the_limit_is_not_read() {
    let place = Place::new();
    for (name, size) in [("a", (64 << 20) + 1), ("b", 1u64 << 42)] {
        std::fs::File::create(place.path(name)).unwrap().set_len(size).unwrap();
        assert_eq!(refused(&place, name), ("MPKG-Z02".to_owned(), Some(64 << 20)), "{size}");
    }
    std::fs::File::create(place.path("c")).unwrap().set_len(64 << 20).unwrap();
    assert_eq!(refused(&place, "c").0, "MPKG-Z03", "the limit itself is allowed");
}

#[test]
fn trust_and_unsigned_do_not_go_together() {
    let place = Place::with_package();
    assert_eq!(place.status(&["verify", "app.mpkg", "--unsigned", "--trust", "key.pem.pub"]), 2);
    assert_eq!(place.status(&["verify", "app.mpkg", "--unsigned", "--signature", "key.pem.pub"]), 2);
    assert_eq!(place.status(&["verify", "app.mpkg", "--list", "--trust", "key.pem.pub"]), 2);
    assert_eq!(place.status(&["verify", "app.mpkg"]), 2);
    let mut command = place.mpkg();
    command.args(["verify", "app.mpkg", "--unsigned"]).env("MPKG_TRUST", "key.pem.pub");
    assert_eq!(command.output().unwrap().status.code(), Some(0), "set for other commands");
}
