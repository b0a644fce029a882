//! JSONTestSuite, read from the folder that `MPKG_CORPORA` names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use mpkg_manifest::json::{self, Limits};

const LIMITS: Limits = Limits { max_bytes: 1024 * 1024, max_depth: 32 };

#[test]
fn syntax_and_strict_profile() {
    let Some(corpora) = std::env::var_os("MPKG_CORPORA") else {
        // Straight to the stream: the test harness swallows what a passing test prints.
        let _ = writeln!(std::io::stderr(), "SKIPPED: MPKG_CORPORA is not set, so JSONTestSuite was not run");
        return;
    };
    let folder = PathBuf::from(corpora).join("json/test_parsing");
    let (mut yes, mut no, mut either) = (0, 0, 0);
    let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let (syntax, strict) = (json::check_syntax(&bytes), json::parse(&bytes, LIMITS));
        match name.as_bytes()[0] {
            b'y' => {
                yes += 1;
                assert_eq!(syntax, Ok(()), "{name}");
                if let Err(error) = strict {
                    refused.entry(error.code()).or_default().push(name);
                }
            }
            b'n' => {
                no += 1;
                assert!(syntax.is_err(), "{name} passed as syntax");
                assert!(strict.is_err(), "{name} passed as strict");
            }
            _ => either += 1,
        }
    }
    assert_eq!((yes, no, either), (95, 188, 35));
    refused.values_mut().for_each(|names| names.sort());
    let counts: Vec<(&str, usize)> = refused.iter().map(|(code, names)| (*code, names.len())).collect();
    assert_eq!(counts, [("MPKG-J04", 2), ("MPKG-J05", 15)], "{refused:#?}");
}
