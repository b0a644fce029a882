//! From a project folder to the bytes of a package.

mod agreement;
mod assets;
mod error;
mod js;
mod rust;
mod toolchain;

use std::path::Path;

use mpkg_package::container;
use mpkg_package::digest::{Digest, identity};
use mpkg_package::wasm;

pub(crate) use error::BuildError;
pub(crate) use toolchain::Toolchain;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::manifest::{self, Source};
use crate::text;

/// What a language half made.
#[derive(Debug)]
pub(crate) struct Built {
    /// The component, ready to be packed.
    pub(crate) component: Vec<u8>,
    /// Name and version of each tool that had a hand in it. The same source and the same tools give the same bytes.
    pub(crate) tools: Vec<(String, String)>,
}

/// A package, ready to be written.
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) source: Source,
    pub(crate) package: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) component_size: u64,
    pub(crate) files: usize,
    pub(crate) tools: Vec<(String, String)>,
}

/// Lines of a failed tool that are shown; the reason is among the last ones.
const OUTPUT_LINES: usize = 60;

/// Builds the project in `dir`. What the tools print goes to `log`, line by line.
pub(crate) fn project(dir: &Path, toolchain: &Toolchain, log: &mut dyn FnMut(&str)) -> Outcome<Product> {
    let kind = Kind::of(dir)?;
    // Mistakes in the manifest are found in no time, so they come before the compiler.
    let source = Source::load(dir)?;
    let assets = assets::read(dir)?;
    let out_dir = dir.join("target").join("mpkg");
    std::fs::create_dir_all(&out_dir).map_err(|error| Failure::write(&out_dir, &error))?;
    let built = match kind {
        Kind::Rust => rust::build(dir, &out_dir, toolchain, log),
        Kind::Js => js::build(dir, &out_dir, toolchain, log),
    };
    let Built { component, tools } = built?;
    pack(source, component, tools, assets)
}

/// The files beside manifest and component that the project in `dir` packs.
pub(crate) fn assets(dir: &Path) -> Outcome<Vec<(String, Vec<u8>)>> {
    assets::read(dir)
}

/// Name and version of each tool that would build the project in `dir`, or what is missing first.
pub(crate) fn tools(
    kind: Kind,
    dir: &Path,
    toolchain: &Toolchain,
) -> Result<Vec<(String, String)>, BuildError> {
    match kind {
        Kind::Rust => rust::tools(dir, toolchain),
        Kind::Js => js::tools(toolchain),
    }
}

/// Checks the parts of a package against each other and packs them.
fn pack(
    source: Source,
    component: Vec<u8>,
    tools: Vec<(String, String)>,
    assets: Vec<(String, Vec<u8>)>,
) -> Outcome<Product> {
    let info = wasm::inspect(&component).map_err(|error| {
        Failure::with_code(error.code(), Exit::Failed, format!("the component is refused: {error}"))
    })?;
    agreement::check(&source, &info, &assets)?;
    let component_size = component.len() as u64;
    let mut entries = vec![
        (manifest::NAME.to_owned(), source.bytes.clone()),
        (source.manifest().mpkg.component.to_string(), component),
    ];
    entries.extend(assets);
    let package = container::write(&entries).map_err(|error| {
        Failure::with_code(error.code(), Exit::Failed, format!("the files cannot be packed: {error}"))
    })?;
    let digest = identity(&package);
    Ok(Product { source, digest, package, component_size, files: entries.len(), tools })
}

/// What a project is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Rust,
    Js,
}

impl Kind {
    /// What the build file in `dir` says.
    pub(crate) fn of(dir: &Path) -> Result<Self, BuildError> {
        let has = |name: &str| dir.join(name).is_file();
        let problem = match (has("Cargo.toml"), has("package.json")) {
            (true, false) => return Ok(Self::Rust),
            (false, true) => return Ok(Self::Js),
            // A Rust project may keep a package.json for its tools; a JavaScript one has no Cargo.toml.
            (true, true) => return Ok(Self::Rust),
            (false, false) if !dir.is_dir() => "there is no such folder",
            (false, false) => "it has neither a Cargo.toml nor a package.json",
        };
        Err(BuildError::NotAProject { dir: dir.to_owned(), problem: problem.to_owned() })
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let failure = Self::with_code(error.code(), Exit::Failed, error.to_string());
        let failure = match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
        match error {
            BuildError::ToolFailed { output, .. } => failure.output(text::tail(&output, OUTPUT_LINES)),
            _ => failure,
        }
    }
}
