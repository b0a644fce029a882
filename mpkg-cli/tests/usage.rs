//! The command line itself: usage errors, help, explain, completions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use common::{Place, settings, transcript};
use serde_json::Value;

#[test]
fn usage_errors() {
    let place = Place::new();
    let cases: &[(&str, &[&str])] = &[
        ("no-verb", &[]),
        ("unknown-verb", &["sgin"]),
        ("unknown-flag", &["inspect", "app.mpkg", "--jsno"]),
        ("missing-file", &["inspect"]),
        ("sign-without-key", &["sign", "app.mpkg"]),
        ("verify-without-trust", &["verify", "app.mpkg"]),
        ("params-without-call", &["run", "app.mpkg", "--params", "{}"]),
        ("unknown-template", &["new", "app", "--template", "ruts"]),
        ("unknown-shell", &["completions", "bsh"]),
        ("quiet-and-verbose", &["digest", "app.mpkg", "-q", "-v"]),
        ("explain-unknown", &["explain", "MPKG-C0X"]),
        ("explain-nonsense", &["explain", "everything"]),
    ];
    for (name, args) in cases {
        assert_eq!(place.status(args), 2, "{name}");
        settings().bind(|| insta::assert_snapshot!(*name, place.both(args)));
    }
}

#[test]
fn the_format_is_known_even_where_the_rest_is_not() {
    let place = Place::new();
    let is_json = |output: std::process::Output| serde_json::from_slice::<Value>(&output.stdout).is_ok();
    assert!(is_json(place.mpkg().args(["--format=json", "nonsense"]).output().unwrap()));
    assert!(is_json(place.mpkg().arg("nonsense").env("MPKG_FORMAT", "json").output().unwrap()));
    // A flag wins over the environment.
    let output =
        place.mpkg().args(["nonsense", "--format", "human"]).env("MPKG_FORMAT", "json").output().unwrap();
    assert!(!is_json(output));
    let output = place.mpkg().args(["explain", "z01"]).env("MPKG_FORMAT", "json").output().unwrap();
    assert!(is_json(output));
    let output = place.mpkg().args(["explain", "z01"]).env("MPKG_FORMAT", "yaml").output().unwrap();
    settings().bind(|| insta::assert_snapshot!("format-yaml", transcript(&output)));
}

#[test]
fn help_shows_an_example_for_every_verb() {
    let place = Place::new();
    insta::assert_snapshot!("help", place.ok(&["--help"]));
    let verbs = [
        "new",
        "build",
        "run",
        "sign",
        "verify",
        "inspect",
        "digest",
        "explain",
        "completions",
        "lint",
        "diff",
        "doctor",
        "import",
        "login",
        "publish",
        "yank",
        "search",
        "info",
        "fetch",
        "kill",
        "lift",
        "status",
    ];
    for verb in verbs {
        let help = place.ok(&[verb, "--help"]);
        assert!(
            help.contains(&format!("\n  mpkg {verb} ")) || help.contains(&format!("| mpkg {verb} ")),
            "{help}"
        );
    }
}

#[test]
fn every_code_is_explained() {
    let place = Place::new();
    let list: Value = serde_json::from_str(&place.ok(&["explain", "--list", "--format", "json"])).unwrap();
    let codes: Vec<&str> =
        list["codes"].as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap()).collect();
    for family in ["Z", "B", "J", "S", "R", "M", "W", "K", "C", "F", "H", "P"] {
        assert!(codes.iter().any(|code| code.starts_with(&format!("MPKG-{family}"))), "{family}");
    }
    for code in ["MPKG-C01", "mpkg-c01", "c01", "-32001"] {
        assert!(!place.ok(&["explain", code]).is_empty());
    }
    insta::assert_snapshot!("explain", place.ok(&["explain", "MPKG-C30"]));
}

#[test]
fn completions_are_scripts() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.ok(&["completions", shell]).contains("verify"), "{shell}");
    }
    let json: Value = serde_json::from_str(&place.ok(&["completions", "bash", "--format", "json"])).unwrap();
    assert_eq!(json["script"].as_str().unwrap(), place.ok(&["completions", "bash"]));
}

#[test]
fn every_verb_has_a_manual_page() {
    let place = Place::new();
    place.ok(&["man", "--out", "man1"]);
    for page in [
        "mpkg.1",
        "mpkg-build.1",
        "mpkg-verify.1",
        "mpkg-keys-generate.1",
        "mpkg-rollout-start.1",
        "mpkg-kill.1",
    ] {
        let text = String::from_utf8(place.read(&format!("man1/{page}"))).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
}
