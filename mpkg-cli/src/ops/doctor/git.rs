//! What git knows of a file. Where there is no git, nothing is tracked.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether git has this file of the folder under control.
pub(super) fn tracks(dir: &Path, file: &Path) -> bool {
    says_yes(dir, &["ls-files", "--error-unmatch", "--"], file)
}

/// Whether git leaves this file of the folder alone.
pub(super) fn ignores(dir: &Path, file: &Path) -> bool {
    if says_yes(dir, &["rev-parse", "--is-inside-work-tree"], Path::new("")) {
        return says_yes(dir, &["check-ignore", "--quiet", "--"], file);
    }
    // Not under git yet: go by the lines that people write for one file or one kind of file.
    let lines = std::fs::read_to_string(dir.join(".gitignore")).unwrap_or_default();
    let path = file.to_string_lossy().replace('\\', "/");
    let name = path.rsplit('/').next().unwrap_or(&path);
    lines.lines().map(str::trim).any(|line| match line.strip_prefix('*') {
        Some(suffix) => !suffix.is_empty() && name.ends_with(suffix),
        None => line == name || line.trim_start_matches('/') == path,
    })
}

fn says_yes(dir: &Path, args: &[&str], file: &Path) -> bool {
    let mut command = Command::new("git");
    // A folder's own settings can name a program to run here.
    command.args(["-c", "core.fsmonitor=false"]).current_dir(dir).args(args);
    if !file.as_os_str().is_empty() {
        command.arg(file);
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
