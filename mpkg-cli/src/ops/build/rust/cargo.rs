//! Runs cargo and finds what it made.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::super::BuildError;
use super::TARGET;
use super::compiler::Compiler;
use super::metadata::Project;

/// Settings that people keep for their own builds. They would make the result differ from machine to machine.
const NOT_OURS: [&str; 8] = [
    "RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_UNSTABLE_BUILD_STD",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
];

/// The release profile of guests, whatever Cargo.toml says: small code, no unwinding, nothing that names a path.
const PROFILE: [(&str, &str); 8] = [
    ("OPT_LEVEL", "s"),
    ("LTO", "fat"),
    ("CODEGEN_UNITS", "1"),
    ("PANIC", "abort"),
    ("STRIP", "symbols"),
    ("DEBUG", "false"),
    ("DEBUG_ASSERTIONS", "false"),
    ("INCREMENTAL", "false"),
];

/// One line of cargo's report.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        filenames: Vec<PathBuf>,
    },
    #[serde(other)]
    Else,
}

/// Builds the project's library and returns the core module.
pub(super) fn run(
    compiler: &Compiler,
    project: &Project,
    flags: &[OsString],
    wrapper: Option<&Path>,
    log: &mut dyn FnMut(&str),
) -> Result<Vec<u8>, BuildError> {
    let mut command = compiler.cargo(&project.dir);
    for name in NOT_OURS {
        command.env_remove(name);
    }
    for (name, value) in PROFILE {
        command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    command
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join(OsStr::new("\x1f")))
        // Empty turns off a wrapper that the user's own configuration names.
        .env("RUSTC_WRAPPER", wrapper.unwrap_or(Path::new("")))
        // A folder of its own: guests of one workspace share their dependencies, and a build by hand, with other
        // flags, does not throw them away.
        .arg("rustc")
        .args(["--lib", "--release", "--crate-type=cdylib", "--target", TARGET])
        .args(["--message-format=json-render-diagnostics", "--color=never"])
        .arg("--target-dir")
        .arg(project.target.join("mpkg").join("cargo"))
        .args(compiler.build_std());
    if project.locked {
        command.arg("--locked");
    }
    let (status, report, output) = stream(&mut command, log)?;
    if !status.success() {
        return Err(BuildError::ToolFailed { tool: "cargo".into(), status: status.to_string(), output });
    }

    let is_module = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
    let module = report
        .lines()
        .filter_map(|line| match serde_json::from_str(line) {
            Ok(Message::CompilerArtifact { package_id, filenames }) if package_id == project.package_id => {
                filenames.into_iter().find(is_module)
            }
            _ => None,
        })
        .next_back();
    let Some(module) = module else {
        return Err(BuildError::Componentize { reason: "cargo built no WebAssembly module".into() });
    };
    std::fs::read(&module).map_err(BuildError::io("read", &module))
}

/// Runs `command`; hands each line of its standard error to `log` as it comes. Returns standard output and error.
fn stream(
    command: &mut Command,
    log: &mut dyn FnMut(&str),
) -> Result<(std::process::ExitStatus, String, String), BuildError> {
    let failed = |source| BuildError::Io { action: "run", path: "cargo".into(), source };
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let stdout = child.stdout.take();
    // Both pipes are read at once: a program that fills one while we wait for the other would stand still.
    let reader = std::thread::spawn(move || {
        let mut report = String::new();
        match stdout {
            Some(mut stdout) => stdout.read_to_string(&mut report).map(|_| report),
            None => Ok(report),
        }
    });
    let mut output = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line.map_err(failed)?;
            let line = String::from_utf8_lossy(&line);
            log(line.trim_end());
            output.push_str(line.trim_end());
            output.push('\n');
        }
    }
    let status = child.wait().map_err(failed)?;
    let report = reader.join().map_err(|_| failed(std::io::Error::other("reading its report failed")))?;
    Ok((status, report.map_err(failed)?, output))
}
