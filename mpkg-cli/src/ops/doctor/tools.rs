//! Whether what builds the project is there: the build's own search, without the build.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{Findings, Tool, checks};
use crate::ops::build::{self, BuildError, Kind, Toolchain};
use crate::ops::finding::Finding;

pub(super) fn check(kind: Kind, dir: &Path, toolchain: &Toolchain, findings: &mut Findings) -> Vec<Tool> {
    let error = match build::tools(kind, dir, toolchain) {
        Ok(tools) => return tools.into_iter().map(|(name, version)| Tool { name, version }).collect(),
        Err(error) => error,
    };
    let check = match (&error, kind) {
        // Without cargo the search goes on to the toolchain folder, and complains about that.
        (BuildError::ToolchainMissing { .. }, Kind::Rust) if !runs("CARGO", "cargo") => &checks::TOOL,
        (BuildError::ToolchainMissing { .. }, Kind::Rust) => &checks::TARGET,
        (BuildError::ToolchainMissing { .. }, Kind::Js) => &checks::JS_TOOLCHAIN,
        (BuildError::ToolFailed { .. }, _) => &checks::OLD_TOOL,
        _ => &checks::TOOL,
    };
    let missing_cargo = check.rule.code == checks::TOOL.rule.code && kind == Kind::Rust;
    let message = match &error {
        BuildError::ToolFailed { status, .. } => status.clone(),
        _ if missing_cargo => "cargo is needed to build this Mini App and was not found".to_owned(),
        error => error.to_string(),
    };
    let fix =
        if missing_cargo { Some("Install Rust from https://rustup.rs.".to_owned()) } else { error.hint() };
    let finding = Finding::new(check, message);
    findings.tell(match fix {
        Some(fix) => finding.fix(fix),
        None => finding,
    });
    Vec::new()
}

fn runs(variable: &str, name: &str) -> bool {
    let program = std::env::var_os(variable).unwrap_or_else(|| name.into());
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
