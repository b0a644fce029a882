//! Builds JavaScript guests: one bundle of the project, the engine with that bundle's world spliced in, run until it
//! has read the program, and a component of what it then is.
//!
//! The engine and the splicer are componentize-js's. Its own driver is not used: it leaves the name of a work folder,
//! the time and the shell's variables in what it makes, so two builds of one source would differ.

mod bundle;
mod engine;
mod install;
mod node;
mod sdk;
mod wizer;
mod world;

use std::path::Path;

use super::{BuildError, Built, Toolchain};
use node::Node;
use world::World;

/// The tools that would build a project, if all of them are here.
pub(crate) fn tools(toolchain: &Toolchain) -> Result<Vec<(String, String)>, BuildError> {
    let node = Node::find()?;
    install::find(&node, toolchain)
}

/// Builds the project in `project`, with `out_dir` for what lies between.
pub(crate) fn build(
    project: &Path,
    out_dir: &Path,
    toolchain: &Toolchain,
    log: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    let project = project.canonicalize().map_err(BuildError::io("open", project))?;
    let work = out_dir.join("js");
    std::fs::create_dir_all(&work).map_err(BuildError::io("create", &work))?;
    let work = work.canonicalize().map_err(BuildError::io("open", &work))?;

    let node = Node::find()?;
    let tools = install::ensure(&node, toolchain, log)?;
    let node = node.with_driver(&work, &toolchain.js())?;
    let sdk = sdk::find(&project, &work)?;

    let bundle = bundle::make(&node, &project, &sdk, &work, log)?;
    let world = World::importing(&bundle.interfaces);
    let component = engine::component(&node, &project, &bundle, &world, &work)?;
    Ok(Built { component, tools })
}
