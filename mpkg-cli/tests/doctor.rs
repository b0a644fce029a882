//! `mpkg doctor`: each check with a project that triggers it and one that just does not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![cfg(unix)]

#[path = "common/cases.rs"]
mod cases;
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use cases::{Case, codes, found};
use common::{MANIFEST, Place, settings, transcript};
use serde_json::Value;

const LOCK: &str = include_str!("../../sdk/js/toolchain/package-lock.json");

/// A machine that has everything, whatever this one has: small programs that answer as the real ones do.
fn machine(place: &Place) {
    let tool = |name: &str, body: &str| {
        place.write(&format!("bin/{name}"), format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(place.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let lib = place.path("lib");
    tool(
        "rustc",
        &format!(
            "case \"$*\" in\n*target-libdir*) echo '{}' ;;\n*-vV*) printf 'rustc 1.95.0\\ncommit-hash: 0\\n' ;;\n*) echo / ;;\nesac",
            lib.display()
        ),
    );
    place.write("lib/libstd-0.rlib", "");
    tool(
        "cargo",
        "case \"$1\" in\nlocate-project) exit 1 ;;\ngenerate-lockfile) : > Cargo.lock ;;\n*) echo 'cargo 1.95.0' ;;\nesac",
    );
    tool("node", "echo v22.1.0");
    tool("npm", ": > package-lock.json");
    place.write("toolchain/js/package-lock.json", LOCK);
    fs::create_dir_all(place.path("toolchain/js/node_modules")).unwrap();
    if let Some(git) = real_git() {
        std::os::unix::fs::symlink(git, place.path("bin/git")).unwrap();
    }
}

fn real_git() -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join("git")).find(|file| file.is_file())
}

/// Lays the project of a case out. The lines of its file `setup` change project or machine.
fn lay_out(place: &Place, case: &mut Case) {
    machine(place);
    let setup = case.take("setup").unwrap_or_default();
    place.write(
        "app/manifest.json",
        MANIFEST.replace("\"cart.write\" }", "\"cart.write\", \"reason\": \"Orders it.\" }"),
    );
    if !case.files.contains_key("package.json") {
        place.write("app/Cargo.toml", "[package]\nname = \"app\"\n");
        place.write("app/Cargo.lock", "");
    }
    for (name, data) in &case.files {
        let name = format!("app/{name}");
        place.write(&name, data);
        if name.ends_with(".pem") {
            fs::set_permissions(place.path(&name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    for line in setup.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["remove", file] => fs::remove_file(place.path(file)).unwrap(),
            ["remove-folder", file] => fs::remove_dir_all(place.path(file)).unwrap(),
            ["mode", mode, file] => {
                let mode = u32::from_str_radix(mode, 8).unwrap();
                fs::set_permissions(place.path(file), fs::Permissions::from_mode(mode)).unwrap();
            }
            ["node", version] => {
                place.write("bin/node", format!("#!/bin/sh\necho v{version}\n"));
            }
            ["git", args @ ..] => {
                let mut git = Command::new(real_git().unwrap());
                git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
                assert!(
                    git.current_dir(place.path("app")).args(args).output().unwrap().status.success(),
                    "{line}"
                );
            }
            _ => panic!("{}/{}: {line}", case.code, case.name),
        }
    }
}

fn command(place: &Place) -> Command {
    let mut command = place.mpkg();
    command.env_clear().env("PATH", place.path("bin")).env("HOME", place.path("home")).env("NO_COLOR", "1");
    command.env("MPKG_TOOLCHAIN", place.path("toolchain")).env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.args(["doctor", "app"]);
    command
}

fn doctor(place: &Place, args: &[&str]) -> (Output, Value) {
    let output = command(place).args(args).args(["--format", "json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output)));
    (output, report)
}

#[test]
fn each_check_sees_what_it_should_and_no_more() {
    if real_git().is_none() {
        eprintln!("SKIPPED: git is not on the PATH");
        return;
    }
    let place = Place::new();
    let list: Value = serde_json::from_str(&place.ok(&["explain", "--list", "--format", "json"])).unwrap();
    for mut case in cases::cases("doctor", &codes(&list, "MPKG-D")) {
        let place = Place::new();
        let name = format!("{}/{}", case.code, case.name);
        lay_out(&place, &mut case);
        let (output, report) = doctor(&place, &[]);
        if !case.is_hit() {
            assert!(found(&report).is_empty(), "{name}: {report:#}");
            assert_eq!(output.status.code(), Some(0), "{name}");
            continue;
        }
        assert_eq!(found(&report), [case.code.as_str()], "{name}: {report:#}");
        let finding = report["findings"][0].clone();
        assert!(finding["fix"].is_string(), "{name}");
        let failed = finding["severity"] == "error";
        assert_eq!(output.status.code(), Some(i32::from(failed)), "{name}: {report:#}");
        // What can be fixed is fixed, and what cannot stays.
        let (_, report) = doctor(&place, &["--fix"]);
        assert_eq!(report["findings"][0]["fixed"], finding["fixable"], "{name}: {report:#}");
        let (output, report) = doctor(&place, &[]);
        if finding["fixable"] == true {
            assert!(found(&report).is_empty(), "{name}: {report:#}");
            assert_eq!(output.status.code(), Some(0), "{name}");
        } else {
            assert_eq!(found(&report), [case.code.as_str()], "{name}: {report:#}");
        }
    }
}

#[test]
fn fixes_touch_nothing_else() {
    let place = Place::new();
    machine(&place);
    place.write("app/manifest.json", MANIFEST);
    place.write("app/Cargo.toml", "[package]\nname = \"app\"\n");
    place.write("app/.gitignore", "/target");
    place.write("app/keys/release.pem", cases::pem("PRIVATE KEY"));
    fs::set_permissions(place.path("app/keys/release.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, report) = doctor(&place, &["--fix"]);
    let fixed =
        report["findings"].as_array().unwrap().iter().filter(|finding| finding["fixed"] == true).count();
    assert_eq!(fixed, 3, "{report:#}");
    assert_eq!(place.read("app/.gitignore"), b"/target\n/keys/release.pem\n");
    assert_eq!(place.read("app/keys/release.pem"), cases::pem("PRIVATE KEY").into_bytes());
    let mode = fs::metadata(place.path("app/keys/release.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(place.path("app/Cargo.lock").is_file());
}

#[test]
fn what_people_see() {
    let place = Place::new();
    machine(&place);
    place.write("app/manifest.json", MANIFEST.replace("cart.write", "cart.wirte"));
    place.write("app/package.json", "{ \"dependencies\": { \"left-pad\": \"^1.0.0\" } }");
    place.write("app/release.pem", cases::pem("PRIVATE KEY"));
    fs::set_permissions(place.path("app/release.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let mut settings = settings();
    // The tools' names and versions, which change with each update.
    settings.add_filter(r"(?m)^  (@bytecodealliance|rolldown|wasmtime).*\n", "");
    for (name, args) in [("before", &[][..]), ("fixed", &["--fix"])] {
        let output = command(&place).args(args).output().unwrap();
        settings.bind(|| insta::assert_snapshot!(name, transcript(&output)));
    }
}

#[test]
fn bad_input() {
    let place = Place::new();
    place.write("file", "");
    for (name, args) in [("no-folder", ["doctor", "nowhere"]), ("file", ["doctor", "file"])] {
        settings().bind(|| insta::assert_snapshot!(format!("bad-{name}"), place.both(&args)));
    }
}

/// `mpkg doctor --fix` in a system's folder must not take the rights that servers need to their keys.
#[test]
fn keys_outside_of_a_project_are_left_alone() {
    let place = Place::new();
    place.write("etc/server.key", cases::pem("PRIVATE KEY"));
    fs::set_permissions(place.path("etc/server.key"), fs::Permissions::from_mode(0o640)).unwrap();
    place.status(&["doctor", "etc", "--fix"]);
    let mode = fs::metadata(place.path("etc/server.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
