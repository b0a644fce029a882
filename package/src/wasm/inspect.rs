//! Validation of a component, and a list of what it imports, exports and declares.

use wasmparser::{ComponentExternalKind, Parser, Payload, Validator, WasmFeatures};

use super::WasmError;
use super::imports::{Import, is_app};

/// What a component declares.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ComponentInfo {
    /// The interfaces it imports, in its own order.
    pub imports: Vec<Import>,
    /// The names it exports.
    pub exports: Vec<String>,
    /// The linear memories of its modules.
    pub memories: Vec<Memory>,
}

/// A declared linear memory, in pages of 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Pages at start.
    pub initial_pages: u64,
    /// Pages it may grow to.
    pub maximum_pages: Option<u64>,
}

/// The WebAssembly features that packages may use: those the host's two compilers both have. No garbage
/// collection, exceptions, threads, 64-bit memories or component-model async.
pub fn features() -> WasmFeatures {
    WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES)
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
}

/// Validates a component and lists what it asks for.
pub fn inspect(component: &[u8]) -> Result<ComponentInfo, WasmError> {
    if !Parser::is_component(component) {
        return Err(WasmError::NotAComponent { core: Parser::is_core_wasm(component) });
    }
    let features = features();
    Validator::new_with_features(features).validate_all(component).map_err(invalid)?;

    // A second pass over sections, which looks into no function, costs a hundredth of the first. Folding it in would
    // compile the validator once more, for this crate.
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut info = ComponentInfo::default();
    let (mut depth, mut has_app) = (0usize, false);
    for payload in parser.parse_all(component) {
        match payload.map_err(invalid)? {
            // Imports of inner components are supplied by the outer one: only the outermost are capabilities.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory.map_err(invalid)?;
                    info.memories
                        .push(Memory { initial_pages: memory.initial, maximum_pages: memory.maximum });
                }
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import.map_err(invalid)?;
                    let name = import.name.name;
                    let kind = import.ty.kind();
                    if kind != ComponentExternalKind::Instance {
                        return Err(WasmError::ImportKind { name: name.to_owned(), kind: kind_name(kind) });
                    }
                    info.imports.push(Import::read(name)?);
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export.map_err(invalid)?;
                    has_app |= export.kind == ComponentExternalKind::Instance && is_app(export.name.name);
                    info.exports.push(export.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    if !has_app {
        return Err(WasmError::NoApp);
    }
    Ok(info)
}

fn invalid(error: wasmparser::Error) -> WasmError {
    // Some messages have lines with causes in them.
    WasmError::Invalid { offset: error.offset(), message: error.message().trim_end().replace('\n', ": ") }
}

fn kind_name(kind: ComponentExternalKind) -> &'static str {
    match kind {
        ComponentExternalKind::Module => "core module",
        ComponentExternalKind::Func => "function",
        ComponentExternalKind::Value => "value",
        ComponentExternalKind::Type => "type",
        ComponentExternalKind::Instance => "interface",
        ComponentExternalKind::Component => "component",
    }
}
