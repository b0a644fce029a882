//! What is inside a package: manifest and component, and whether they fit together.

use mpkg_manifest::Manifest;
use mpkg_manifest::Parsed;
use mpkg_manifest::Problem;
use thiserror::Error;

use crate::container::{self, Container, ContainerError, Entry};
use crate::wasm::{self, ComponentInfo, Disagreement, WasmError};

/// Why a package's contents are refused.
#[derive(Debug, Error)]
pub enum ContentError {
    /// The container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The manifest. All complaints, at least one.
    #[error("the manifest is not valid: {}", summary(.0))]
    Manifest(Vec<Problem>),
    /// The component is not there.
    #[error("the manifest names the component {name}, but the package does not hold it")]
    NoComponent {
        /// Its name.
        name: String,
    },
    /// The component.
    #[error("{name}: {error}")]
    Wasm {
        /// Its name.
        name: String,
        /// Where in the package it begins.
        start: usize,
        /// Why.
        error: WasmError,
    },
    /// The component imports what the manifest does not declare. All of it, at least one.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Undeclared(Vec<Disagreement>),
}

/// The first that refuses the manifest: warnings stand among them in the order of the source.
fn first(problems: &[Problem]) -> Option<&Problem> {
    problems.iter().find(|problem| problem.is_error())
}

fn summary(problems: &[Problem]) -> String {
    let first = first(problems).map(|problem| problem.message.as_str()).unwrap_or_default();
    match problems.iter().filter(|problem| problem.is_error()).count() {
        0 | 1 => first.to_owned(),
        many => format!("{first} (and {} more)", many - 1),
    }
}

/// Where in every package the manifest's contents begin.
const MANIFEST_START: usize = container::LOCAL_LEN + container::MANIFEST_NAME.len();

impl ContentError {
    /// The rule's code; for a list, that of its first member.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Container(error) => error.code(),
            Self::Manifest(problems) => first(problems).map_or("MPKG-M01", |problem| problem.code),
            Self::NoComponent { .. } => "MPKG-W10",
            Self::Wasm { error, .. } => error.code(),
            Self::Undeclared(list) => list.first().map_or("MPKG-W08", Disagreement::code),
        }
    }

    /// The byte of the unsigned package that the complaint is about, where there is one.
    pub fn offset(&self) -> Option<usize> {
        match self {
            Self::Container(error) => Some(error.offset()),
            Self::Manifest(problems) => first(problems).map(|problem| MANIFEST_START + problem.span.start),
            Self::Wasm { start, error, .. } => Some(start + error.offset()),
            Self::NoComponent { .. } | Self::Undeclared(_) => None,
        }
    }
}

/// A package's contents, checked.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    /// The files.
    pub container: Container<'a>,
    /// The manifest, with warnings.
    pub manifest: Parsed,
    /// The component's file.
    pub component: Entry<'a>,
    /// What the component asks for.
    pub info: ComponentInfo,
}

/// Checks an unsigned package by itself: container, manifest, component, and that every import is declared.
///
/// Who made it is not a question here.
pub fn check(unsigned: &[u8]) -> Result<Contents<'_>, ContentError> {
    let container = container::read(unsigned)?;
    let manifest = Manifest::parse(container.manifest()).map_err(ContentError::Manifest)?;
    component(container, manifest)
}

/// The part of [`check`] after the manifest.
pub(crate) fn component<'a>(
    container: Container<'a>,
    manifest: Parsed,
) -> Result<Contents<'a>, ContentError> {
    let name = manifest.manifest.mpkg.component.as_str();
    let component =
        *container.get(name).ok_or_else(|| ContentError::NoComponent { name: name.to_owned() })?;
    let info = wasm::inspect(component.data).map_err(|error| {
        let (name, start) = (name.to_owned(), component.offset);
        ContentError::Wasm { name, start, error }
    })?;
    let undeclared: Vec<Disagreement> = wasm::agreement(&info, &manifest.manifest)
        .into_iter()
        .filter(|found| matches!(found, Disagreement::NotDeclared { .. }))
        .collect();
    if !undeclared.is_empty() {
        return Err(ContentError::Undeclared(undeclared));
    }
    Ok(Contents { container, manifest, component, info })
}
