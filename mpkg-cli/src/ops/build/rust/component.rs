//! From a core module to a component.

use wasm_encoder::{Module, RawSection};
use wasmparser::{KnownCustom, Parser, Payload, ProducersSectionReader};
use wit_component::ComponentEncoder;

use super::super::BuildError;

/// The component, and the tools that it says processed it.
type Encoded = (Vec<u8>, Vec<(String, String)>);

/// Makes a component of `module`. Imports that the module does not use are not in it.
pub(super) fn encode(module: &[u8]) -> Result<Encoded, BuildError> {
    let module = strip(module)?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| BuildError::Componentize { reason: format!("{error:#}") })?;
    let tools = processed_by(&component)?;
    Ok((component, tools))
}

/// Drops every custom section but the ones that describe the component: names and debug information differ from
/// machine to machine, and a host has no use for them.
fn strip(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let mut kept = Module::new();
    let mut described = false;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.map_err(not_wasm)?;
        if let Payload::CustomSection(section) = &payload {
            if !section.name().starts_with("component-type") {
                continue;
            }
            described = true;
        }
        if let Some((id, range)) = payload.as_section() {
            let data = module.get(range).unwrap_or_default();
            kept.section(&RawSection { id, data });
        }
    }
    if !described {
        let reason =
            "it does not say what it imports and exports: is #[mpkg_sdk::app] on the app's impl block?";
        return Err(BuildError::Componentize { reason: reason.into() });
    }
    Ok(kept.finish())
}

/// What the `producers` sections tell: tool and version, each once.
fn processed_by(component: &[u8]) -> Result<Vec<(String, String)>, BuildError> {
    let mut tools = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let Payload::CustomSection(section) = payload.map_err(not_wasm)? else { continue };
        let KnownCustom::Producers(fields) = section.as_known() else { continue };
        let fields: ProducersSectionReader<'_> = fields;
        for field in fields {
            let field = field.map_err(not_wasm)?;
            if field.name != "processed-by" {
                continue;
            }
            for value in field.values {
                let value = value.map_err(not_wasm)?;
                let tool = (value.name.to_owned(), value.version.to_owned());
                if !tools.contains(&tool) {
                    tools.push(tool);
                }
            }
        }
    }
    tools.sort();
    Ok(tools)
}

fn not_wasm(error: wasmparser::BinaryReaderError) -> BuildError {
    BuildError::Componentize { reason: format!("the compiler's output is not WebAssembly: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_description_is_explained() {
        let error = encode(b"\0asm\x01\0\0\0").unwrap_err();
        assert!(error.to_string().contains("#[mpkg_sdk::app]"), "{error}");
    }

    #[test]
    fn what_is_not_wasm_is_refused() {
        assert_eq!(encode(b"ELF").unwrap_err().code(), "MPKG-C25");
    }
}
