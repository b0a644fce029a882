//! What cargo knows of a project.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::BuildError;
use super::TARGET;
use super::compiler::{Compiler, query};

/// A project, as far as its build is concerned.
#[derive(Debug)]
pub(super) struct Project {
    /// Its folder.
    pub(super) dir: PathBuf,
    /// The id by which cargo reports on its package.
    pub(super) package_id: String,
    /// The folder that cargo takes crate names relative to.
    pub(super) workspace: PathBuf,
    /// Where cargo builds.
    pub(super) target: PathBuf,
    /// Folders of packages that lie on this machine, outside the workspace.
    pub(super) outside: Vec<PathBuf>,
    /// Folders that packages of registries and repositories were unpacked into.
    pub(super) fetched: BTreeSet<PathBuf>,
    /// Whether the versions were settled before this build.
    pub(super) locked: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    source: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Project {
    pub(super) fn load(compiler: &Compiler, dir: &Path) -> Result<Self, BuildError> {
        let file = dir.join("Cargo.toml");
        // First without dependencies: only the workspace's root tells whether there is a lock file.
        let metadata = read(compiler, dir, &["--no-deps"])?;
        let locked = metadata.workspace_root.join("Cargo.lock").is_file();
        let mut args = vec!["--filter-platform", TARGET];
        if locked {
            args.push("--locked");
        }
        let metadata =
            read(compiler, dir, &args).map_err(|error| stale_lock(error, &metadata.workspace_root))?;

        let package = metadata.packages.iter().find(|package| package.manifest_path == file);
        let Some(package) = package else {
            return Err(BuildError::Project {
                file,
                problem: "this is a workspace without a package of its own".into(),
                hint: Some("Name the folder of the Mini App's package.".into()),
            });
        };
        let is_lib =
            |target: &Target| target.crate_types.iter().any(|kind| kind == "cdylib" || kind.ends_with("lib"));
        if !package.targets.iter().any(is_lib) {
            return Err(BuildError::Project {
                file,
                problem: "the package has no library, and a Mini App is one".into(),
                hint: Some("Put the app into src/lib.rs, and `[lib] crate-type = [\"cdylib\"]` here.".into()),
            });
        }
        let package_id = package.id.clone();

        let (mut outside, mut fetched) = (Vec::new(), BTreeSet::new());
        for package in &metadata.packages {
            let Some(home) = package.manifest_path.parent() else { continue };
            match &package.source {
                Some(_) => fetched.extend(home.parent().map(Path::to_owned)),
                None if !home.starts_with(&metadata.workspace_root) => outside.push(home.to_owned()),
                None => {}
            }
        }
        outside.sort();
        Ok(Self {
            dir: dir.to_owned(),
            package_id,
            workspace: metadata.workspace_root,
            target: metadata.target_directory,
            outside,
            fetched,
            locked,
        })
    }
}

fn read(compiler: &Compiler, dir: &Path, args: &[&str]) -> Result<Metadata, BuildError> {
    let text = query(compiler.cargo(dir).args(["metadata", "--format-version=1"]).args(args))?;
    serde_json::from_str(&text).map_err(|error| BuildError::Project {
        file: dir.join("Cargo.toml"),
        problem: format!("what cargo says about it cannot be read: {error}"),
        hint: None,
    })
}

/// cargo would tell people to leave out a flag that they never gave.
fn stale_lock(error: BuildError, workspace: &Path) -> BuildError {
    match error {
        BuildError::ToolFailed { output, .. } if output.contains("--locked") => BuildError::Project {
            file: workspace.join("Cargo.lock"),
            problem: "it does not fit Cargo.toml any more".into(),
            hint: Some("Run `cargo check` to bring it up to date, then build again.".into()),
        },
        other => other,
    }
}
