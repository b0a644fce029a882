//! The copy of `@mpkg/sdk` that mpkg carries, for projects that have installed none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use serde::Deserialize;

use crate::ops::build::BuildError;

static CARRIED: Dir<'_> = include_dir!("$OUT_DIR/embedded/sdk/js");
/// The parts of it that a bundle may be made of.
const PARTS: &[&str] = &["src", "package.json"];

/// Writes the SDK into `work` and answers with its folder.
pub(super) fn unpack(work: &Path) -> Result<PathBuf, BuildError> {
    let folder = work.join("sdk");
    for part in PARTS {
        match CARRIED.get_entry(part) {
            Some(DirEntry::Dir(dir)) => {
                let path = folder.join(part);
                std::fs::create_dir_all(&path).map_err(BuildError::io("create", &path))?;
                dir.extract(&folder).map_err(BuildError::io("write", &path))?;
            }
            Some(DirEntry::File(file)) => {
                let path = folder.join(part);
                std::fs::write(&path, file.contents()).map_err(BuildError::io("write", &path))?;
            }
            None => {}
        }
    }
    Ok(folder)
}

/// The SDK in the project's own folder, which `package.json` names as `"@mpkg/sdk": "file:sdk"`; it counts even where
/// nobody has run `npm install`.
pub(super) fn beside(project: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Package {
        #[serde(default)]
        dependencies: BTreeMap<String, String>,
    }
    let text = std::fs::read(project.join("package.json")).ok()?;
    let package: Package = serde_json::from_slice(&text).ok()?;
    let folder = project.join(package.dependencies.get("@mpkg/sdk")?.strip_prefix("file:")?);
    folder.join("package.json").is_file().then_some(folder)
}
