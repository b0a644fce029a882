//! From a bundle to a component: the engine, the bindings of the guest's world, and the program, started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wit_component::ComponentEncoder;

use super::bundle::Bundle;
use super::node::Driver;
use super::wizer;
use super::world::{self, World};
use crate::ops::build::BuildError;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Splice<'a> {
    world: &'a str,
    world_name: &'a str,
    output: &'a Path,
    initializer: &'a Path,
}

#[derive(Deserialize)]
struct Spliced {
    environment: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stub<'a> {
    world: &'a str,
    world_name: &'a str,
    input: &'a Path,
    output: &'a Path,
}

#[derive(Serialize)]
struct Locate<'a> {
    project: &'a Path,
    bundle: &'a Path,
    text: &'a str,
}

#[derive(Deserialize)]
struct Located {
    text: String,
}

#[derive(Deserialize)]
struct Done {}

/// The component of `bundle`.
pub(super) fn component(
    node: &Driver,
    project: &Path,
    bundle: &Bundle,
    World(world): &World,
    work: &Path,
) -> Result<Vec<u8>, BuildError> {
    let file = |name: &str| -> PathBuf { work.join(name) };
    let (engine, started, core) = (file("engine.wasm"), file("started.wasm"), file("core.wasm"));
    let initializer = bundle.folder.join("initializer.js");

    let splice = Splice { world, world_name: world::NAME, output: &engine, initializer: &initializer };
    let spliced: Spliced = node.step("splice", &splice)?;

    let environment: Vec<_> = spliced.environment.into_iter().collect();
    let snapshot = wizer::preinitialize(&read(&engine)?, &bundle.folder, &environment)
        .map_err(|failed| explain(node, project, bundle, &failed))?;
    std::fs::write(&started, snapshot).map_err(BuildError::io("write", &started))?;

    let stub = Stub { world, world_name: world::NAME, input: &started, output: &core };
    let Done {} = node.step("stub", &stub)?;
    encode(&read(&core)?)
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(BuildError::io("read", path))
}

/// Without adapters: an import that is neither a bridge nor stubbed fails here instead of reaching a host.
fn encode(core: &[u8]) -> Result<Vec<u8>, BuildError> {
    let broken = |error: anyhow::Error| BuildError::Componentize { reason: format!("{error:#}") };
    ComponentEncoder::default().module(core).map_err(broken)?.validate(true).encode().map_err(broken)
}

/// The program's own error where there is one, at its place in the project.
fn explain(node: &Driver, project: &Path, bundle: &Bundle, failed: &wizer::Failed) -> BuildError {
    let text = failed.output.trim();
    let locate = Locate { project, bundle: &bundle.file(), text };
    let output = match node.step("locate", &locate) {
        Ok(Located { text }) => text,
        Err(_) => text.to_owned(),
    };
    BuildError::ToolFailed { tool: "starting the program".into(), status: failed.reason.clone(), output }
}
