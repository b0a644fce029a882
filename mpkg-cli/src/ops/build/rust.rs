//! Builds Rust guests: cargo for `wasm32-unknown-unknown`, then a component of the module it made.
//!
//! The same source and the same tools give the same bytes wherever they lie. Three things would spoil that: paths of
//! this machine in the code (see `flags`), cargo's habit of naming a crate by its absolute path (see `wrapper`), and
//! settings that a user's environment brings along (see `cargo`).

mod cargo;
mod compiler;
mod component;
mod flags;
mod metadata;
#[cfg(test)]
mod tests;
mod wrapper;

use std::path::Path;

use super::{BuildError, Built, Toolchain};
use compiler::Compiler;
use metadata::Project;

/// What guests are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

/// The compiler that would build the project in `project`.
pub(crate) fn tools(project: &Path, toolchain: &Toolchain) -> Result<Vec<(String, String)>, BuildError> {
    let dir = project.canonicalize().map_err(BuildError::io("open", project))?;
    Ok(Compiler::find(&dir, toolchain)?.versions().into())
}

/// Builds the project in `project`, with `out_dir` for what lies between.
pub(crate) fn build(
    project: &Path,
    out_dir: &Path,
    toolchain: &Toolchain,
    log: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let dir = project.canonicalize().map_err(BuildError::io("open", project))?;
    std::fs::create_dir_all(out_dir).map_err(BuildError::io("create", out_dir))?;
    let out_dir = out_dir.canonicalize().map_err(BuildError::io("open", out_dir))?;

    let compiler = Compiler::find(&dir, toolchain)?;
    let project = Project::load(&compiler, &dir)?;
    let flags = flags::remap(&compiler, &project);
    let wrapper = wrapper::write(&project, &out_dir, log)?;
    let module = cargo::run(&compiler, &project, &flags, wrapper.as_deref(), log)?;
    if !project.locked {
        log("wrote Cargo.lock: commit it, so that the next build takes the same versions");
    }
    let (component, mut tools) = component::encode(&module)?;
    tools.splice(0..0, compiler.versions());
    Ok(Built { component, tools })
}
