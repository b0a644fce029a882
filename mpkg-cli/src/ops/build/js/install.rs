//! Installs the JavaScript toolchain into its folder, from npm, at the versions and hashes of the lock file that mpkg
//! carries.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use super::node::Node;
use super::wizer;
use crate::ops::build::{BuildError, Toolchain};

const PACKAGE: &str = include_str!("../../../../../sdk/js/toolchain/package.json");
const LOCK: &str = include_str!("../../../../../sdk/js/toolchain/package-lock.json");
const LOCK_NAME: &str = "package-lock.json";
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// Sees to it that the toolchain is there; answers with the versions of what it is made of.
pub(super) fn ensure(
    _: &Node,
    toolchain: &Toolchain,
    log: &mut dyn FnMut(&str),
) -> Result<Vec<(String, String)>, BuildError> {
    if !is_installed(&toolchain.js()) {
        log(&format!(
            "installing the JavaScript toolchain from npm into {} (64 MB, once)",
            toolchain.js().display()
        ));
        install(toolchain)?;
    }
    versions()
}

/// The versions of what is installed, or that it is not.
pub(super) fn find(_node: &Node, toolchain: &Toolchain) -> Result<Vec<(String, String)>, BuildError> {
    let js = toolchain.js();
    if is_installed(&js) {
        return versions();
    }
    let hint = "Run `mpkg build` once with a network: it fetches them from npm.".to_owned();
    Err(BuildError::ToolchainMissing { what: "JavaScript tools for guests", path: js, hint })
}

/// The lock file lies beside `node_modules` only once everything that it names is installed.
fn is_installed(js: &Path) -> bool {
    js.join("node_modules").is_dir()
        && std::fs::read(js.join(LOCK_NAME)).is_ok_and(|lock| lock == LOCK.as_bytes())
}

/// Installs beside the final folder and renames, so that a broken or a second install leaves no half of one behind.
fn install(toolchain: &Toolchain) -> Result<(), BuildError> {
    let root = toolchain.root();
    std::fs::create_dir_all(root).map_err(BuildError::io("create", root))?;
    let fresh =
        tempfile::Builder::new().prefix(".js-").tempdir_in(root).map_err(BuildError::io("write to", root))?;
    for (name, text) in [("package.json", PACKAGE), (LOCK_NAME, LOCK)] {
        let path = fresh.path().join(name);
        std::fs::write(&path, text).map_err(BuildError::io("write", &path))?;
    }
    // No scripts: what is installed is data and code for later, and runs nothing now.
    let output = Command::new(NPM)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(fresh.path())
        .output()
        .map_err(|_| BuildError::ToolMissing {
            tool: "npm",
            hint: "npm comes with Node; see that it is on the PATH.".into(),
        })?;
    if !output.status.success() {
        return Err(BuildError::ToolFailed {
            tool: "npm ci".into(),
            status: output.status.to_string(),
            output: first_lines(&output.stderr),
        });
    }
    put_in_place(fresh, &toolchain.js())
}

/// npm says what is wrong first, and then goes on with its own manual.
fn first_lines(output: &[u8]) -> String {
    String::from_utf8_lossy(output).lines().take(20).collect::<Vec<_>>().join("\n")
}

fn put_in_place(fresh: tempfile::TempDir, js: &Path) -> Result<(), BuildError> {
    let old = fresh.path().with_extension("old");
    if js.exists() {
        // Another build may have won the race; then its folder is as good as ours.
        if is_installed(js) {
            return Ok(());
        }
        std::fs::rename(js, &old).map_err(BuildError::io("replace", js))?;
    }
    let moved = std::fs::rename(fresh.path(), js);
    let _ = std::fs::remove_dir_all(&old);
    match moved {
        Err(_) if is_installed(js) => Ok(()),
        Err(error) => Err(BuildError::io("create", js)(error)),
        Ok(()) => {
            let _ = fresh.keep();
            Ok(())
        }
    }
}

/// The versions that the lock pins, which are the ones that were installed.
fn versions() -> Result<Vec<(String, String)>, BuildError> {
    #[derive(Deserialize)]
    struct Package {
        dependencies: std::collections::BTreeMap<String, String>,
    }
    let package: Package = serde_json::from_str(PACKAGE).map_err(|error| BuildError::Componentize {
        reason: format!("the toolchain's own list is broken: {error}"),
    })?;
    let mut tools: Vec<_> = package.dependencies.into_iter().collect();
    tools.push((wizer::TOOL.0.into(), wizer::TOOL.1.into()));
    Ok(tools)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_names_no_registry() {
        assert!(!LOCK.contains("\"resolved\""), "make it with --omit-lockfile-registry-resolved");
    }

    #[test]
    fn the_lock_belongs_to_the_package() {
        let lock: serde_json::Value = serde_json::from_str(LOCK).unwrap();
        let package: serde_json::Value = serde_json::from_str(PACKAGE).unwrap();
        assert_eq!(lock["packages"][""]["dependencies"], package["dependencies"]);
    }

    #[test]
    fn every_tool_has_one_exact_version() {
        for (name, version) in versions().unwrap() {
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{name} {version}");
        }
    }
}
