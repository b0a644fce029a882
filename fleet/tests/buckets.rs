//! Bucketing: independent test data, uniformity, independence, growth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use mpkg_fleet::{Arm, BUCKETS, BasisPoints, arm, bucket, bucket_of};
use proptest::prelude::*;
use serde_json::Value;

fn folder() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("MPKG_CORPORA").map(Into::into);
    if folder.is_none() {
        // Straight to the stream: the test harness keeps to itself what a passing test prints.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: MPKG_CORPORA is not set, so no bucketing corpus was judged"
        );
    }
    folder
}

/// The variants of a `fractional` rule with their weights, and what it hashes when that is no variable.
fn variants(rule: &Value) -> (Vec<(String, u32)>, Option<&Value>) {
    let parts = rule["targeting"]["fractional"].as_array().unwrap();
    let key = parts.first().filter(|part| part.is_object());
    let rest = &parts[usize::from(key.is_some())..];
    let variant = |part: &Value| {
        let weight = part.get(1).map_or(1, |weight| weight.as_u64().unwrap() as u32);
        (part[0].as_str().unwrap().to_owned(), weight)
    };
    (rest.iter().map(variant).collect(), key)
}

fn pick(variants: &[(String, u32)], bytes: &[u8]) -> String {
    let total = variants.iter().map(|(_, weight)| weight).sum();
    let mut at = bucket(bytes, total);
    for (name, weight) in variants {
        if at < *weight {
            return name.clone();
        }
        at -= weight;
    }
    panic!("bucket {at} is outside of {total}")
}

fn cbor(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// One row of a table in a feature file, with the flag of its scenario and the version that it is for.
struct Row {
    flag: String,
    version: String,
    /// The type of what is hashed, where the scenario gives it.
    kind: String,
    cells: Vec<String>,
}

fn rows(folder: &Path) -> Vec<Row> {
    let text = fs::read_to_string(folder.join("flagd-targeting.feature")).unwrap();
    let [mut flag, mut scenario, mut version, mut kind] = [const { String::new() }; 4];
    let mut rows = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(tags) = line.strip_prefix('@') {
            let tag = tags.rsplit("fractional-").next().unwrap_or_default().to_owned();
            if tags.starts_with("fractional-v") { version = tag } else { scenario = tag }
        } else if line.starts_with("Scenario") {
            version = std::mem::take(&mut scenario);
            (flag, kind) = Default::default();
        } else if let Some(rest) = line.split("with key \"").nth(1) {
            flag = rest.split('"').next().unwrap().to_owned();
        } else if let Some(rest) = line.split("with type \"").nth(1) {
            kind = rest.split('"').next().unwrap().to_owned();
        } else if line.starts_with('|') {
            let cells = line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
            rows.push(Row { flag: flag.clone(), version: version.clone(), kind: kind.clone(), cells });
        }
    }
    rows
}

#[test]
fn the_corpus_rows_resolve_as_they_say() {
    let Some(folder) = folder().map(|folder| folder.join("rollout")) else { return };
    let text = fs::read(folder.join("flagd-custom-ops.json")).unwrap();
    let flags: Value = serde_json::from_slice(&text).unwrap();
    let (mut strings, mut arrays, mut edges, mut integers) = (0, 0, 0, 0);
    for row in rows(&folder) {
        let cells: Vec<&str> = row.cells.iter().map(String::as_str).collect();
        let header = *cells.last().unwrap() == "value";
        let edge = row.flag == "fractional-hash-edge-flag";
        if header || !(row.version == "v3" || edge) {
            continue;
        }
        let rule = &flags["flags"][&row.flag];
        let (variants, key) = variants(rule);
        let (bytes, count) = match (row.version.as_str(), row.flag.as_str()) {
            // Bytes hashed as they are: these pin `bucket`.
            (_, "fractional-hash-edge-flag") => (cells[0].as_bytes().to_vec(), &mut edges),
            // What is no string has no bucket there, and is no array of strings.
            ("v3", "fractional-flag-shorthand") if cells.len() > 2 => continue,
            ("v3", "fractional-flag-shorthand") => (cbor(&[row.flag.as_str(), cells[0]]), &mut arrays),
            ("v3", "fractional-basic-flag") => {
                match if cells.len() > 2 { cells[1] } else { row.kind.as_str() } {
                    // As it stands: a table has no escapes of that kind.
                    "String" => (cbor(&cells[0]), &mut strings),
                    "Integer" => (cbor(&cells[0].parse::<i64>().unwrap()), &mut integers),
                    // Nothing else is ever hashed here.
                    _ => continue,
                }
            }
            ("v3", _) => {
                let first = &key.unwrap()["cat"][0];
                let first = first.as_str().unwrap_or(&row.flag);
                (cbor(&format!("{first}{}", cells[0])), &mut strings)
            }
            other => panic!("{other:?}"),
        };
        let name = pick(&variants, &bytes);
        let value = rule["variants"][&name].as_str().unwrap();
        assert_eq!(value, *cells.last().unwrap(), "{} {:?}", row.flag, row.cells);
        *count += 1;
    }
    assert_eq!((strings, arrays, edges), (34, 5, 5), "the corpus is not complete");
    assert!(integers > 10, "{integers}");
}

/// Two published values of MurmurHash3 x86 32, seed 0, so that something pins the hash without the corpus.
#[test]
fn the_hash_is_murmur3() {
    // "hello" hashes to 0x248bfa47, "hello, world" to 0x149bbb7f.
    assert_eq!(bucket(b"hello", u32::MAX), ((0x248b_fa47_u64 * u64::from(u32::MAX)) >> 32) as u32);
    assert_eq!(bucket(b"hello, world", 1 << 16), 0x149b);
}

/// An array of two text strings, as RFC 8949 writes it.
#[test]
fn the_array_is_cbor() {
    let bytes = b"\x82\x64salt\x68device-1";
    assert_eq!(bucket_of("salt", "device-1"), bucket(bytes, BUCKETS));
}

fn chi_square(counts: &[u64], expected: f64) -> f64 {
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

/// 100 000 units in 100 groups of buckets: chi-square with 99 degrees of freedom is below 148.2 in 99.9 % of cases.
#[test]
fn buckets_are_uniform() {
    for salt in ["r-1", "r-2", "2026-01-31"] {
        let mut counts = [0_u64; 100];
        (0..100_000).for_each(|n| counts[bucket_of(salt, &format!("device-{n}")) as usize / 100] += 1);
        let chi = chi_square(&counts, 1_000.0);
        assert!(chi < 148.2, "{salt}: {chi}");
    }
}

/// Where a unit lies under one salt tells nothing about where it lies under another: 10 x 10 groups, 81 degrees of
/// freedom, below 126.1 in 99.9 % of cases.
#[test]
fn salts_are_independent() {
    for (one, other) in [("r-1", "r-2"), ("r-1", "r-10"), ("a", "b")] {
        let mut counts = [0_u64; 100];
        for n in 0..100_000 {
            let unit = format!("device-{n}");
            counts[(bucket_of(one, &unit) / 1_000 * 10 + bucket_of(other, &unit) / 1_000) as usize] += 1;
        }
        let chi = chi_square(&counts, 1_000.0);
        assert!(chi < 126.1, "{one} {other}: {chi}");
    }
}

fn share() -> impl Strategy<Value = BasisPoints> {
    (0_u16..=10_000).prop_map(|points| BasisPoints::new(points).unwrap())
}

proptest! {
    #[test]
    fn growth_never_drops_anybody(salt in "[a-z0-9]{1,8}", unit in ".{0,40}", one in share(), other in share()) {
        let (less, more) = (one.min(other), one.max(other));
        let at = bucket_of(&salt, &unit);
        prop_assert!(at < BUCKETS);
        if arm(at, less, less.control()) == Arm::Treatment {
            prop_assert_eq!(arm(at, more, more.control()), Arm::Treatment);
        }
    }

    #[test]
    fn arms_are_disjoint_and_as_large_as_they_say(percent in share()) {
        let control = percent.control();
        let count = |which| (0..BUCKETS).filter(|at| arm(*at, percent, control) == which).count();
        prop_assert_eq!(count(Arm::Treatment), usize::from(percent.get()));
        prop_assert_eq!(count(Arm::Control), usize::from(control.get()));
    }
}
