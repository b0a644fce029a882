//! The files that go into a package beside manifest and component.

use std::path::Path;

use walkdir::WalkDir;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files;
use crate::rules;

/// The folder of a project whose files are packed under their own names.
pub(crate) const FOLDER: &str = "assets";

/// Reads all files under `assets/`, which need not exist. Hidden files stay outside: desktop programs leave them
/// behind, and no package can hold their names.
pub(crate) fn read(project: &Path) -> Outcome<Vec<(String, Vec<u8>)>> {
    let root = project.join(FOLDER);
    if !root.exists() {
        return Ok(Vec::new());
    }
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    let mut assets = Vec::new();
    for entry in WalkDir::new(&root).sort_by_file_name().into_iter().filter_entry(visible) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(&root).to_owned();
            Failure::read(
                &path,
                &error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links")),
            )
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        // A link could pull in a file from outside of the project, such as a key.
        if !entry.file_type().is_file() {
            return Err(refused(entry.path(), "it is a link or a device, not a regular file"));
        }
        let inside = entry.path().strip_prefix(project).unwrap_or(entry.path());
        let segments: Option<Vec<&str>> = inside.components().map(|part| part.as_os_str().to_str()).collect();
        let name = segments.ok_or_else(|| refused(entry.path(), "its name is not UTF-8"))?.join("/");
        let bytes = files::read(entry.path(), mpkg_package::limits::ENTRY as u64)?;
        assets.push((name, bytes));
    }
    Ok(assets)
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::new(&rules::ASSET, Exit::Failed, format!("{} cannot be packed: {why}", path.display()))
}
