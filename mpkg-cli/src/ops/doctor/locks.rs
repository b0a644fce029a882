//! Lock files: without one, the same source gives other bytes tomorrow.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Findings, checks};
use crate::ops::build::Kind;
use crate::ops::files;
use crate::ops::finding::Finding;
use crate::text;

const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };
/// A package.json is not longer.
const LIMIT: u64 = 1 << 20;

pub(super) fn check(kind: Kind, dir: &Path, findings: &mut Findings) {
    let dir = dir.to_owned();
    match kind {
        Kind::Rust => {
            let root = workspace(&dir);
            if !root.join("Cargo.lock").is_file() {
                let finding =
                    Finding::new(&checks::NO_CARGO_LOCK, "Cargo.lock is missing").file("Cargo.toml");
                findings.offer(finding, move || {
                    run(Command::new("cargo").arg("generate-lockfile").current_dir(dir))
                });
            }
        }
        Kind::Js => {
            if fetches(&dir) && !dir.join("package-lock.json").is_file() {
                let finding =
                    Finding::new(&checks::NO_NPM_LOCK, "package-lock.json is missing").file("package.json");
                findings.offer(finding, move || {
                    // No scripts: a lock file is all that is wanted.
                    let args =
                        ["install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"];
                    run(Command::new(NPM).args(args).current_dir(dir))
                });
            }
        }
    }
}

/// The folder whose lock file counts.
fn workspace(dir: &Path) -> PathBuf {
    let asked = Command::new("cargo")
        .args(["locate-project", "--workspace", "--message-format=plain"])
        .current_dir(dir)
        .stderr(Stdio::null())
        .output();
    let file =
        asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    match Path::new(&file).parent() {
        Some(root) if root.is_dir() => root.to_owned(),
        _ => dir.to_owned(),
    }
}

/// Whether the project has a dependency that comes from somewhere else than its own folder.
fn fetches(dir: &Path) -> bool {
    let text = files::read(&dir.join("package.json"), LIMIT).unwrap_or_default();
    let Ok(package) = serde_json::from_slice::<serde_json::Value>(&text) else { return false };
    let lists = ["dependencies", "devDependencies"].iter().filter_map(|list| package.get(list)?.as_object());
    let versions = lists.flat_map(|list| list.values()).filter_map(serde_json::Value::as_str);
    versions
        .into_iter()
        .any(|version| !["file:", "link:", "workspace:"].iter().any(|local| version.starts_with(local)))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| crate::error::reason(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(text::tail(&said, 1).trim().to_owned())
}
