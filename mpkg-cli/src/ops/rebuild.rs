//! Proof that a package came from a source: build it again and compare, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use mpkg_manifest::Manifest;
use mpkg_package::container;
use serde::Serialize;
use wasmparser::{KnownCustom, Parser, Payload};

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::build::{self, Product, Toolchain};
use crate::{rules, text};

/// A tool by name and version.
#[derive(Debug, Serialize)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A file that did not come out as it is in the package.
#[derive(Debug, Serialize)]
struct Difference {
    file: String,
    /// Bytes in the package; none if it does not hold the file.
    package: Option<usize>,
    /// Bytes that the build made; none if it did not make the file.
    rebuilt: Option<usize>,
    /// The first byte that differs, where both have the file.
    byte: Option<usize>,
}

/// Builds `source` and compares it with `unsigned`, the package at `path`. Gives the tools that made the same bytes.
pub(crate) fn prove(
    path: &Path,
    unsigned: &[u8],
    source: &Path,
    toolchain: &Toolchain,
    log: &mut dyn FnMut(&str),
) -> Outcome<Vec<Tool>> {
    let product = build::project(source, toolchain, log)?;
    if product.package == unsigned {
        return Ok(tools(&product));
    }
    Err(differs(path, unsigned, source, &product))
}

fn tools(product: &Product) -> Vec<Tool> {
    let tool = |(name, version): &(String, String)| Tool { name: name.clone(), version: version.clone() };
    product.tools.iter().map(tool).collect()
}

fn differs(path: &Path, unsigned: &[u8], source: &Path, product: &Product) -> Failure {
    let differences = differences(&contents(unsigned), &contents(&product.package));
    let first = match differences.first() {
        Some(difference) => difference.sentence(),
        None => "the package is not in the one byte form".to_owned(),
    };
    let message = format!("{} was not built from {}: {first}", path.display(), source.display());
    let other_tools = other_tools(unsigned, &product.package);
    let hint = if other_tools.is_empty() {
        "Check out the commit that the package was built from, unchanged and with its lock file.".to_owned()
    } else {
        format!("It was built with other tools: {}. Use the same versions.", other_tools.join(", "))
    };
    Failure::new(&rules::REBUILD, Exit::Refused, message)
        .hint(hint)
        .data("differences", serde_json::to_value(&differences).unwrap_or_default())
        .data("tools", serde_json::to_value(tools(product)).unwrap_or_default())
}

fn contents(package: &[u8]) -> BTreeMap<&str, &[u8]> {
    let container = container::read(package);
    container
        .map(|container| container.entries().iter().map(|entry| (entry.name, entry.data)).collect())
        .unwrap_or_default()
}

/// What differs, in an order that tells most first: another manifest explains the rest.
fn differences(package: &BTreeMap<&str, &[u8]>, rebuilt: &BTreeMap<&str, &[u8]>) -> Vec<Difference> {
    let mut names: Vec<&str> = package.keys().chain(rebuilt.keys()).copied().collect();
    names.sort_by_key(|name| (*name != container::MANIFEST_NAME, *name));
    names.dedup();
    let difference = |name: &str| {
        let (ours, theirs) = (rebuilt.get(name).copied(), package.get(name).copied());
        (ours != theirs).then(|| Difference {
            file: name.to_owned(),
            package: theirs.map(<[u8]>::len),
            rebuilt: ours.map(<[u8]>::len),
            byte: ours.zip(theirs).map(|(ours, theirs)| {
                let same = ours.iter().zip(theirs).position(|(one, other)| one != other);
                same.unwrap_or(ours.len().min(theirs.len()))
            }),
        })
    };
    names.into_iter().filter_map(difference).collect()
}

impl Difference {
    fn sentence(&self) -> String {
        let size = |bytes: usize| text::size(bytes as u64);
        match (self.package, self.rebuilt, self.byte) {
            (Some(package), Some(rebuilt), Some(byte)) => format!(
                "{} differs from byte {byte} on ({} in the package, {} rebuilt)",
                self.file,
                size(package),
                size(rebuilt)
            ),
            (Some(_), _, _) => format!("the package holds {}, the source does not give it", self.file),
            _ => format!("the source gives {}, the package does not hold it", self.file),
        }
    }
}

/// Tools that both components name, in versions that differ.
fn other_tools(package: &[u8], rebuilt: &[u8]) -> Vec<String> {
    let (theirs, ours) = (recorded(package), recorded(rebuilt));
    let other = theirs.iter().filter_map(|(name, version)| {
        let here = ours.get(name)?;
        (here != version).then(|| format!("{name} {version}, here {here}"))
    });
    other.collect()
}

/// What the component of a package says of the tools that made it.
fn recorded(package: &[u8]) -> BTreeMap<String, String> {
    let contents = contents(package);
    let manifest = contents.get(container::MANIFEST_NAME).map(|bytes| Manifest::parse(bytes));
    let Some(Ok(parsed)) = manifest else { return BTreeMap::new() };
    let component = contents.get(parsed.manifest.mpkg.component.as_str()).copied().unwrap_or_default();
    let mut tools = BTreeMap::new();
    for payload in Parser::new(0).parse_all(component) {
        let Ok(payload) = payload else { break };
        let Payload::CustomSection(section) = payload else { continue };
        let KnownCustom::Producers(fields) = section.as_known() else { continue };
        for value in fields.into_iter().flatten().flat_map(|field| field.values).flatten() {
            tools.insert(value.name.to_owned(), value.version.to_owned());
        }
    }
    tools
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_with_the_manifest_first() {
        let package =
            BTreeMap::from([("a", &b"same"[..]), ("b", b"12345"), ("manifest.json", b"{}"), ("old", b"")]);
        let rebuilt =
            BTreeMap::from([("a", &b"same"[..]), ("b", b"1234"), ("manifest.json", b"{ }"), ("new", b"")]);
        let found = differences(&package, &rebuilt);
        let told: Vec<String> = found.iter().map(Difference::sentence).collect();
        assert_eq!(
            told,
            [
                "manifest.json differs from byte 1 on (2 B in the package, 3 B rebuilt)",
                "b differs from byte 4 on (5 B in the package, 4 B rebuilt)",
                "the source gives new, the package does not hold it",
                "the package holds old, the source does not give it",
            ]
        );
        assert!(differences(&package, &package).is_empty());
    }
}
