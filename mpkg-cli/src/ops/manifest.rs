//! Reading a manifest, with all that is wrong about it.

use std::path::{Path, PathBuf};

use mpkg_manifest::{Manifest, Parsed, Problem};

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files;
use crate::rules;
use crate::snippet::Findings;
use crate::text;

/// The manifest's name, in a project and in a package.
pub(crate) const NAME: &str = "manifest.json";

/// A manifest and the text it was read from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) parsed: Parsed,
}

impl Source {
    /// Reads the manifest of a project.
    pub(crate) fn load(project: &Path) -> Outcome<Self> {
        let file = project.join(NAME);
        let limit = mpkg_manifest::json::Limits::MANIFEST.max_bytes as u64;
        let bytes = files::read(&file, limit)?;
        match Manifest::parse(&bytes) {
            Ok(parsed) => Ok(Self { file, bytes, parsed }),
            Err(problems) => Err(refuse(&file.display().to_string(), &bytes, problems, Exit::Failed)),
        }
    }

    /// The manifest itself.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.parsed.manifest
    }

    /// These problems with this manifest.
    pub(crate) fn findings(&self, problems: Vec<Problem>) -> Findings {
        Findings::new(self.file.display().to_string(), self.bytes.clone(), problems)
    }
}

/// The failure that shows all problems of a manifest.
pub(crate) fn refuse(file: &str, bytes: &[u8], problems: Vec<Problem>, exit: Exit) -> Failure {
    let number = text::count(problems.iter().filter(|problem| problem.is_error()).count(), "problem");
    let first = problems
        .iter()
        .find(|problem| problem.is_error())
        .map_or(rules::MANIFEST.code, |problem| problem.code);
    let findings = Findings::new(file.to_owned(), bytes.to_owned(), problems);
    let failure = Failure::new(&rules::MANIFEST, exit, format!("{file} has {number}"));
    let failure = match findings.first_place() {
        Some(place) => failure.at(place),
        None => failure,
    };
    failure.findings(findings).hint(format!("`mpkg explain {first}` tells more about that rule."))
}
