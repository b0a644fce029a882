//! Builds JavaScript guests with the real toolchain. Skipped, saying so, where node is missing; an error with CI=true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn has_node() -> bool {
    if Command::new("node").arg("--version").output().is_ok() {
        return true;
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "node is missing");
    eprintln!("SKIPPED: node is missing");
    false
}

fn build(project: &Path, out: &Path, zone: &str) -> Output {
    let toolchain = std::env::var_os("MPKG_TOOLCHAIN").map(PathBuf::from);
    Command::new(env!("CARGO_BIN_EXE_mpkg"))
        .arg("build")
        .arg(project)
        .arg("-o")
        .arg(out)
        .env("MPKG_TOOLCHAIN", toolchain.unwrap_or_else(|| root().join("target/guest-toolchain")))
        .env("TZ", zone)
        .current_dir(project)
        .output()
        .unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_name().to_str().unwrap() {
            "node_modules" | "target" => {}
            _ if entry.file_type().unwrap().is_dir() => copy(&entry.path(), &target),
            _ => {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}

/// A project whose program is `source`, in `dir`.
fn project(dir: &Path, source: &str) {
    copy(&root().join("examples/shopping-cart"), dir);
    std::fs::remove_dir_all(dir.join("src")).unwrap();
    std::fs::create_dir(dir.join("src")).unwrap();
    std::fs::write(dir.join("src/index.js"), source).unwrap();
}

#[test]
fn two_folders_two_times_two_zones_one_package() {
    if !has_node() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let mut packages = Vec::new();
    for (folder, zone) in [("shop", "UTC"), ("somewhere/else/entirely", "Asia/Tokyo")] {
        let dir = work.path().join(folder);
        copy(&root().join("examples/shopping-cart"), &dir);
        let out = dir.join("tea.mpkg");
        let output = build(&dir, &out, zone);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        packages.push(std::fs::read(out).unwrap());
    }
    assert!(packages[0] == packages[1], "the two packages differ");

    let text = String::from_utf8_lossy(&packages[0]);
    let folder = work.path().to_str().unwrap();
    assert!(
        !text.contains(folder) && !text.contains(root().to_str().unwrap()),
        "a folder is named in the package"
    );
}

#[test]
fn a_broken_program_is_shown_at_its_place() {
    if !has_node() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let cases = [
        ("export const app = ;\n", "src/index.js:1:20: Unexpected token"),
        (
            "\nimport fs from 'node:fs';\nexport const app = fs;\n",
            "src/index.js:2:17: node:fs belongs to Node",
        ),
        ("export const ap = 1;\n", "src/index.js: a Mini App exports its interface"),
    ];
    for (index, (source, expected)) in cases.into_iter().enumerate() {
        let dir = work.path().join(index.to_string());
        project(&dir, source);
        let output = build(&dir, &dir.join("x.mpkg"), "UTC");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn a_program_that_calls_the_host_too_early_is_told_so() {
    if !has_node() {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let source = "import { defineApp, storage } from '@mpkg/sdk';\nconst old = storage.get('x');\n\
                  export const app = defineApp({ methods: { 'a.b': () => old } });\n";
    project(work.path(), source);
    let output = build(work.path(), &work.path().join("x.mpkg"), "UTC");
    let stderr = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("calls the host (mpkg:bridge/storage@1.0.0) while it is being built"),
        "{stderr}"
    );
}
