//! `mpkg sign`, `verify`, `inspect` and `digest` on package files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{MANIFEST, Place, component, pack, settings};
use serde_json::Value;

fn json(place: &Place, args: &[&str]) -> Value {
    serde_json::from_str(&place.ok(&[args, &["--format", "json"]].concat())).unwrap()
}

#[test]
fn what_each_verb_prints() {
    let place = Place::with_package();
    let sign = ["sign", "app.mpkg", "--key", "key.pem", "--out", "signed.mpkg"];
    let mut settings = settings();
    // The component's size depends on the version of the tools.
    settings.add_filter(r"app\.wasm +\d+ bytes", "app.wasm [SIZE]");
    settings.add_filter(r"\d+\.\d KiB \(\d+ bytes\)", "[SIZE]");
    settings.add_filter(r#""size": \d{4,}"#, r#""size": [SIZE]"#);
    let cases: &[(&str, &[&str])] = &[
        ("inspect-unsigned", &["inspect", "app.mpkg"]),
        ("sign", &sign),
        ("inspect-signed", &["inspect", "signed.mpkg"]),
        ("verify", &["verify", "signed.mpkg", "--trust", "key.pem.root.json"]),
        ("digest", &["digest", "signed.mpkg"]),
    ];
    for (name, args) in cases {
        settings.bind(|| insta::assert_snapshot!(*name, place.both(args)));
    }
}

#[test]
fn a_signature_does_not_change_the_digest() {
    let place = Place::with_package();
    let before = place.ok(&["digest", "app.mpkg"]);
    place.ok(&["sign", "app.mpkg", "--key", "key.pem"]);
    assert_eq!(place.ok(&["digest", "app.mpkg"]), before);
    place.ok(&["keys", "generate", "--out", "other.pem"]);
    let again = json(&place, &["sign", "app.mpkg", "--key", "other.pem"]);
    assert_eq!(again["replaced"], true);
    assert_eq!(place.ok(&["digest", "app.mpkg"]), before);
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "key.pem.pub"]), 3);
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "other.pem.pub"]), 0);
}

#[test]
fn trust_is_a_root_a_key_or_an_id_and_any_of_several() {
    let place = Place::with_package();
    place.ok(&["keys", "generate", "--out", "other.pem"]);
    let signed = json(&place, &["sign", "app.mpkg", "--key", "key.pem"]);
    let id = signed["publisher"].as_str().unwrap();
    for trust in ["key.pem.root.json", "key.pem.pub", id] {
        assert_eq!(place.status(&["verify", "app.mpkg", "--trust", trust]), 0, "{trust}");
    }
    assert_eq!(
        place.status(&["verify", "app.mpkg", "--trust", "other.pem.pub", "--trust", "key.pem.pub"]),
        0
    );
    assert_eq!(
        place.status(&["verify", "app.mpkg", "--trust", "other.pem.pub", "--trust", "other.pem.root.json"]),
        3
    );
    // The environment stands in for the flag, and the flag wins.
    let mut command = place.mpkg();
    command.args(["verify", "app.mpkg"]).env("MPKG_TRUST", "key.pem.pub");
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    command.args(["--trust", "other.pem.pub"]);
    assert_eq!(command.output().unwrap().status.code(), Some(3));
}

#[test]
fn a_detached_signature_leaves_the_package_alone() {
    let place = Place::with_package();
    let before = place.read("app.mpkg");
    let signed = json(&place, &["sign", "app.mpkg", "--key", "key.pem", "--detached"]);
    assert_eq!(signed["file"], "app.mpkg.sig");
    assert_eq!(place.read("app.mpkg"), before);
    let verified = json(&place, &["verify", "app.mpkg", "--trust", "key.pem.pub"]);
    assert_eq!(verified["signature"], "app.mpkg.sig", "found beside the package");
    std::fs::rename(place.path("app.mpkg.sig"), place.path("elsewhere.sig")).unwrap();
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "key.pem.pub"]), 3);
    let named = ["verify", "app.mpkg", "--trust", "key.pem.pub", "--signature", "elsewhere.sig"];
    assert_eq!(place.status(&named), 0);
    let mut sig = place.read("elsewhere.sig");
    let middle = sig.len() / 2;
    sig[middle] ^= 1;
    place.write("elsewhere.sig", sig);
    assert_eq!(place.status(&named), 3);
}

#[test]
fn the_same_time_gives_the_same_signature() {
    let place = Place::with_package();
    for out in ["a.mpkg", "b.mpkg"] {
        let args = ["sign", "app.mpkg", "--key", "key.pem", "--out", out];
        let output = place.mpkg().args(args).env("SOURCE_DATE_EPOCH", "1767225600").output().unwrap();
        assert!(output.status.success());
    }
    assert_eq!(place.read("a.mpkg"), place.read("b.mpkg"));
}

#[test]
fn a_key_may_come_from_a_pipe_or_a_variable() {
    let place = Place::with_package();
    let secret = String::from_utf8(place.read("key.pem")).unwrap();
    let args = ["sign", "app.mpkg", "--key", "env:THE_KEY", "--out", "a.mpkg"];
    assert!(place.mpkg().args(args).env("THE_KEY", &secret).output().unwrap().status.success());
    let args = ["sign", "app.mpkg", "--key", "-", "--out", "b.mpkg"];
    let file = std::fs::File::open(place.path("key.pem")).unwrap();
    assert!(place.mpkg().args(args).stdin(file).output().unwrap().status.success());
    for name in ["a.mpkg", "b.mpkg"] {
        assert_eq!(place.status(&["verify", name, "--trust", "key.pem.root.json"]), 0);
    }
}

#[test]
fn any_flipped_byte_is_refused_with_three() {
    let place = Place::with_package();
    place.ok(&["sign", "app.mpkg", "--key", "key.pem"]);
    let whole = place.read("app.mpkg");
    // A spread over the file; the package crate flips every single one.
    for at in (0..whole.len()).step_by(whole.len() / 24) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        place.write("bad.mpkg", bytes);
        assert_eq!(place.status(&["verify", "bad.mpkg", "--trust", "key.pem.pub"]), 3, "byte {at}");
    }
}

#[test]
fn nothing_from_a_package_reaches_the_terminal_raw() {
    let place = Place::new();
    let manifest =
        MANIFEST.replace("1.2.0\" }", "1.2.0\" }, \"acme_note\": \"\\u001b]52;c;eA==\\u0007\\u202egpj\"");
    place.write("app.mpkg", pack(&manifest, &component()));
    let evil = MANIFEST.replace("\"Proxy\"", "\"Pro\u{202e}\u{9b}2Jxy\"");
    place.write("evil.mpkg", pack(&evil, &component()));
    for file in ["app.mpkg", "evil.mpkg"] {
        for format in ["human", "json"] {
            let output = place.mpkg().args(["inspect", file, "--format", format]).output().unwrap();
            let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            let bad = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
            assert_eq!(bad, None, "{text}");
        }
    }
}

#[test]
fn bad_input() {
    let place = Place::with_package();
    place.ok(&["keys", "generate", "--out", "other.pem"]);
    place.ok(&["sign", "app.mpkg", "--key", "key.pem", "--out", "signed.mpkg"]);
    let signed = place.read("signed.mpkg");
    place.write("truncated.mpkg", &signed[..signed.len() - 100]);
    let mut tampered = signed.clone();
    tampered[40] ^= 1;
    place.write("tampered.mpkg", tampered);
    place.write("text.mpkg", "this is not a package\n");
    place.write("empty.mpkg", "");
    place.write("core.mpkg", pack(MANIFEST, b"\0asm\x01\0\0\0"));
    place.write(
        "undeclared.mpkg",
        pack(&MANIFEST.replace(",\n    { \"name\": \"cart.write\" }", ""), &component()),
    );
    place.write("unknown-permission.mpkg", pack(&MANIFEST.replace("cart.write", "cart.wirte"), &component()));
    place.write("certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    place.write("text.pem", "hello\n");
    std::fs::create_dir(place.path("folder.mpkg")).unwrap();

    let bad = ["missing", "folder", "text", "empty", "truncated", "core", "undeclared", "unknown-permission"];
    for kind in bad {
        let file = format!("{kind}.mpkg");
        let verbs: &[(&str, &[&str])] = &[
            ("inspect", &["inspect", &file]),
            ("digest", &["digest", &file]),
            ("sign", &["sign", &file, "--key", "key.pem", "--out", "out.mpkg"]),
            ("verify", &["verify", &file, "--trust", "key.pem.pub"]),
        ];
        for (verb, args) in verbs {
            if *verb == "digest" && ["core", "undeclared", "unknown-permission"].contains(&kind) {
                continue;
            }
            settings().bind(|| insta::assert_snapshot!(format!("bad-{verb}-{kind}"), place.both(args)));
        }
    }
    let cases: &[(&str, &[&str])] = &[
        ("sign-public-key", &["sign", "app.mpkg", "--key", "key.pem.pub"]),
        ("sign-certificate", &["sign", "app.mpkg", "--key", "certificate.pem"]),
        ("sign-text-key", &["sign", "app.mpkg", "--key", "text.pem"]),
        ("sign-missing-key", &["sign", "app.mpkg", "--key", "nowhere.pem"]),
        ("sign-no-folder", &["sign", "app.mpkg", "--key", "key.pem", "--out", "no/such/folder/a.mpkg"]),
        ("sign-key-on-command-line", &["sign", "app.mpkg", "--key", "-----BEGIN PRIVATE KEY-----"]),
        ("verify-private-key", &["verify", "signed.mpkg", "--trust", "key.pem"]),
        ("verify-text-trust", &["verify", "signed.mpkg", "--trust", "text.pem"]),
        ("verify-missing-trust", &["verify", "signed.mpkg", "--trust", "nowhere.json"]),
        ("verify-bad-id", &["verify", "signed.mpkg", "--trust", "mp1notanid"]),
        ("verify-other-publisher", &["verify", "signed.mpkg", "--trust", "other.pem.pub"]),
        ("verify-tampered", &["verify", "tampered.mpkg", "--trust", "key.pem.pub"]),
        (
            "verify-two-signatures",
            &["verify", "signed.mpkg", "--trust", "key.pem.pub", "--signature", "signed.mpkg"],
        ),
    ];
    for (name, args) in cases {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
    assert!(!place.path("out.mpkg").exists(), "a failed sign leaves nothing behind");
}

/// Root may read everything, so there is nothing to test as root.
#[cfg(unix)]
#[test]
fn an_unreadable_file_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with_package();
    std::fs::set_permissions(place.path("app.mpkg"), std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::File::open(place.path("app.mpkg")).is_ok() {
        eprintln!("skipped: this user may read every file");
        return;
    }
    settings()
        .bind(|| insta::assert_snapshot!("bad-inspect-unreadable", place.both(&["inspect", "app.mpkg"])));
}

#[test]
fn a_key_that_others_can_read_draws_a_warning() {
    let place = Place::with_package();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(place.path("key.pem"), std::fs::Permissions::from_mode(0o644)).unwrap();
        let output = place.mpkg().args(["sign", "app.mpkg", "--key", "key.pem"]).output().unwrap();
        assert!(output.status.success());
        insta::assert_snapshot!("warning-open-key", String::from_utf8(output.stderr).unwrap());
    }
}
