//! Manifests as data: `tests/valid` are accepted, `tests/invalid` refused, and what is said about each is a
//! snapshot.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod common;

use std::collections::BTreeSet;

use mpkg_manifest::json::{self, Limits};
use mpkg_manifest::rules::RULES;
use mpkg_manifest::{Manifest, PermissionSet, Problem};

fn snapshot(folder: &str, name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn invalid_manifests_are_told_everything() {
    for (name, source) in common::inputs("invalid") {
        let problems = Manifest::parse(&source).expect_err(&name);
        assert!(problems.iter().any(Problem::is_error), "{name}");
        assert!(problems.is_sorted_by_key(|problem| problem.span.start), "{name}");
        snapshot("invalid", &name, &common::render(&source, &problems));
    }
}

#[test]
fn valid_manifests_mean_something() {
    for (name, source) in common::inputs("valid") {
        let parsed = Manifest::parse(&source)
            .unwrap_or_else(|problems| panic!("{name}:\n{}", common::render(&source, &problems)));
        assert!(!parsed.warnings.iter().any(Problem::is_error), "{name}");
        let permissions = parsed.manifest.permissions();
        for (permission, _) in &permissions {
            assert!(parsed.permission_span(permission).is_some(), "{name}: {permission}");
        }
        let text = format!(
            "entry: {}\ntitle: {}\npermissions: {}\nmanifest: {:#}\n\n{}",
            parsed.manifest.entry_page(),
            parsed.manifest.window_title(),
            serde_json::to_string(&permissions).unwrap(),
            serde_json::to_value(&parsed.manifest).unwrap(),
            common::render(&source, &parsed.warnings),
        );
        snapshot("valid", &name, &text);

        let written = serde_json::to_vec(&parsed.manifest).unwrap();
        let again = Manifest::parse(&written).unwrap();
        assert_eq!(again.manifest, parsed.manifest, "{name}: writing and reading again changed it");
    }
}

#[test]
fn five_mistakes_are_five_problems() {
    let source =
        std::fs::read(format!("{}/tests/invalid/five-mistakes.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let problems = Manifest::parse(&source).unwrap_err();
    let lines: Vec<usize> = problems.iter().map(|problem| problem.line_col(&source).0).collect();
    assert_eq!(lines, [2, 4, 4, 6, 8]);
}

#[test]
fn a_manifest_has_256_kib_at_most() {
    let source = std::fs::read(format!("{}/tests/valid/minimal.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut longest = source.clone();
    longest.resize(256 * 1024, b' ');
    assert!(Manifest::parse(&longest).is_ok());
    longest.push(b' ');
    let problems = Manifest::parse(&longest).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["MPKG-J08"]);
}

/// Every rule is shown by an input that breaks it: a rule that nothing breaks is a rule that nobody needs.
#[test]
fn each_rule_is_broken_by_some_input() {
    let mut broken: BTreeSet<&str> = BTreeSet::new();
    for (_, source) in common::inputs("invalid") {
        broken.extend(Manifest::parse(&source).unwrap_err().iter().map(|problem| problem.code));
    }
    for (_, source) in common::inputs("valid") {
        broken.extend(Manifest::parse(&source).unwrap().warnings.iter().map(|problem| problem.code));
    }
    broken.insert(json::parse(b"[1, 2, 3]", Limits::bytes(4)).unwrap_err().code());
    broken.insert(json::read::<u8>(b"[]", Limits::bytes(4)).unwrap_err().code());
    let mut set = PermissionSet::default();
    let scope = mpkg_manifest::ScopeValue::QuotaBytes(1);
    broken.insert(set.insert("network".parse().unwrap(), scope).unwrap_err().code());
    let table: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(broken, table);
}

/// A name that was refused must not come back as what its author probably meant, unescaped.
#[test]
fn a_suggestion_is_never_what_was_refused() {
    let source = br#"{"req_permissions": [{"name": "host.l\u007fyalty"}],
        "mpkg": {"optional_permissions": ["host.loyalty"]}}"#;
    let problems = Manifest::parse(source).unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "MPKG-M18"));
    for text in problems.iter().flat_map(|problem| [&problem.suggestion, &problem.expected, &problem.help]) {
        assert!(text.iter().all(|text| !text.contains('\u{7f}')), "{text:?}");
    }
}
