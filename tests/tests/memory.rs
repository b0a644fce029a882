//! How much memory `mpkg verify` takes: the file, and not much more.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unreachable_pub)]
#[path = "../../package/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use mpkg_package::{container, sign};
use mpkg_tests::workspace::binary;

const MIB: usize = 1 << 20;
/// Program, libraries, and whatever a verification needs beside the bytes themselves.
const SPARE: usize = 16 * MIB;

/// Runs `mpkg` and gives the most memory it had at once, and what it printed.
fn peak(arguments: &[&str], exit: i32) -> (usize, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_peak"))
        .arg(binary("mpkg").unwrap())
        .args(arguments)
        .env_remove("MPKG_TRUST")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{text}{}", String::from_utf8_lossy(&output.stderr));
    (text.lines().last().unwrap().parse().unwrap(), text)
}

fn check(what: &str, file: &Path, arguments: &[&str], exit: i32) {
    let size = fs::metadata(file).unwrap().len() as usize;
    let (peak, text) = peak(arguments, exit);
    println!("{what}: {:.1} MiB at once for {:.1} MiB", peak as f64 / MIB as f64, size as f64 / MIB as f64);
    assert!(peak <= size + SPARE, "{what} had {peak} bytes at once for a file of {size} bytes\n{text}");
}

#[test]
fn verifying_takes_the_file_and_sixteen_mebibytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut files: Vec<(&str, Vec<u8>)> = support::files();
    files.push(("assets/a.bin", vec![0xA5; 30 * MIB]));
    files.push(("assets/b.bin", vec![0x5A; 30 * MIB - 8192]));
    let package = container::write(&files).unwrap();
    let signed = sign(&package, &support::key(), &support::root(), support::time()).unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("unsigned.mpkg"), &package).unwrap();
    fs::write(at("signed.mpkg"), signed.embed(&package).unwrap()).unwrap();
    fs::write(at("beside.sig"), signed.detached()).unwrap();
    let mut tampered = package;
    tampered[31 * MIB] ^= 1;
    fs::write(at("tampered.mpkg"), tampered).unwrap();
    fs::write(at("key.pub"), support::key().public().to_pem()).unwrap();

    let text = |name: &str| at(name).to_str().unwrap().to_owned();
    let key = text("key.pub");
    let (unsigned, beside) = (text("unsigned.mpkg"), text("beside.sig"));
    check("signed", &at("signed.mpkg"), &["verify", &text("signed.mpkg"), "--trust", &key], 0);
    let detached = ["verify", &unsigned, "--signature", &beside, "--trust", &key];
    check("with a detached signature", &at("unsigned.mpkg"), &detached, 0);
    check("unsigned", &at("unsigned.mpkg"), &["verify", &unsigned, "--unsigned", "--list"], 0);
    let tampered = ["verify", &text("tampered.mpkg"), "--signature", &beside, "--trust", &key];
    check("tampered with", &at("tampered.mpkg"), &tampered, 3);
}

/// However large a file is, no more than the limit of it is read.
#[test]
fn a_file_over_the_limit_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("huge.mpkg");
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let (peak, text) = peak(&["verify", file.to_str().unwrap(), "--unsigned", "--format", "json"], 3);
    assert!(text.contains("MPKG-Z02"), "{text}");
    assert!(peak <= 2 * SPARE, "{peak} bytes for a file that is refused by its size\n{text}");
}
