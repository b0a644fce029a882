//! What verifying costs beside the least it can: `verify` against one SHA-256 pass over the same bytes, `validate`
//! against `wasmparser` alone.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../package/tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::hint::black_box;

use mpkg_package::{Trust, container, sign, verify_detached, wasm};
use mpkg_tests::{bench, workspace};
use sha2::{Digest as _, Sha256};
use wasmparser::Validator;

const MIB: usize = 1 << 20;

/// Bytes that look like nothing in particular, the same in each run.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

/// A package of 12 MiB: one large file, and many that are small. Its component is tiny, since validating is measured
/// apart.
fn package() -> Vec<u8> {
    let mut files: Vec<(String, Vec<u8>)> =
        support::files().into_iter().map(|(name, data)| (name.to_owned(), data)).collect();
    files.push(("assets/large.bin".to_owned(), noise(8 * MIB, 1)));
    for number in 0..256 {
        files.push((format!("assets/small/{number:03}.bin"), noise(16 << 10, number + 2)));
    }
    container::write(&files).unwrap()
}

/// A component around a core module with many functions of the usual instructions.
fn component() -> Vec<u8> {
    let mut text =
        String::from("(module (memory 16) (global $g (mut i32) (i32.const 0)) (table 4 funcref)\n");
    text.push_str("(type $t (func (param i32 i64) (result i32)))\n");
    for number in 0..6000 {
        let (callee, constant) = (number / 2, number * 7919 % 65_521);
        writeln!(
            text,
            "(func $f{number} (type $t) (local $n i32) (local $x f64)
               (block $out (loop $again
                 (br_if $out (i32.ge_u (local.get $n) (local.get 0)))
                 (i32.store offset=8 (local.get $n) (i32.add (i32.load (local.get $n)) (i32.const {constant})))
                 (local.set $x (f64.add (local.get $x) (f64.convert_i64_u (local.get 1))))
                 (if (i64.eqz (local.get 1)) (then (global.set $g (local.get $n))) (else (br $again)))
                 (local.set $n (i32.add (local.get $n) (i32.const 4)))
                 (br_table $again $out (i32.and (local.get $n) (i32.const 1)))))
               (drop (call_indirect (type $t) (local.get $n) (local.get 1) (i32.const 1)))
               (call $f{callee} (i32.trunc_sat_f64_u (local.get $x)) (i64.extend_i32_u (local.get $n))))"
        )
        .unwrap();
    }
    text.push(')');
    support::component_around(&wat::parse_str(&text).unwrap())
}

fn main() {
    let package = package();
    let signature = sign(&package, &support::key(), &support::root(), support::time()).unwrap().detached();
    let trust = Trust::key(&support::key().public());
    // Verifying takes the bytes and gives them back; nothing is copied here.
    let mut bytes = package.clone();
    let verify = bench::compare(
        "verify",
        "one SHA-256 pass",
        1,
        |runs| {
            for _ in 0..runs {
                let verified = verify_detached(std::mem::take(&mut bytes), &signature, &trust).unwrap();
                (bytes, _) = black_box(verified).into_parts();
            }
        },
        |runs| {
            for _ in 0..runs {
                black_box(Sha256::digest(black_box(&package)));
            }
        },
    );

    let component = component();
    assert!(wasm::inspect(&component).is_ok());
    let validate = bench::compare(
        "validate",
        "wasmparser alone",
        1,
        |runs| {
            for _ in 0..runs {
                black_box(wasm::inspect(black_box(&component)).unwrap());
            }
        },
        |runs| {
            for _ in 0..runs {
                let mut validator = Validator::new_with_features(wasm::features());
                black_box(validator.validate_all(black_box(&component)).unwrap());
            }
        },
    );
    let rows = [verify, validate];
    print!("{}", bench::table(&rows));
    println!("package: {} bytes, component: {} bytes", package.len(), component.len());
    bench::record(&workspace::target().join("bench.json"), &rows).unwrap();
}
