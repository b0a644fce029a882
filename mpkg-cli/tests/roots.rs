//! `mpkg root` and `mpkg grant`, and signing with keys that are encrypted or on several machines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{MANIFEST, Place, component, pack, settings};
use serde_json::Value;

fn json(place: &Place, args: &[&str]) -> Value {
    serde_json::from_str(&place.ok(&[args, &["--format", "json"]].concat())).unwrap()
}

/// Ann and Bob hold the root, both needed; a build machine releases. `acme.root` and `app.mpkg` are there.
fn publisher() -> Place {
    let place = Place::new();
    place.write("app.mpkg", pack(MANIFEST, &component()));
    for key in ["ann", "bob", "ci", "eve"] {
        place.ok(&["keys", "generate", "--out", key]);
    }
    let roles = [
        "--root-key",
        "ann.pub",
        "--root-key",
        "bob.pub",
        "--root-threshold",
        "2",
        "--release-key",
        "ci.pub",
    ];
    place.ok(&[&["root", "init", "--out", "acme.root"], &roles[..]].concat());
    place
}

/// A grant of what `app.mpkg` asks for, signed by both.
fn granted() -> Place {
    let place = publisher();
    place.ok(&["grant", "create", "app.mpkg", "--root", "acme.root", "--out", "app.grant"]);
    for key in ["ann", "bob"] {
        place.ok(&["grant", "sign", "app.grant", "--root", "acme.root", "--key", key]);
    }
    place
}

const SIGN: [&str; 6] = ["sign", "app.mpkg", "--key", "ci", "--root", "acme.root"];

#[test]
fn a_release_needs_a_grant_by_the_root_keys() {
    let place = publisher();
    settings().bind(|| insta::assert_snapshot!("no-grant", place.both(&SIGN)));
    let created = place.ok(&["grant", "create", "app.mpkg", "--root", "acme.root", "--out", "app.grant"]);
    settings().bind(|| insta::assert_snapshot!("grant-created", created));
    let with = [&SIGN[..], &["--grant", "app.grant"]].concat();
    place.ok(&["grant", "sign", "app.grant", "--root", "acme.root", "--key", "ann"]);
    settings().bind(|| insta::assert_snapshot!("grant-half-signed", place.both(&with)));
    let signed = place.ok(&["grant", "sign", "app.grant", "--root", "acme.root", "--key", "bob"]);
    settings().bind(|| insta::assert_snapshot!("grant-signed", signed));
    settings().bind(|| {
        insta::assert_snapshot!(
            "grant-shown",
            place.both(&["grant", "show", "app.grant", "--root", "acme.root"])
        );
    });
    settings()
        .bind(|| insta::assert_snapshot!("grant-unchecked", place.both(&["grant", "show", "app.grant"])));
    settings().bind(|| insta::assert_snapshot!("signed-with-grant", place.ok(&with)));
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "acme.root"]), 0);
    // The grant in the package is good for the next signature.
    let again = json(&place, &SIGN);
    assert_eq!((again["grant_made"].as_bool(), again["missing"].as_u64()), (Some(false), Some(0)));
}

#[test]
fn a_wider_manifest_is_refused_before_it_is_signed() {
    let place = granted();
    place.write("quota.mpkg", pack(&MANIFEST.replace("65536", "65537"), &component()));
    let sign = ["sign", "quota.mpkg", "--key", "ci", "--root", "acme.root", "--grant", "app.grant"];
    assert_eq!(place.status(&sign), 3);
    settings().bind(|| insta::assert_snapshot!("quota-too-small", place.both(&sign)));
}

#[test]
fn a_new_root_takes_both_signatures_one_after_the_other() {
    let place = granted();
    place.ok(&[&SIGN[..], &["--grant", "app.grant"]].concat());
    let publisher = json(&place, &["root", "show", "acme.root"])["publisher"].clone();
    let rotated = place.ok(&["root", "rotate", "acme.root", "--old", "bob.pub", "--new", "eve.pub"]);
    settings().bind(|| insta::assert_snapshot!("rotate", rotated));
    settings().bind(|| insta::assert_snapshot!("proposal", place.both(&["root", "show", "acme.root"])));
    // Ann is in both roots, Bob in the old one, Eve in the new one.
    place.ok(&["root", "sign", "acme.root", "--key", "ann"]);
    let signed = json(&place, &["root", "sign", "acme.root", "--key", "eve"]);
    assert_eq!(signed["proposal"]["signatures"]["before"]["missing"], 1);
    assert_eq!(signed["proposal"]["signatures"]["own"]["missing"], 0);
    settings().bind(|| {
        insta::assert_snapshot!("sign-stranger", place.both(&["root", "sign", "acme.root", "--key", "ci"]));
    });
    let done = place.ok(&["root", "sign", "acme.root", "--key", "bob"]);
    settings().bind(|| insta::assert_snapshot!("in-force", done));
    let shown = json(&place, &["root", "verify", "acme.root"]);
    assert_eq!((&shown["publisher"], &shown["root"]["version"]), (&publisher, &Value::from(2)));
    // Whoever knows the new root takes the package under the old one no longer.
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "acme.root"]), 3);
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", publisher.as_str().unwrap()]), 0);
    // The grant bears a signature of Bob, who has left; Eve's takes its place.
    assert_eq!(place.status(&[&SIGN[..], &["--grant", "app.grant"]].concat()), 3);
    place.ok(&[
        "grant",
        "create",
        "app.mpkg",
        "--root",
        "acme.root",
        "--out",
        "new.grant",
        "--grant-version",
        "9",
    ]);
    place.ok(&["grant", "sign", "new.grant", "--root", "acme.root", "--key", "ann"]);
    place.ok(&["grant", "sign", "new.grant", "--root", "acme.root", "--key", "eve"]);
    place.ok(&[&SIGN[..], &["--grant", "new.grant"]].concat());
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "acme.root"]), 0);
}

#[test]
fn a_stolen_release_key_is_cut_off() {
    let place = granted();
    let with = [&SIGN[..], &["--grant", "app.grant"]].concat();
    place.ok(&["root", "revoke", "acme.root", "--key", "ci.pub", "--from-release", "3"]);
    place.ok(&["root", "add-key", "acme.root", "--key", "eve.pub", "--role", "release"]);
    for key in ["ann", "bob"] {
        place.ok(&["root", "sign", "acme.root", "--key", key]);
    }
    settings().bind(|| insta::assert_snapshot!("revoked", place.both(&with)));
    settings().bind(|| insta::assert_snapshot!("revoked-shown", place.both(&["root", "show", "acme.root"])));
    let signed = ["sign", "app.mpkg", "--key", "eve", "--root", "acme.root", "--grant", "app.grant"];
    place.ok(&signed);
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "acme.root"]), 0);
}

#[test]
fn several_release_keys_sign_in_turn() {
    let place = granted();
    let with = [&SIGN[..], &["--grant", "app.grant"]].concat();
    let change = ["--key", "eve.pub", "--role", "release", "--threshold", "release=2"];
    place.ok(&[&["root", "add-key", "acme.root"], &change[..]].concat());
    for key in ["ann", "bob"] {
        place.ok(&["root", "sign", "acme.root", "--key", key]);
    }
    settings().bind(|| insta::assert_snapshot!("first-of-two", place.ok(&with)));
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "acme.root"]), 3);
    settings().bind(|| {
        let second = place.ok(&["sign", "app.mpkg", "--key", "eve", "--root", "acme.root"]);
        insta::assert_snapshot!("second-of-two", second);
    });
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "acme.root"]), 0);
}

#[test]
fn an_expired_root_is_refused() {
    let place = granted();
    place.ok(&["root", "rotate", "acme.root", "--expires", "2001-01-31"]);
    for key in ["ann", "bob"] {
        place.ok(&["root", "sign", "acme.root", "--key", key]);
    }
    settings().bind(|| insta::assert_snapshot!("expired-root", place.both(&["root", "verify", "acme.root"])));
    place.ok(&[&SIGN[..], &["--grant", "app.grant"]].concat());
    settings().bind(|| {
        let verify = ["verify", "app.mpkg", "--trust", "acme.root"];
        insta::assert_snapshot!("expired-package", place.both(&verify));
    });
}

#[test]
fn a_change_drops_the_signatures_before_it() {
    let place = publisher();
    place.ok(&["root", "rotate", "acme.root", "--expires", "2090-01-31"]);
    place.ok(&["root", "sign", "acme.root", "--key", "ann"]);
    let args = ["root", "rotate", "acme.root", "--expires", "never"];
    let output = place.mpkg().args(args).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 signature on the proposal"), "{output:?}");
    let shown = json(&place, &["root", "show", "acme.root"]);
    assert_eq!(shown["proposal"]["signatures"]["before"]["missing"], 2);
    assert_eq!(shown["proposal"]["expires"], Value::Null);
}

#[test]
fn a_key_encrypted_at_rest_signs_with_its_passphrase_only() {
    let place = Place::with_package();
    let generate = ["keys", "generate", "--out", "safe.pem", "--format", "json"];
    let output = place.mpkg().args(generate).env("MPKG_PASSPHRASE", "right").output().unwrap();
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["encrypted"], true);
    assert!(place.read("safe.pem").starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    place.write("right.txt", "right\n");
    place.write("wrong.txt", "wrong\n");
    place.write("empty.txt", "\n");
    let sign = ["sign", "app.mpkg", "--key", "safe.pem"];
    let with = |file| [&sign[..], &["--passphrase-file", file]].concat();
    for (name, args) in [
        ("passphrase-none", sign.to_vec()),
        ("passphrase-wrong", with("wrong.txt")),
        ("passphrase-empty", with("empty.txt")),
        ("passphrase-missing", with("nowhere.txt")),
        ("passphrase-no-terminal", vec!["keys", "generate", "--out", "b.pem", "--encrypt"]),
    ] {
        settings().bind(|| insta::assert_snapshot!(name, place.both(&args)));
    }
    place.ok(&with("right.txt"));
    assert_eq!(place.status(&["verify", "app.mpkg", "--trust", "safe.pem.pub"]), 0);
    let shown = json(&place, &["keys", "show", "safe.pem", "--passphrase-file", "right.txt"]);
    assert_eq!(shown["keys"][0]["key_id"], made["key_id"]);
}

#[test]
fn bad_input() {
    let place = granted();
    place.write("text.root", "hello\n");
    place.write("broken.root", [&place.read("acme.root")[..], b"{\"payload\":1}\n"].concat());
    place.write("text.grant", "hello\n");
    place.ok(&["keys", "generate", "--out", "other.pem"]);
    let cases: &[(&str, &[&str])] = &[
        ("root-missing", &["root", "show", "nowhere.root"]),
        ("root-text", &["root", "show", "text.root"]),
        ("root-broken", &["root", "verify", "broken.root"]),
        ("root-is-a-package", &["root", "verify", "app.mpkg"]),
        ("root-of-another", &["root", "verify", "acme.root", "--trust", "other.pem.pub"]),
        ("root-nothing-proposed", &["root", "sign", "acme.root", "--key", "ann"]),
        ("root-nothing-changed", &["root", "rotate", "acme.root"]),
        ("root-key-twice", &["root", "add-key", "acme.root", "--role", "root", "--key", "ann.pub"]),
        ("root-key-without-role", &["root", "remove-key", "acme.root", "--key", "eve.pub"]),
        ("root-last-key", &["root", "remove-key", "acme.root", "--key", "ci.pub"]),
        ("root-threshold-too-high", &["root", "rotate", "acme.root", "--threshold", "root=3"]),
        ("root-threshold-zero", &["root", "rotate", "acme.root", "--threshold", "root=0"]),
        ("root-threshold-unclear", &["root", "rotate", "acme.root", "--threshold", "root"]),
        ("root-threshold-of-nothing", &["root", "rotate", "acme.root", "--threshold", "boss=1"]),
        ("root-expires-unclear", &["root", "rotate", "acme.root", "--expires", "tomorrow"]),
        ("root-revoke-stranger", &["root", "revoke", "acme.root", "--key", "eve.pub", "--from-release", "1"]),
        (
            "root-revoke-huge",
            &["root", "revoke", "acme.root", "--key", "ci.pub", "--from-release", "9007199254740992"],
        ),
        ("root-init-there", &["root", "init", "--out", "acme.root", "--root-key", "ann.pub"]),
        (
            "root-init-twice",
            &["root", "init", "--out", "b.root", "--root-key", "ann.pub", "--root-key", "ann"],
        ),
        (
            "root-init-too-few",
            &["root", "init", "--out", "b.root", "--root-key", "ann.pub", "--root-threshold", "2"],
        ),
        ("root-init-no-key", &["root", "init", "--out", "b.root"]),
        ("grant-missing", &["grant", "show", "nowhere.grant"]),
        ("grant-text", &["grant", "show", "text.grant"]),
        ("grant-of-another", &["grant", "show", "app.grant", "--root", "other.pem.root.json"]),
        ("grant-release-key", &["grant", "sign", "app.grant", "--root", "acme.root", "--key", "ci"]),
        ("grant-no-root", &["grant", "create", "app.mpkg", "--out", "b.grant"]),
        ("grant-of-text", &["grant", "create", "text.grant", "--root", "acme.root", "--out", "b.grant"]),
        ("grant-there", &["grant", "create", "app.mpkg", "--root", "acme.root", "--out", "app.grant"]),
        (
            "sign-not-release",
            &["sign", "app.mpkg", "--key", "eve", "--root", "acme.root", "--grant", "app.grant"],
        ),
        ("sign-grant-of-another", &["sign", "app.mpkg", "--key", "other.pem", "--grant", "app.grant"]),
    ];
    for (name, args) in cases {
        assert_ne!(place.status(args), 0, "{name}");
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(args)));
    }
}
