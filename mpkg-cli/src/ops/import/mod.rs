//! From a W3C MiniApp package to a project.
//!
//! The manifests are nearly the same document; the programs are not. So the manifest is translated, what is data is
//! packed as it is, and what is code is laid beside the new project for its owner to port. Nothing is dropped in
//! silence: the report has a line for everything that is not what it was.

mod archive;
mod error;
mod layout;
mod manifest;
mod members;
mod project;
mod spec;

use std::path::Path;

use mpkg_package::limits;
use serde::Serialize;

pub(crate) use spec::Section;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::{files, new};
use error::ImportError;
use layout::Layout;

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// It did not fit, and was made to.
    Repaired,
    /// It is not in the project.
    Lost,
    /// Somebody has to do it.
    ByHand,
}

/// A line of the report.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    pub(crate) fate: Fate,
    pub(crate) what: String,
    pub(crate) section: Section,
}

impl Note {
    fn repaired(what: impl Into<String>, section: Section) -> Self {
        Self { fate: Fate::Repaired, what: what.into(), section }
    }

    fn lost(what: impl Into<String>, section: Section) -> Self {
        Self { fate: Fate::Lost, what: what.into(), section }
    }

    fn by_hand(what: impl Into<String>, section: Section) -> Self {
        Self { fate: Fate::ByHand, what: what.into(), section }
    }
}

/// A finished import.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) app_id: String,
    pub(crate) name: String,
    pub(crate) files: Vec<String>,
    pub(crate) notes: Vec<Note>,
}

/// Makes a project in `out` of the MiniApp package at `path`.
pub(crate) fn import(path: &Path, out: &Path) -> Outcome<Imported> {
    new::refuse_used(out)?;
    let bytes = files::read(path, limits::PACKAGE as u64)?;
    let mut notes = Vec::new();
    let (layout, translated) = read(&bytes, &mut notes).map_err(|error| refused(path, &error))?;
    layout.porting(&mut notes);
    let written = project::write(out, &layout, &translated)?;
    notes.sort_by_key(|note| note.fate as u8);
    Ok(Imported { app_id: translated.app_id, name: translated.name, files: written, notes })
}

/// Everything that can be wrong with the package comes before the first file is written.
fn read(bytes: &[u8], notes: &mut Vec<Note>) -> Result<(Layout, manifest::Translated), ImportError> {
    let layout = Layout::of(archive::read(bytes, notes)?, notes)?;
    let translated = manifest::translate(&layout, notes)?;
    Ok((layout, translated))
}

fn refused(path: &Path, error: &ImportError) -> Failure {
    let code = error.code();
    let failure =
        Failure::with_code(code, Exit::Failed, format!("{} cannot be imported: {error}", path.display()));
    let failure = match error {
        ImportError::Json(error) => failure.data("offset", error.offset()),
        _ => failure,
    };
    failure.hint(format!("`mpkg explain {code}` tells more."))
}
