//! Names for crates that do not depend on where they lie.
//!
//! cargo names a crate for the compiler by a hash of its path: relative for what lies inside the workspace, absolute
//! for what lies outside it, as an SDK beside the project does. That name goes into type ids and into the order of
//! functions. So for those packages a wrapper around the compiler swaps it for the path relative to the workspace.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::BuildError;
use super::flags::relative;
use super::metadata::Project;

/// Writes the wrapper if the project needs one.
pub(super) fn write(
    project: &Project,
    out_dir: &Path,
    log: &mut dyn FnMut(&str),
) -> Result<Option<PathBuf>, BuildError> {
    if project.outside.is_empty() {
        return Ok(None);
    }
    if !cfg!(unix) {
        for dir in &project.outside {
            log(&format!(
                "{} lies outside the workspace: the result depends on where it lies",
                dir.display()
            ));
        }
        return Ok(None);
    }
    let path = out_dir.join("rustc-wrapper");
    let text = script(project);
    // Left alone when nothing changed: cargo asks the compiler everything again when the wrapper is newer.
    if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
        return Ok(Some(path));
    }
    std::fs::write(&path, text).map_err(BuildError::io("write", &path))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).map_err(BuildError::io("write", &path))?;
    }
    Ok(Some(path))
}

fn script(project: &Project) -> String {
    let mut cases = String::new();
    for dir in &project.outside {
        let (from, name) = (quote(&dir.to_string_lossy()), quote(&relative(&project.workspace, dir)));
        let _ = writeln!(cases, "  {from}) name={name} ;;");
    }
    format!(
        r#"#!/bin/sh
# Written by mpkg build. Gives crates outside the workspace a name that does not depend on where they lie.
case "${{CARGO_MANIFEST_DIR-}}" in
{cases}  *) exec "$@" ;;
esac
count=$#
while [ "$count" -gt 0 ]; do
  arg=$1
  shift
  case "$arg" in
    metadata=*) arg="metadata=$name/$CARGO_PKG_NAME/$CARGO_PKG_VERSION" ;;
  esac
  set -- "$@" "$arg"
  count=$((count - 1))
done
exec "$@"
"#
    )
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    #[test]
    fn swaps_the_name_of_a_crate_outside_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project {
            dir: "/w/app".into(),
            package_id: String::new(),
            workspace: "/w/app".into(),
            target: "/w/app/target".into(),
            outside: vec!["/w/it's sdk".into()],
            fetched: BTreeSet::new(),
            locked: true,
        };
        let wrapper = write(&project, dir.path(), &mut |_| {}).unwrap().unwrap();
        let run = |home: &str| {
            let output = Command::new(&wrapper)
                .args(["printf", "%s\n", "-C", "metadata=0123", "a b", "$HOME", "-C", "extra-filename=-0123"])
                .envs([
                    ("CARGO_MANIFEST_DIR", home),
                    ("CARGO_PKG_NAME", "sdk"),
                    ("CARGO_PKG_VERSION", "1.0.0"),
                ])
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(
            run("/w/it's sdk"),
            "-C\nmetadata=../it's sdk/sdk/1.0.0\na b\n$HOME\n-C\nextra-filename=-0123\n"
        );
        assert_eq!(run("/w/app"), "-C\nmetadata=0123\na b\n$HOME\n-C\nextra-filename=-0123\n");
    }
}
