//! Copies what the binary embeds (the SDK and the project templates) to one folder, without what tools leave behind
//! in it, such as `target` and `node_modules`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What tools leave behind.
const LEFT_BEHIND: &[&str] = &["target", "node_modules", "dist", ".git", ".DS_Store"];
/// Parts of the SDK that a project has no use for: its own tests, and what `mpkg build` brings itself.
const OWN: &[&str] = &["test", "tests", "toolchain", ".cargo"];

fn main() -> io::Result<()> {
    let variable = |name| {
        env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("{name} is unset")))
    };
    let source = variable("CARGO_MANIFEST_DIR")?;
    let out = variable("OUT_DIR")?.join("embedded");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    copy(&source.join("templates"), &out.join("templates"), &[])?;
    copy(&source.join("../sdk"), &out.join("sdk"), OWN)
}

fn copy(from: &Path, to: &Path, without: &[&str]) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", from.display());
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if LEFT_BEHIND.iter().chain(without).any(|left| name == *left) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            copy(&from, &to, without)?;
        } else {
            println!("cargo::rerun-if-changed={}", from.display());
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}
