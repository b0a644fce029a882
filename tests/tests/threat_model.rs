//! `docs/threat-model.md` names tests; this one looks whether they are there, and whether its rules are.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mpkg_tests::workspace::root;

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names of functions under `#[test]` and the like, or within `proptest!`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() && !matches!(name.as_ref(), "target" | "node_modules" | ".git") {
            functions(&path, found);
        } else if name.ends_with(".rs") {
            let source = fs::read_to_string(&path).unwrap();
            for (at, _) in source.match_indices("#[test]").chain(source.match_indices("#[tokio::test")) {
                let function = source[at..].split_once("fn ").unwrap().1;
                found.insert(function.split('(').next().unwrap().to_owned());
            }
        }
    }
}

#[test]
fn every_test_and_rule_it_names_exists() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let mut tests = BTreeSet::new();
    functions(&root(), &mut tests);
    let mut named = 0;
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        if cells.len() < 4 {
            continue;
        }
        assert!(quoted(cells[3]).next().is_some(), "no test: {row}");
        for test in quoted(cells[3]) {
            assert!(tests.contains(test), "there is no test `{test}`: {row}");
            named += 1;
        }
        for rule in quoted(cells[2]).filter(|rule| rule.len() == 3 && rule[1..].parse::<u8>().is_ok()) {
            let code = format!("MPKG-{rule}");
            let tables = [mpkg_package::RULES, mpkg_manifest::rules::RULES, mpkg_registry_client::RULES];
            let known = tables.iter().flat_map(|table| table.iter()).any(|row| row.code == code);
            assert!(known, "there is no rule {code}: {row}");
        }
    }
    assert!(named > 40, "the tables were not found");
}
