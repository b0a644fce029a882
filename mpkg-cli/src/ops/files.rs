//! Reading with a bound, and writing all or nothing.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Failure, Outcome, shell};
use crate::exit::Exit;
use crate::rules;

/// Reads a file of at most `limit` bytes; of a longer one `limit + 1`, for whoever judges its length.
pub(crate) fn read(path: &Path, limit: u64) -> Outcome<Vec<u8>> {
    let failed = |error: std::io::Error| Failure::read(path, &error);
    let file = File::open(path).map_err(failed)?;
    let there = file.metadata().map_err(failed)?;
    if there.is_dir() {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    let most = limit.saturating_add(1);
    let mut bytes = Vec::new();
    // A vector that doubles while it grows would take twice the file's size.
    let expected = usize::try_from(there.len().min(most)).unwrap_or_default();
    bytes.try_reserve_exact(expected).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Fails for what is neither a file nor a folder. Opening a pipe waits for somebody at its other end, and a device may
/// have no end.
pub(crate) fn check_regular(path: &Path) -> Outcome<std::fs::Metadata> {
    let failed = |error: std::io::Error| Failure::read(path, &error);
    let there = std::fs::metadata(path).map_err(failed)?;
    if there.is_file() || there.is_dir() {
        return Ok(there);
    }
    Err(failed(std::io::Error::other("it is not a regular file")))
}

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// Everybody, as far as the user's umask allows.
    Public,
    /// The user alone.
    Private,
}

/// Writes a file so that at `path` there is either what was there before or all of `bytes`, never a part. With
/// `replace` off, a file that is there stays and the exit status says conflict.
pub(crate) fn write(path: &Path, bytes: &[u8], secrecy: Secrecy, replace: bool) -> Outcome {
    let failed = |error: std::io::Error| Failure::write(path, &error);
    check_replaceable(path)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".mpkg-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = if secrecy == Secrecy::Private { 0o600 } else { 0o666 };
        builder.permissions(Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = (secrecy, None::<Permissions>);
    // Beside the final place: a rename is atomic only within one file system.
    let mut file = builder.tempfile_in(parent(path)).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let kept = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    match kept {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(exists(path)),
        Err(error) => Err(failed(error.error)),
    }
}

/// Whether [`write()`] with `replace` has a chance, before the work that gives the bytes is begun.
pub(crate) fn check_target(path: &Path) -> Outcome {
    let failed = |error: std::io::Error| Failure::write(path, &error);
    if !std::fs::metadata(parent(path)).map_err(failed)?.is_dir() {
        return Err(failed(std::io::ErrorKind::NotADirectory.into()));
    }
    check_replaceable(path)
}

fn check_replaceable(path: &Path) -> Outcome {
    let failed = |error: std::io::Error| Failure::write(path, &error);
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(failed(std::io::ErrorKind::IsADirectory.into())),
        // A rename would put a file in the place of /dev/null.
        Ok(there) if !there.is_file() => Err(failed(std::io::Error::other("it is not a regular file"))),
        _ => Ok(()),
    }
}

/// The refusal to overwrite.
pub(crate) fn exists(path: &Path) -> Failure {
    Failure::new(&rules::EXISTS, Exit::Conflict, format!("{} is there already", path.display()))
}

/// A warning, if others can read this file with a secret in it.
pub(crate) fn too_open(path: &Path, secret: &str) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = shell(path);
            return Some(format!("others can read the {secret} {path} (mode {mode:03o}): chmod 600 {path}"));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, secret);
    None
}

/// `path` with `suffix` added to its name: `a.pem` and `.pub` give `a.pem.pub`.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder that a path is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
