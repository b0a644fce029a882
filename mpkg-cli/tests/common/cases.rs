//! Tables of committed cases: `tests/<table>/<CODE>/{hit,miss}…`, folders of files.
//!
//! Secrets are assembled here. A string in this repository that looks like a live key would set off every scanner
//! that looks at it, and they would be right.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, BASE64URL_NOPAD};

/// One case.
#[derive(Debug)]
pub struct Case {
    pub code: String,
    /// The folder's name: it begins with `hit` or `miss`.
    pub name: String,
    /// Names and contents, with placeholders filled in.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Case {
    pub fn is_hit(&self) -> bool {
        self.name.starts_with("hit")
    }

    /// Takes out a file that is not part of the input, but tells what to do with it.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.files.remove(name).map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

/// All cases of a table, and a complaint about each code that lacks a hit or a miss, or has no row in the table.
pub fn cases(table: &str, codes: &[String]) -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(table);
    let mut cases = Vec::new();
    for folder in folders(&root) {
        let code = name_of(&folder);
        assert!(codes.contains(&code), "tests/{table}/{code} is about no check");
        for case in folders(&folder) {
            let name = name_of(&case);
            assert!(name.starts_with("hit") || name.starts_with("miss"), "{}", case.display());
            cases.push(Case { code: code.clone(), name, files: read(&case) });
        }
    }
    for code in codes {
        for kind in [true, false] {
            let found = cases.iter().any(|case| case.code == *code && case.is_hit() == kind);
            assert!(found, "tests/{table}/{code} has no {}", if kind { "hit" } else { "miss" });
        }
    }
    cases
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn read(case: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = walkdir::WalkDir::new(case)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let name = entry.path().strip_prefix(case).unwrap().to_str().unwrap().replace('\\', "/");
            // What would be hidden or ignored here has another name, as in the templates.
            let name = name.replace("dot-", ".");
            let name = name.strip_suffix(".in").unwrap_or(&name).to_owned();
            (name, fill(&fs::read_to_string(entry.path()).unwrap()))
        })
        .collect()
}

/// Fills in `{{placeholders}}`.
fn fill(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, tail) = after.split_once("}}").unwrap();
        out.extend_from_slice(before.as_bytes());
        out.extend(placeholder(name));
        rest = tail;
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn placeholder(name: &str) -> Vec<u8> {
    let (word, value) = name.split_once(' ').unwrap_or((name, ""));
    match (word, value) {
        ("fill", number) => vec![b'x'; number.parse().unwrap()],
        ("png", size) => {
            let (width, height) = size.split_once('x').unwrap();
            png(width.parse().unwrap(), height.parse().unwrap())
        }
        ("random", length) => random(length.parse().unwrap()).into_bytes(),
        ("pem", kind) => pem(kind).into_bytes(),
        ("token", kind) => token(kind).into_bytes(),
        // Enough for some scanners by itself.
        ("mark", word) => format!("-----{word}").into_bytes(),
        _ => panic!("no placeholder {name}"),
    }
}

/// Digits and letters that look drawn, the same each time.
pub fn random(length: usize) -> String {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"[(state % 56) as usize])
    };
    (0..length).map(|_| next()).collect()
}

/// A file that begins and ends as a key does. It is none.
pub fn pem(kind: &str) -> String {
    let body = BASE64.encode(random(48).as_bytes());
    format!("-----{} {kind}-----\n{body}\n-----{} {kind}-----\n", "BEGIN", "END")
}

fn token(kind: &str) -> String {
    let upper = |length: usize| -> String {
        let letters = random(200).to_ascii_uppercase();
        letters.chars().filter(|c| c.is_ascii_uppercase() || ('2'..='7').contains(c)).take(length).collect()
    };
    match kind {
        "aws" => ["AK", "IA", &upper(16)].concat(),
        "aws-example" => ["AK", "IA", "IOSFODNN7", "EXAMPLE"].concat(),
        "github" => ["gh", "p_", &random(36)].concat(),
        "github-fine" => ["github", "_pat_", &random(22), "_", &random(59)].concat(),
        "gitlab" => ["gl", "pat-", &random(20)].concat(),
        "npm" => ["np", "m_", &random(36)].concat(),
        "slack" => ["xo", "xb-", "1093847562", "-", &random(24)].concat(),
        "slack-webhook" => {
            ["https://hooks.", "slack.com/services/T", &upper(8), "/B", &upper(8), "/", &random(24)].concat()
        }
        "google" => ["AI", "za", &random(35)].concat(),
        "stripe" => ["sk_", "live_", &random(24)].concat(),
        "jwt" => [
            &BASE64URL_NOPAD.encode(br#"{"alg":"HS256","typ":"JWT"}"#),
            ".",
            &BASE64URL_NOPAD.encode(br#"{"sub":"1","name":"somebody"}"#),
            ".",
            &random(43),
        ]
        .concat(),
        other => panic!("no token {other}"),
    }
}

/// The first bytes of a PNG, as far as anybody reads who does not draw it.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 6, 0, 0, 0]);
    bytes
}

/// A JSON merge patch (RFC 7396).
pub fn merge(target: &mut serde_json::Value, patch: &serde_json::Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = serde_json::json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

/// The codes of `mpkg explain --list` that begin so.
pub fn codes(list: &serde_json::Value, prefix: &str) -> Vec<String> {
    let codes =
        list["codes"].as_array().unwrap().iter().map(|entry| entry["code"].as_str().unwrap().to_owned());
    let codes: Vec<String> = codes.filter(|code| code.starts_with(prefix)).collect();
    assert!(codes.len() > 5, "{prefix}");
    codes
}

/// The different codes of the findings in a report.
pub fn found(report: &serde_json::Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("{report:#}"));
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}
