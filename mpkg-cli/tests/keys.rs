//! `mpkg keys`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{Place, settings};
use serde_json::Value;

#[test]
fn a_new_key_comes_in_three_files_and_only_its_owner_reads_the_secret() {
    let place = Place::new();
    let made: Value =
        serde_json::from_str(&place.ok(&["keys", "generate", "--out", "k.pem", "--format", "json"])).unwrap();
    assert!(place.read("k.pem").starts_with(b"-----BEGIN PRIVATE KEY-----\n"));
    assert!(place.read("k.pem.pub").starts_with(b"-----BEGIN PUBLIC KEY-----\n"));
    let root: Value = serde_json::from_slice(&place.read("k.pem.root.json")).unwrap();
    assert_eq!(root["type"], "mpkg.root.v1");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name| place.path(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("k.pem"), 0o600);
        assert_ne!(mode("k.pem.pub") & 0o044, 0, "everybody may read the public key");
    }
    // Private key, public key and root are the same publisher.
    for name in ["k.pem", "k.pem.pub", "k.pem.root.json"] {
        let shown: Value =
            serde_json::from_str(&place.ok(&["keys", "show", name, "--format", "json"])).unwrap();
        assert_eq!(shown["publisher"], made["publisher"], "{name}");
        assert_eq!(shown["keys"][0]["key_id"], made["key_id"], "{name}");
    }
}

#[test]
fn a_key_is_read_from_the_environment_and_from_standard_input() {
    let place = Place::new();
    place.ok(&["keys", "generate", "--out", "k.pem"]);
    let expected = place.ok(&["keys", "show", "k.pem", "--format", "json"]);
    let secret = String::from_utf8(place.read("k.pem")).unwrap();
    let shown = place
        .mpkg()
        .args(["keys", "show", "env:THE_KEY", "--format", "json"])
        .env("THE_KEY", secret)
        .output();
    assert_eq!(String::from_utf8(shown.unwrap().stdout).unwrap(), expected);
    let file = std::fs::File::open(place.path("k.pem")).unwrap();
    let shown = place.mpkg().args(["keys", "show", "-", "--format", "json"]).stdin(file).output();
    assert_eq!(String::from_utf8(shown.unwrap().stdout).unwrap(), expected);
}

#[test]
fn no_secret_is_ever_shown() {
    let place = Place::new();
    place.ok(&["keys", "generate", "--out", "k.pem"]);
    let secret = String::from_utf8(place.read("k.pem")).unwrap();
    let body = secret.lines().nth(1).unwrap();
    for args in [
        &["keys", "show", "k.pem"][..],
        &["verify", "k.pem", "--trust", "k.pem"],
        &["sign", "k.pem", "--key", &secret],
    ] {
        let transcript = place.both(args).replace(&args.join(" "), "");
        assert!(!transcript.contains(body), "{transcript}");
    }
}

#[test]
fn an_old_key_is_not_overwritten_unless_asked_for() {
    let place = Place::new();
    place.ok(&["keys", "generate", "--out", "k.pem"]);
    let before = place.read("k.pem");
    settings()
        .bind(|| insta::assert_snapshot!("overwrite", place.both(&["keys", "generate", "--out", "k.pem"])));
    assert_eq!(place.read("k.pem"), before);
    place.ok(&["keys", "generate", "--out", "k.pem", "--force"]);
    assert_ne!(place.read("k.pem"), before);
}

#[test]
fn what_generate_and_show_print() {
    let place = Place::new();
    let generated = place.ok(&["keys", "generate", "--out", "k.pem"]);
    settings().bind(|| insta::assert_snapshot!("generated", generated));
    settings().bind(|| insta::assert_snapshot!("shown", place.both(&["keys", "show", "k.pem.pub"])));
}

#[test]
fn bad_input() {
    let place = Place::new();
    place.write("not-a-key.pem", "hello");
    place.write("certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    place.write("binary.pem", [0xff, 0xfe, 0x00]);
    place.write("broken.root.json", "{\"type\":\"mpkg.root.v1\",\"type\":\"mpkg.root.v1\"}");
    let cases: &[(&str, &[&str])] = &[
        ("show-missing", &["keys", "show", "nowhere.pem"]),
        ("show-not-a-key", &["keys", "show", "not-a-key.pem"]),
        ("show-certificate", &["keys", "show", "certificate.pem"]),
        ("show-binary", &["keys", "show", "binary.pem"]),
        ("show-broken-root", &["keys", "show", "broken.root.json"]),
        ("show-empty-stdin", &["keys", "show", "-"]),
        ("show-unset-variable", &["keys", "show", "env:NO_SUCH_VARIABLE"]),
        ("generate-no-folder", &["keys", "generate", "--out", "no/such/folder/k.pem"]),
        ("generate-without-out", &["keys", "generate"]),
        ("generate-device", &["keys", "generate", "--out", "/dev/null", "--force"]),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
}
