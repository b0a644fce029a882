//! Where the bytes are.

use std::collections::BTreeMap;

use serde::Serialize;
use wasmparser::{Parser, Payload};

use super::checks;
use super::subject::Subject;
use crate::ops::finding::Finding;
use crate::ops::manifest::NAME;
use crate::text;

/// Files that are listed.
const LISTED: usize = 10;
/// A file above this is worth a thought.
const LARGE: u64 = 1 << 20;
/// Debug information below this is not worth a build step.
const NEGLIGIBLE: u64 = 4096;

/// Sizes of a package, in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Sizes {
    /// All files together.
    pub(crate) total: u64,
    /// The largest files.
    pub(crate) files: Vec<Part>,
    /// Files that are not listed.
    pub(crate) other_files: usize,
    /// What the component is made of.
    pub(crate) component: Option<Component>,
}

/// Something and its size.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// A component taken apart.
#[derive(Debug, Serialize)]
pub(crate) struct Component {
    pub(crate) code: u64,
    pub(crate) data: u64,
    /// Types, imports, tables and the like.
    pub(crate) other: u64,
    /// Custom sections by name, largest first.
    pub(crate) custom: Vec<Custom>,
}

/// Custom sections of one name.
#[derive(Debug, Serialize)]
pub(crate) struct Custom {
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Whether the component works the same without it.
    pub(crate) strippable: bool,
}

/// Measures, and complains about what is larger than it needs to be.
pub(super) fn measure(subject: &Subject, findings: &mut Vec<Finding>) -> Sizes {
    let assets = subject.files.iter();
    let mut files: Vec<Part> = assets
        .chain(&subject.component)
        .map(|file| Part { name: file.name.clone(), size: file.data.len() as u64 })
        .collect();
    files.push(Part { name: NAME.to_owned(), size: subject.source.len() as u64 });
    files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    let total = files.iter().map(|part| part.size).sum();

    for file in subject.files.iter().filter(|file| file.data.len() as u64 > LARGE) {
        let message = format!("{} has {}", file.name, text::size(file.data.len() as u64));
        findings.push(Finding::new(&checks::LARGE_FILE, message).file(file.name.clone()));
    }
    let component = subject.component.as_ref().and_then(|file| {
        let component = take_apart(&file.data)?;
        let strippable: Vec<&Custom> = component.custom.iter().filter(|section| section.strippable).collect();
        let sum: u64 = strippable.iter().map(|section| section.size).sum();
        if sum > NEGLIGIBLE {
            let names: Vec<String> = strippable
                .iter()
                .map(|section| format!("{} ({})", section.name, text::size(section.size)))
                .collect();
            let message =
                format!("{} of {} could be stripped: {}", text::size(sum), file.name, names.join(", "));
            findings.push(Finding::new(&checks::STRIPPABLE, message).file(file.name.clone()));
        }
        Some(component)
    });
    let other_files = files.len().saturating_sub(LISTED);
    files.truncate(LISTED);
    Sizes { total, files, other_files, component }
}

/// Adds up the sections of a component and of all modules in it.
fn take_apart(bytes: &[u8]) -> Option<Component> {
    let (mut code, mut data) = (0, 0);
    let mut custom: BTreeMap<String, u64> = BTreeMap::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.ok()? {
            Payload::CodeSectionStart { size, .. } => code += u64::from(size),
            Payload::DataSection(section) => data += length(section.range()),
            Payload::CustomSection(section) => {
                *custom.entry(section.name().to_owned()).or_default() += length(section.range());
            }
            _ => {}
        }
    }
    let mut custom: Vec<Custom> = custom
        .into_iter()
        .map(|(name, size)| Custom { strippable: is_strippable(&name), name, size })
        .collect();
    custom.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
    let known = code + data + custom.iter().map(|section| section.size).sum::<u64>();
    Some(Component { code, data, other: (bytes.len() as u64).saturating_sub(known), custom })
}

fn length(range: std::ops::Range<usize>) -> u64 {
    range.len() as u64
}

fn is_strippable(name: &str) -> bool {
    let exact = ["name", "component-name", "sourceMappingURL", "external_debug_info", "linking", "build_id"];
    exact.contains(&name) || name.starts_with(".debug_") || name.starts_with("reloc.")
}
