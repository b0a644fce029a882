//! Data that nobody here wrote, judged and put into one table. `make corpora` prints it.
//!
//! Reads the folder that `MPKG_CORPORA` names. Where that is not set nothing is judged, and this says so.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, VerifyingKey};
use mpkg_manifest::json;
use mpkg_package::{PublicKey, container};
use mpkg_tests::workspace;
use serde_json::Value;

/// One line of the table: what was judged, how many of them as they should be, of how many, and how.
struct Row {
    corpus: &'static str,
    what: &'static str,
    right: usize,
    of: usize,
    how: String,
}

#[test]
fn every_corpus_is_judged_as_it_should_be() {
    let Some(folder) = std::env::var_os("MPKG_CORPORA").map(PathBuf::from) else {
        return loud("SKIPPED: MPKG_CORPORA is not set, so no corpus was judged");
    };
    let mut rows = Vec::new();
    rows.extend(warehouse(&folder.join("zip/warehouse")));
    rows.extend(json_suite(&folder.join("json/test_parsing")));
    rows.extend(wycheproof(&folder.join("ed25519/wycheproof_ed25519_test.json")));
    rows.extend(speccheck(&folder.join("ed25519/speccheck_cases.json")));
    rows.extend(w3c(&folder.join("w3c-miniapp")));

    let mut table = String::from("\n| corpus | what | right | how |\n|---|---|---|---|\n");
    for Row { corpus, what, right, of, how } in &rows {
        table += &format!("| {corpus} | {what} | {right}/{of} | {how} |\n");
    }
    println!("{table}");
    let sizes: Vec<usize> = rows.iter().map(|row| row.of).collect();
    assert_eq!(sizes[..8], [35, 10, 188, 95, 17, 151, 12, 9], "a corpus is not complete");
    assert!(rows.iter().all(|row| row.right == row.of), "not all is as it should be:\n{table}");
}

/// Straight to the stream: the test harness keeps to itself what a passing test prints.
fn loud(message: &str) {
    let _ = writeln!(std::io::stderr(), "{message}");
}

fn files(folder: &Path, extension: Option<&str>) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            extension.is_none()
                || path.extension().is_some_and(|found| Some(found.to_str().unwrap()) == extension)
        })
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// `Z03 ×4, Z05 ×2`
fn tally<'a>(codes: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for code in codes {
        *counts.entry(code.trim_start_matches("MPKG-")).or_default() += 1;
    }
    counts.iter().map(|(code, count)| format!("{code} ×{count}")).collect::<Vec<_>>().join(", ")
}

fn is_explained(code: &str) -> bool {
    mpkg_package::RULES.iter().chain(mpkg_manifest::rules::RULES).any(|rule| rule.code == code)
}

/// Refused, and by which rule.
fn refusal(bytes: &[u8]) -> Option<&'static str> {
    container::read(bytes).err().map(|error| error.code()).filter(|code| is_explained(code))
}

/// Names and contents as the `zip` crate finds them.
fn with_zip(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    (0..archive.len())
        .map(|index| {
            let mut file = archive.by_index(index).ok()?;
            let mut contents = Vec::new();
            file.read_to_end(&mut contents).ok()?;
            Some((file.name().ok()?.into_owned(), contents))
        })
        .collect()
}

fn warehouse(folder: &Path) -> Vec<Row> {
    let bad = files(&folder.join("reject"), None);
    let codes: Vec<&str> = bad.iter().filter_map(|(_, bytes)| refusal(bytes)).collect();
    let good = files(&folder.join("accept"), None);
    let mut refused = Vec::new();
    let mut same = 0;
    for (_, bytes) in &good {
        match container::read(bytes) {
            Err(error) => refused.push(error.code()),
            Ok(container) => {
                let entries = container.entries().iter();
                let ours = entries.map(|entry| (entry.name.to_owned(), entry.data.to_vec())).collect();
                same += usize::from(with_zip(bytes) == Some(ours));
            }
        }
    }
    refused.retain(|code| is_explained(code));
    vec![
        Row {
            corpus: "warehouse",
            what: "`reject`: refused by a named rule",
            right: codes.len(),
            of: bad.len(),
            how: tally(codes),
        },
        Row {
            corpus: "warehouse",
            what: "`accept`: refused by a named rule, or read as `zip` reads it",
            right: refused.len() + same,
            of: good.len(),
            how: format!("{}; read alike: {same}", tally(refused)),
        },
    ]
}

fn json_suite(folder: &Path) -> Vec<Row> {
    let limits = json::Limits { max_bytes: 1 << 20, max_depth: 32 };
    let all = files(folder, Some("json"));
    let of =
        |letter: char| all.iter().filter(move |(name, _)| name.starts_with(letter)).map(|(_, bytes)| bytes);
    let (no, yes): (Vec<_>, Vec<_>) = (of('n').collect(), of('y').collect());
    let refused: Vec<&str> = no
        .iter()
        .filter_map(|bytes| {
            Some((json::check_syntax(bytes).err()?, json::parse(bytes, limits).err()?).1.code())
        })
        .filter(|code| is_explained(code))
        .collect();
    let parsed = yes.iter().filter(|bytes| json::check_syntax(bytes).is_ok()).count();
    let strict: Vec<&str> =
        yes.iter().filter_map(|bytes| Some(json::parse(bytes, limits).err()?.code())).collect();
    // Duplicate keys and floats, and nothing else.
    let named = strict.iter().filter(|code| matches!(**code, "MPKG-J04" | "MPKG-J05")).count();
    assert_eq!(named, strict.len(), "a third rule refuses JSON that is right: {strict:?}");
    vec![
        Row {
            corpus: "JSONTestSuite",
            what: "`n_`: refused by a named rule",
            right: refused.len(),
            of: no.len(),
            how: tally(refused),
        },
        Row {
            corpus: "JSONTestSuite",
            what: "`y_`: parsed as syntax",
            right: parsed,
            of: yes.len(),
            how: "–".into(),
        },
        Row {
            corpus: "JSONTestSuite",
            what: "`y_`: refused by a strict rule",
            right: named,
            of: 17,
            how: tally(strict),
        },
    ]
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
        .unwrap()
}

fn wycheproof(file: &Path) -> Vec<Row> {
    let corpus = read_json(file);
    let (mut right, mut of, mut valid) = (0, 0, 0);
    for group in corpus["testGroups"].as_array().unwrap() {
        let key = PublicKey::from_bytes(&hex(&group["publicKey"]["pk"]).try_into().unwrap());
        for test in group["tests"].as_array().unwrap() {
            let signature: Option<[u8; 64]> = hex(&test["sig"]).try_into().ok();
            let verdict = match (&key, signature) {
                (Ok(key), Some(signature)) => key.verify(&hex(&test["msg"]), &signature),
                _ => false,
            };
            of += 1;
            valid += usize::from(verdict);
            right += usize::from(verdict == (test["result"] == "valid"));
        }
    }
    let how = format!("{valid} valid, {} refused", of - valid);
    vec![Row { corpus: "Wycheproof", what: "Ed25519 verdicts", right, of, how }]
}

fn speccheck(file: &Path) -> Vec<Row> {
    let corpus = read_json(file);
    let (mut right, mut accepted, mut enrolled) = (0, Vec::new(), 0);
    let cases = corpus.as_array().unwrap();
    for (number, case) in cases.iter().enumerate() {
        let raw: [u8; 32] = hex(&case["pub_key"]).try_into().unwrap();
        let signature: [u8; 64] = hex(&case["signature"]).try_into().unwrap();
        let message = hex(&case["message"]);
        let strict = VerifyingKey::from_bytes(&raw)
            .is_ok_and(|key| key.verify_strict(&message, &Signature::from_bytes(&signature)).is_ok());
        if strict {
            accepted.push(number);
        }
        // A key of small order, with torsion, or in a second encoding is refused before it verifies anything.
        right += usize::from(match PublicKey::from_bytes(&raw) {
            Ok(key) => {
                enrolled += 1;
                key.verify(&message, &signature) == strict
            }
            Err(error) => is_explained(error.code()),
        });
    }
    assert_eq!(accepted, [3]);
    let how = format!(
        "strict accepts case 3 alone; {} keys are refused beforehand, that one too",
        cases.len() - enrolled
    );
    vec![Row { corpus: "speccheck", what: "as strict verification judges", right, of: cases.len(), how }]
}

fn w3c(folder: &Path) -> Vec<Row> {
    let packages = files(folder, Some("ma"));
    let codes: Vec<&str> = packages.iter().filter_map(|(_, bytes)| refusal(bytes)).collect();
    let corpus = "W3C MiniApp";
    let what = "refused as a package by a named rule";
    let mut rows = vec![Row { corpus, what, right: codes.len(), of: packages.len(), how: tally(codes) }];

    let help = match workspace::run_mpkg(&["--help"], 0) {
        Ok(output) => String::from_utf8(output.stdout).unwrap(),
        Err(problem) => {
            loud(&format!("SKIPPED: importing the W3C packages: {problem}"));
            return rows;
        }
    };
    if !help.lines().any(|line| line.trim_start().starts_with("import ")) {
        loud("SKIPPED: importing the W3C packages: this mpkg has no verb `import`");
        return rows;
    }
    let out = tempfile::tempdir().unwrap();
    let (mut right, mut remarks) = (0, 0);
    for (name, _) in &packages {
        match imported(&folder.join(name), &out.path().join(name)) {
            Ok(cited) => (right, remarks) = (right + 1, remarks + cited),
            Err(problem) => loud(&problem),
        }
    }
    let how = format!("each gives a valid manifest; {remarks} remarks cite the specification");
    rows.push(Row { corpus, what: "imported with a report", right, of: packages.len(), how });
    rows
}

/// Imports a package; how many remarks of the report cite the specification.
fn imported(file: &Path, out: &Path) -> Result<usize, String> {
    let arguments = ["import", file.to_str().unwrap(), "--out", out.to_str().unwrap(), "--format", "json"];
    let output = workspace::run_mpkg(&arguments, 0)?;
    let report: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let manifest = fs::read(out.join("manifest.json")).map_err(|error| error.to_string())?;
    mpkg_manifest::Manifest::parse(&manifest)
        .map_err(|problems| format!("{}: {problems:?}", file.display()))?;
    match citations(&report) {
        0 => Err(format!("{}: the report cites nothing: {report:#}", file.display())),
        cited => Ok(cited),
    }
}

/// How many links to the specification a report holds.
fn citations(report: &Value) -> usize {
    match report {
        Value::Array(items) => items.iter().map(citations).sum(),
        Value::Object(members) => members.iter().map(|(_, value)| citations(value)).sum(),
        Value::String(text) => usize::from(text.contains("w3.org/TR/miniapp")),
        _ => 0,
    }
}
