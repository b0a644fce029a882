//! Private keys in a project: who can read them, and where they would end up.

use std::io::Write;
use std::path::Path;

use mpkg_package::limits;
use walkdir::{DirEntry, WalkDir};

use super::{Findings, checks, git};
use crate::error::{reason, shell};
use crate::ops::files;
use crate::ops::finding::Finding;

/// Files that are looked into at most.
const MOST: usize = 20_000;
/// Folders full of other people's files.
const NOT_OURS: &[&str] = &["target", "node_modules", ".git", "dist", "sdk"];

pub(super) fn check(dir: &Path, findings: &mut Findings) {
    let ours = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(entry.file_type().is_dir() && NOT_OURS.contains(&&*name))
    };
    let entries = WalkDir::new(dir).sort_by_file_name().into_iter().filter_entry(ours).filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.file_type().is_file()).take(MOST) {
        let path = entry.path();
        let small = entry.metadata().is_ok_and(|metadata| metadata.len() <= limits::KEY_FILE as u64);
        if small && files::read(path, limits::KEY_FILE as u64).is_ok_and(|bytes| is_private_key(&bytes)) {
            let inside = path.strip_prefix(dir).unwrap_or(path);
            check_key(dir, inside, findings);
        }
    }
}

/// Whether a file begins as a private key in PEM does, behind white space and comments at most.
fn is_private_key(bytes: &[u8]) -> bool {
    let head = bytes.get(..bytes.len().min(2048)).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    let lines = text.lines().map(str::trim);
    let mut lines = lines.filter(|line| line.starts_with("-----"));
    lines.any(|line| line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----"))
}

fn check_key(dir: &Path, inside: &Path, findings: &mut Findings) {
    let shown = inside.display().to_string();
    let path = dir.join(inside);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path)
            .map(|metadata| metadata.permissions().mode() & 0o777)
            .unwrap_or_default();
        if mode & 0o077 != 0 {
            let message = format!("others can read the private key {shown} (mode {mode:03o})");
            let finding = Finding::new(&checks::OPEN_KEY, message).file(shown.clone());
            let path = path.clone();
            findings.offer(finding.fix(format!("chmod 600 {}", shell(inside))), move || {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                    .map_err(|error| reason(&error))
            });
        }
    }
    if inside.starts_with("assets") {
        let message = format!("the private key {shown} would be packed");
        findings.tell(Finding::new(&checks::PACKED_KEY, message).file(shown.clone()));
    }
    if git::tracks(dir, inside) {
        let message = format!("git tracks the private key {shown}");
        let fix = checks::TRACKED_KEY.rule.fix.replace("FILE", &shell(inside));
        findings.tell(Finding::new(&checks::TRACKED_KEY, message).file(shown).fix(fix));
    } else if !git::ignores(dir, inside) {
        let message = format!("git does not ignore the private key {shown}");
        let line = format!("/{}", shown.replace('\\', "/"));
        let ignore = dir.join(".gitignore");
        let fix = format!("Move it out of the project, or add `{line}` to .gitignore.");
        let finding = Finding::new(&checks::UNIGNORED_KEY, message).file(shown).fix(fix);
        findings.offer(finding, move || append(&ignore, &line));
    }
}

/// Adds a line to a file, which need not exist.
fn append(path: &Path, line: &str) -> Result<(), String> {
    let before = std::fs::read(path).unwrap_or_default();
    let gap = if before.last().is_some_and(|byte| *byte != b'\n') { "\n" } else { "" };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(format!("{gap}{line}\n").as_bytes()))
        .map_err(|error| reason(&error))
}

#[cfg(test)]
mod tests {
    use super::is_private_key;

    #[test]
    fn a_key_is_known_by_its_first_line() {
        let pem = |kind: &str| format!("# note\n-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
        assert!(is_private_key(pem("PRIVATE KEY").as_bytes()));
        assert!(is_private_key(pem("ENCRYPTED PRIVATE KEY").as_bytes()));
        assert!(is_private_key(pem("OPENSSH PRIVATE KEY").as_bytes()));
        assert!(!is_private_key(pem("PUBLIC KEY").as_bytes()));
        assert!(!is_private_key(b"let mark = \"-----BEGIN PRIVATE KEY-----\";"));
    }
}
