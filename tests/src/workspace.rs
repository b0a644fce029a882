//! Where things are: the project's folders, the built binaries, the examples as packages.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The project's root folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The folder cargo builds into, whatever it is called: the one this very program was built into.
pub fn target() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists()).unwrap_or(Path::new("target")).to_owned()
}

/// A binary of this workspace, built before the tests by whoever runs them (`make test` does).
///
/// # Errors
/// A sentence, if it is not there.
pub fn binary(name: &str) -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    // target/debug/deps/this-program, or target/debug/this-program.
    let profile = exe.ancestors().skip(1).find(|dir| dir.file_name().is_some_and(|name| name != "deps"));
    let path = profile
        .ok_or("this program lies in no folder")?
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("`{name}` is not built; `cargo build --workspace` builds it"))
}

/// `mpkg` with these arguments, without a terminal and without settings of the user's.
///
/// # Errors
/// A sentence, if the binary is missing.
pub fn mpkg(arguments: &[&str]) -> Result<Command, String> {
    let mut command = Command::new(binary("mpkg")?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MPKG_") {
            command.env_remove(name);
        }
    }
    let toolchain =
        std::env::var_os("MPKG_TOOLCHAIN").map_or(target().join("guest-toolchain"), PathBuf::from);
    command.args(arguments).env("NO_COLOR", "1").env("MPKG_TOOLCHAIN", toolchain);
    command.stdin(std::process::Stdio::null());
    Ok(command)
}

/// Runs `mpkg` and gives what it printed.
///
/// # Errors
/// A sentence with everything it printed, if it does not end with `exit`.
pub fn run_mpkg(arguments: &[&str], exit: i32) -> Result<Output, String> {
    let output = mpkg(arguments)?.output().map_err(|e| e.to_string())?;
    if output.status.code() == Some(exit) {
        return Ok(output);
    }
    Err(format!(
        "`mpkg {}` ended with {}, not {exit}\n{}{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// True if JavaScript guests can be built here. Says so when not, and fails on CI, which must not skip half of the
/// tests.
pub fn has_node() -> bool {
    let found = Command::new("node").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "node is missing on CI");
        eprintln!("SKIPPED: node is missing");
    }
    found
}

/// A project folder, built once for a test program: the path of its unsigned package.
///
/// # Errors
/// What `mpkg build` printed.
pub fn built(project: &str) -> Result<PathBuf, String> {
    type Once = Arc<OnceLock<Result<PathBuf, String>>>;
    static BUILT: OnceLock<Mutex<HashMap<String, Once>>> = OnceLock::new();
    let once = {
        let mut all = BUILT.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(project.to_owned()).or_default().clone()
    };
    once.get_or_init(|| {
        let folder = target().join("e2e").join(std::process::id().to_string());
        std::fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let out = folder.join(format!("{}.mpkg", project.replace('/', "-")));
        let dir = root().join(project);
        run_mpkg(&["build", &dir.to_string_lossy(), "--out", &out.to_string_lossy()], 0)?;
        Ok(out)
    })
    .clone()
}

/// Copies a folder, leaving out what is built.
///
/// # Errors
/// If a file cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_string_lossy().as_ref(), "target" | "node_modules" | "dist") {
            continue;
        }
        let (from, to) = (entry.path(), to.join(name));
        if entry.file_type()?.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            std::fs::copy(from, to)?;
        }
    }
    Ok(())
}
