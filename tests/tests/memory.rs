//! How much memory `mpkg verify` takes: the file, and not much more.

#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../package/tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use mpkg_package::{container, sign};
use mpkg_tests::workspace;

const MIB: usize = 1 << 20;
/// Program, libraries, and whatever a verification needs beside the bytes themselves.
const SPARE: usize = 16 * MIB;

/// Runs `mpkg` and gives the most memory it had at once, and what it printed.
///
/// Linux keeps the mark while the program lives, so the last look before it ends is the one that counts. What it holds
/// grows while it reads the file, long before that.
fn peak(arguments: &[&str], exit: i32) -> (usize, String) {
    let mut child =
        workspace::mpkg(arguments).unwrap().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = high_water(&status).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_micros(200));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{text}");
    (peak, text)
}

fn high_water(status: &str) -> Option<usize> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? * 1024)
}

fn check(what: &str, file: &Path, arguments: &[&str], exit: i32) {
    let size = fs::metadata(file).unwrap().len() as usize;
    let (peak, text) = peak(arguments, exit);
    println!("{what}: {:.1} MiB at once for {:.1} MiB", peak as f64 / MIB as f64, size as f64 / MIB as f64);
    assert!(peak > size, "{what} was not seen with the whole file: {peak} of {size} bytes");
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
