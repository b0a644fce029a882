//! What is looked at.

use std::path::Path;

use mpkg_manifest::{Manifest, Parsed};
use mpkg_package::contents;
use walkdir::{DirEntry, WalkDir};

use crate::error::Outcome;
use crate::exit::Exit;
use crate::ops::manifest::{NAME, Source};
use crate::ops::package::{self, Opened};
use crate::ops::{build, files};

/// Source files that are read at most, and bytes of one: enough for a Mini App, and a bound for a folder that is none.
const MOST_SOURCES: usize = 2000;
const LONGEST_SOURCE: u64 = 1 << 20;

/// What sources are written in.
const SOURCE_TYPES: &[&str] =
    &["rs", "js", "mjs", "cjs", "jsx", "ts", "tsx", "json", "html", "css", "svelte", "vue"];
/// Folders with nothing that gets into a package.
const NOT_PACKED: &[&str] =
    &["target", "node_modules", "dist", "sdk", "test", "tests", "benches", "demo", "assets"];

/// A file by name.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) data: Vec<u8>,
}

impl File {
    /// The file as text, if it is that.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.data).ok()
    }
}

/// A package, or a project that has yet to become one.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) parsed: Parsed,
    /// The manifest's own text.
    pub(super) source: Vec<u8>,
    /// What is or will be packed, without manifest and component.
    pub(super) files: Vec<File>,
    /// The component; a project has none until it is built.
    pub(super) component: Option<File>,
    /// Sources of a project.
    pub(super) sources: Vec<File>,
}

impl Subject {
    pub(super) fn manifest(&self) -> &Manifest {
        &self.parsed.manifest
    }

    /// Line and column of the value at a JSON pointer in the manifest.
    pub(super) fn manifest_place(&self, pointer: &str) -> (usize, usize) {
        let node = self.parsed.node.pointer(pointer);
        mpkg_manifest::line_col(&self.source, node.map_or(0, |node| node.span.start))
    }

    /// A package file. Its signatures are not looked at.
    pub(super) fn package(path: &Path) -> Outcome<Self> {
        let opened = Opened::read(path)?;
        let checked = contents::check(opened.unsigned())
            .map_err(|error| package::refused_contents(path, opened.unsigned(), error, Exit::Failed))?;
        let component = checked.component.name;
        let file = |name: &str, data: &[u8]| File { name: name.to_owned(), data: data.to_owned() };
        let entries = checked.container.entries().iter();
        Ok(Self {
            source: checked.container.manifest().to_owned(),
            files: entries
                .filter(|entry| entry.name != NAME && entry.name != component)
                .map(|entry| file(entry.name, entry.data))
                .collect(),
            component: Some(file(component, checked.component.data)),
            parsed: checked.manifest,
            sources: Vec::new(),
        })
    }

    /// A project folder: what would be packed, and the sources that the component is made of.
    pub(super) fn project(dir: &Path) -> Outcome<Self> {
        let Source { bytes, parsed, .. } = Source::load(dir)?;
        let assets = build::assets(dir)?.into_iter();
        Ok(Self {
            source: bytes,
            parsed,
            files: assets.map(|(name, data)| File { name, data }).collect(),
            component: None,
            sources: sources(dir)?,
        })
    }
}

fn sources(dir: &Path) -> Outcome<Vec<File>> {
    let wanted = |entry: &DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0
            || !(name.starts_with('.') || entry.file_type().is_dir() && NOT_PACKED.contains(&&*name))
    };
    let mut sources = Vec::new();
    for entry in WalkDir::new(dir).sort_by_file_name().into_iter().filter_entry(wanted).filter_map(Result::ok)
    {
        let path = entry.path();
        let is_source = path.extension().and_then(|e| e.to_str()).is_some_and(|e| SOURCE_TYPES.contains(&e));
        let inside = path.strip_prefix(dir).unwrap_or(path);
        if !entry.file_type().is_file() || !is_source || inside == Path::new(NAME) {
            continue;
        }
        if sources.len() == MOST_SOURCES {
            break;
        }
        let data = files::read(path, LONGEST_SOURCE)?;
        let name = inside.to_string_lossy().replace('\\', "/");
        // Lock files hold hashes by the thousand and no secrets.
        if data.len() as u64 <= LONGEST_SOURCE && !name.ends_with("package-lock.json") {
            sources.push(File { name, data });
        }
    }
    Ok(sources)
}
