//! The releases of the story: two good ones, one that does not come up, and another app.

use std::path::{Path, PathBuf};

use mpkg_manifest::AppId;
use mpkg_package::{Digest, PublisherId, Root, RootChain, RootFile, SecretKey, Time, container, sign};
use serde_json::{Value, json};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::error::DemoError;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::build::{self, Toolchain};
use crate::ops::manifest::NAME;
use crate::rules;

/// Where the example lies in the project's folder.
const EXAMPLE: &str = "examples/stock-alert";
/// The bridge's one definition.
const BRIDGE: &str = include_str!("../../../../sdk/wit/bridge.wit");

/// A release, signed.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) version: &'static str,
    pub(super) seq: u64,
    pub(super) digest: Digest,
    pub(super) signed: Vec<u8>,
}

/// Everything that is published.
#[derive(Debug)]
pub(super) struct Packages {
    pub(super) publisher: PublisherId,
    /// The publisher's root file.
    pub(super) roots: Vec<u8>,
    pub(super) app: AppId,
    pub(super) first: Release,
    pub(super) second: Release,
    /// Does not come up.
    pub(super) bad: Release,
    pub(super) other: AppId,
    pub(super) of_other: Release,
}

/// The folder of the example: what was named, or the one in this folder or in one above it.
pub(super) fn project(named: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let here = std::env::current_dir().map_err(|error| Failure::read(Path::new("."), &error))?;
    let found = here.ancestors().map(|dir| dir.join(EXAMPLE)).find(|dir| dir.join(NAME).is_file());
    found.ok_or_else(|| {
        let message = format!("there is no {EXAMPLE} in {} or in a folder above it", here.display());
        Failure::new(&rules::NOT_A_PROJECT, Exit::Failed, message)
            .hint("Run it in the folder of mpkg's own source, or name the example: mpkg demo --project DIR")
    })
}

type Entries = Vec<(String, Vec<u8>)>;

/// Builds the example as `mpkg build` does, and makes all releases from it.
pub(super) fn make(dir: &Path, toolchain: &Toolchain, log: &mut dyn FnMut(&str)) -> Outcome<Packages> {
    let product = build::project(dir, toolchain, log)?;
    let manifest = product.source.manifest();
    let (app, component) = (manifest.app_id.clone(), manifest.mpkg.component.to_string());
    let other: AppId = format!("{app}.other")
        .parse()
        .map_err(|_| failed("the other app", &format!("{app}.other is no app id")))?;
    let read = container::read(&product.package).map_err(|error| failed("1.0.0", &error))?;
    let entries: Entries =
        read.entries().iter().map(|entry| (entry.name.to_owned(), entry.data.to_vec())).collect();

    let key = SecretKey::generate().map_err(|error| failed("a key", &error))?;
    let root = Root::single(&key.public());
    let chain = RootChain::first(root.clone()).map_err(|error| failed("a root", &error))?;
    let publisher = Publisher { key, root };
    let bad = with_component(entries.clone(), &component, broken().map_err(|it| failed("1.2.0", &it))?);
    Ok(Packages {
        publisher: chain.publisher(),
        roots: RootFile::new(chain).to_bytes(),
        first: publisher.release(&entries, &app, 1, "1.0.0")?,
        second: publisher.release(&entries, &app, 2, "1.1.0")?,
        bad: publisher.release(&bad, &app, 3, "1.2.0")?,
        of_other: publisher.release(&entries, &other, 1, "1.0.0")?,
        app,
        other,
    })
}

fn failed(what: &'static str, reason: &impl std::fmt::Display) -> DemoError {
    DemoError::Package { what, reason: reason.to_string() }
}

/// Signs with a key that lives as long as the demo.
struct Publisher {
    key: SecretKey,
    root: Root,
}

impl Publisher {
    /// The same files as another release.
    fn release(
        &self,
        entries: &Entries,
        app: &AppId,
        seq: u64,
        version: &'static str,
    ) -> Result<Release, DemoError> {
        let mut entries = entries.clone();
        if let Some((_, bytes)) = entries.iter_mut().find(|(name, _)| name == NAME) {
            let mut manifest: Value =
                serde_json::from_slice(bytes).map_err(|error| failed(version, &error))?;
            if let Some(members) = manifest.as_object_mut() {
                members.insert("app_id".into(), json!(app));
                members.insert("version".into(), json!({ "code": seq, "name": version }));
            }
            *bytes = serde_json::to_vec_pretty(&manifest).map_err(|error| failed(version, &error))?;
        }
        let unsigned = container::write(&entries).map_err(|error| failed(version, &error))?;
        let now = Time::from_unix(jiff::Timestamp::now().as_second());
        let now =
            now.ok_or_else(|| failed(version, &"this machine's clock is outside of the years 0 to 9999"))?;
        let signed = sign(&unsigned, &self.key, &self.root, now).map_err(|error| failed(version, &error))?;
        let bytes = signed.embed(&unsigned).map_err(|error| failed(version, &error))?;
        Ok(Release { version, seq, digest: Digest::of(&unsigned), signed: bytes })
    }
}

fn with_component(entries: Entries, name: &str, component: Vec<u8>) -> Entries {
    let rest = entries.into_iter().filter(|(found, _)| found != name);
    rest.chain([(name.to_owned(), component)]).collect()
}

/// A component that traps whatever it is told, the first of which is that it was launched.
fn broken() -> Result<Vec<u8>, String> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(0);
    let mut memories = MemorySection::new();
    let (minimum, maximum) = (1, None);
    memories.memory(MemoryType { minimum, maximum, memory64: false, shared: false, page_size_log2: None });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("cabi_realloc", ExportKind::Func, 0);
    exports.export("mpkg:bridge/app@1.0.0#handle", ExportKind::Func, 1);
    let mut realloc = Function::new([]);
    realloc.instructions().i32_const(16).end();
    let mut handle = Function::new([]);
    handle.instructions().unreachable().end();
    let mut code = CodeSection::new();
    code.function(&realloc).function(&handle);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code);
    let mut module = module.finish();

    let text = format!("{BRIDGE}\nworld broken {{\n  export app;\n}}\n");
    let mut resolve = Resolve::default();
    let encode = || -> anyhow::Result<Vec<u8>> {
        let package = resolve.push_source("bridge.wit", &text)?;
        let world = resolve.select_world(&[package], Some("broken"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
        ComponentEncoder::default().validate(true).module(&module)?.encode()
    };
    let mut encode = encode;
    encode().map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use mpkg_package::wasm::{Import, ImportKind};

    use super::*;

    #[test]
    fn the_component_that_traps_is_one_that_hosts_take_and_needs_nothing() {
        let component = broken().unwrap();
        let info = mpkg_package::wasm::inspect(&component).unwrap();
        let needs_nothing = |import: &Import| import.kind == ImportKind::Types;
        assert!(info.imports.iter().all(needs_nothing), "{info:?}");
    }

    #[test]
    fn a_folder_that_is_named_is_taken_as_it_is() {
        assert_eq!(project(Some(Path::new("x/y"))).unwrap(), Path::new("x/y"));
    }
}
