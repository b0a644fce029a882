//! Which compiler builds guests: the user's own where it can, else the one in the toolchain folder.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{BuildError, Toolchain};
use super::TARGET;

const HINT: &str = "Run `rustup target add wasm32-unknown-unknown`, or scripts/guest-toolchain.sh on Debian.";

/// Set to `debian`, it takes the toolchain folder's compiler even where the user's own would do.
const CHOICE: &str = "MPKG_GUEST_RUST";

/// A cargo and a rustc that can build for the guest target.
#[derive(Debug)]
pub(super) struct Compiler {
    pub(super) sysroot: PathBuf,
    pub(super) commit_hash: String,
    rustc: OsString,
    cargo: OsString,
    rustc_version: String,
    cargo_version: String,
    unpacked: Option<Unpacked>,
}

/// What an unpacked compiler needs besides its two programs.
#[derive(Debug)]
struct Unpacked {
    libraries: PathBuf,
    linker: PathBuf,
}

impl Compiler {
    pub(super) fn find(project: &Path, toolchain: &Toolchain) -> Result<Self, BuildError> {
        let forced = std::env::var_os(CHOICE).is_some_and(|choice| choice == "debian");
        if !forced && let Some(own) = Self::own(project)? {
            return Ok(own);
        }
        Self::unpacked(project, &toolchain.rust())
    }

    /// The user's own compiler, if it has the target. Asked in the project's folder, whose `rust-toolchain.toml` may
    /// name another than the default.
    fn own(project: &Path) -> Result<Option<Self>, BuildError> {
        let program = |variable, name: &str| std::env::var_os(variable).unwrap_or_else(|| name.into());
        let (rustc, cargo) = (program("RUSTC", "rustc"), program("CARGO", "cargo"));
        if Command::new(&cargo).arg("--version").output().is_err() {
            // An unpacked cargo may still be there.
            return Ok(None);
        }
        let Ok(libraries) = query(Command::new(&rustc).current_dir(project).args([
            "--print=target-libdir",
            "--target",
            TARGET,
        ])) else {
            return Ok(None);
        };
        let Ok(entries) = std::fs::read_dir(libraries.trim()) else { return Ok(None) };
        let is_std = |name: &str| name.starts_with("libstd-") && name.ends_with(".rlib");
        if !entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_std)) {
            return Ok(None);
        }
        Self::describe(project, rustc, cargo, None).map(Some)
    }

    fn unpacked(project: &Path, root: &Path) -> Result<Self, BuildError> {
        let missing = |what, path: &Path| BuildError::ToolchainMissing {
            what,
            path: path.to_owned(),
            hint: HINT.into(),
        };
        let (rustc, cargo) = (root.join("usr/bin/rustc"), root.join("usr/bin/cargo"));
        let (linker, libraries) = (root.join("bin/rust-lld"), root.join("lib"));
        if !rustc.is_file() || !cargo.is_file() {
            return Err(missing("Rust compiler for guests", root));
        }
        if !linker.is_file() {
            return Err(missing("linker for guests", &linker));
        }
        Self::describe(project, rustc.into(), cargo.into(), Some(Unpacked { libraries, linker }))
    }

    fn describe(
        project: &Path,
        rustc: OsString,
        cargo: OsString,
        unpacked: Option<Unpacked>,
    ) -> Result<Self, BuildError> {
        let mut compiler = Self {
            sysroot: PathBuf::new(),
            commit_hash: String::new(),
            rustc,
            cargo,
            rustc_version: String::new(),
            cargo_version: String::new(),
            unpacked,
        };
        let verbose = query(compiler.rustc(project).arg("-vV"))?;
        let line =
            |start: &str| verbose.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_default();
        compiler.commit_hash = line("commit-hash: ").to_owned();
        compiler.rustc_version = line("rustc ").to_owned();
        let version = query(compiler.cargo(project).arg("-V"))?;
        compiler.cargo_version = version.trim().strip_prefix("cargo ").unwrap_or_default().to_owned();
        compiler.sysroot = query(compiler.rustc(project).arg("--print=sysroot"))?.trim().into();
        Ok(compiler)
    }

    /// rustc, in the project's folder.
    fn rustc(&self, project: &Path) -> Command {
        let mut command = Command::new(&self.rustc);
        command.current_dir(project);
        self.environment(&mut command);
        command
    }

    /// cargo, in the project's folder, which will use this compiler.
    pub(super) fn cargo(&self, project: &Path) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(project);
        self.environment(&mut command);
        command
    }

    fn environment(&self, command: &mut Command) {
        let Some(unpacked) = &self.unpacked else { return };
        command
            .env("LD_LIBRARY_PATH", &unpacked.libraries)
            .env("RUSTC", &self.rustc)
            // This toolchain has no ready-made standard library for the target, and building one is a nightly option.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &unpacked.linker)
            .env_remove("RUSTUP_TOOLCHAIN");
    }

    /// The arguments that make cargo build the standard library, if this compiler comes without.
    pub(super) fn build_std(&self) -> &'static [&'static str] {
        if self.unpacked.is_some() { &["-Zbuild-std=std,panic_abort"] } else { &[] }
    }

    /// For the record of a build.
    pub(super) fn versions(&self) -> [(String, String); 2] {
        [("rustc".into(), self.rustc_version.clone()), ("cargo".into(), self.cargo_version.clone())]
    }
}

/// What a program prints.
pub(super) fn query(command: &mut Command) -> Result<String, BuildError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            BuildError::ToolMissing { tool: "cargo", hint: "Install Rust from https://rustup.rs.".into() }
        }
        _ => BuildError::Io { action: "run", path: tool.clone().into(), source: error },
    })?;
    if !output.status.success() {
        return Err(BuildError::ToolFailed {
            tool,
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
