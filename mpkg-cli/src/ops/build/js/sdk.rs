//! Which `@mpkg/sdk` a project is built with: its own, else the copy that mpkg carries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, DirEntry, include_dir};
use serde::Deserialize;

use crate::ops::build::BuildError;

static CARRIED: Dir<'_> = include_dir!("$OUT_DIR/embedded/sdk/js");
/// The parts of it that a bundle may be made of.
const PARTS: &[&str] = &["src", "package.json"];

/// What `mpkg build` itself needs of an SDK.
pub(super) const GLOBALS: &str = "src/guest/globals.js";

/// The SDK that `project` is built with. The carried copy is written into `work` where the project has none.
pub(super) fn find(project: &Path, work: &Path) -> Result<PathBuf, BuildError> {
    match of(project) {
        Some(folder) => Ok(folder),
        None => unpack(work),
    }
}

fn unpack(work: &Path) -> Result<PathBuf, BuildError> {
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

/// The SDK that `project` means: the folder that its package.json names as `"@mpkg/sdk": "file:sdk"` (nobody need have
/// run `npm install` for that), else the one in `node_modules`. `None` where it has none.
///
/// There is one SDK in a bundle, whoever imports it, so whether `npm install` was run changes no byte.
fn of(project: &Path) -> Option<PathBuf> {
    let named = named(project);
    let installed = project.ancestors().map(|dir| dir.join("node_modules/@mpkg/sdk"));
    let mut candidates = named.into_iter().chain(installed);
    candidates.find(|dir| dir.join(GLOBALS).is_file()).and_then(|dir| dir.canonicalize().ok())
}

fn named(project: &Path) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Package {
        #[serde(default)]
        dependencies: BTreeMap<String, String>,
    }
    let text = std::fs::read(project.join("package.json")).ok()?;
    let package: Package = serde_json::from_slice(&text).ok()?;
    Some(project.join(package.dependencies.get("@mpkg/sdk")?.strip_prefix("file:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn a_project_without_an_sdk_gets_the_carried_one() {
        let work = tempfile::tempdir().unwrap();
        put(work.path(), "app/package.json", r#"{ "dependencies": { "@mpkg/sdk": "file:gone" } }"#);
        let found = find(&work.path().join("app"), &work.path().join("out")).unwrap();
        assert!(found.starts_with(work.path().join("out")));
        assert!(found.join(GLOBALS).is_file() && found.join("package.json").is_file());
    }

    #[test]
    fn the_named_folder_comes_before_node_modules() {
        let work = tempfile::tempdir().unwrap();
        let (root, out) = (work.path().canonicalize().unwrap(), work.path().join("out"));
        put(&root, &format!("node_modules/@mpkg/sdk/{GLOBALS}"), "");
        put(&root, "app/package.json", "{}");
        let app = root.join("app");
        assert_eq!(find(&app, &out).unwrap(), root.join("node_modules/@mpkg/sdk"));
        put(&root, "app/package.json", r#"{ "dependencies": { "@mpkg/sdk": "file:../sdk" } }"#);
        assert_eq!(find(&app, &out).unwrap(), root.join("node_modules/@mpkg/sdk"));
        put(&root, &format!("sdk/{GLOBALS}"), "");
        assert_eq!(find(&app, &out).unwrap(), root.join("sdk"));
    }
}
