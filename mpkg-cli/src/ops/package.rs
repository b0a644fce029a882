//! Opening a package file without trusting it.

use std::path::{Path, PathBuf};

use mpkg_package::container::{self, Container};
use mpkg_package::contents::ContentError;
use mpkg_package::digest::{Digest, identity};
use mpkg_package::limits;
use mpkg_package::signing::{Block, Split, split};

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::{files, manifest};

/// A file taken apart into package and signatures. Nothing about it is verified.
#[derive(Debug)]
pub(crate) struct Opened {
    path: PathBuf,
    parts: Split,
}

impl Opened {
    /// Reads a file and takes its signing block out.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        Self::read_or(path, Exit::Failed)
    }

    /// As [`Self::read`], with the exit status for a file that is no package.
    pub(crate) fn read_or(path: &Path, exit: Exit) -> Outcome<Self> {
        let bytes = read_bytes(path)?;
        let parts = split(bytes)
            .map_err(|error| not_a_package(path, error.code(), &error.to_string(), error.offset(), exit))?;
        Ok(Self { path: path.to_owned(), parts })
    }

    /// The package without signatures.
    pub(crate) fn unsigned(&self) -> &[u8] {
        &self.parts.unsigned
    }

    /// The signatures inside the file.
    pub(crate) fn block(&self) -> Option<&Block> {
        self.parts.block.as_ref()
    }

    /// What identifies it.
    pub(crate) fn digest(&self) -> Digest {
        identity(self.unsigned())
    }

    /// Its files, if it keeps the container's rules.
    pub(crate) fn container(&self) -> Outcome<Container<'_>> {
        container::read(self.unsigned()).map_err(|error| {
            not_a_package(&self.path, error.code(), &error.to_string(), error.offset(), Exit::Failed)
        })
    }
}

/// Reads a package file as it is. Of a file over the limit just enough is read for the package's own rules to refuse
/// it.
pub(crate) fn read_bytes(path: &Path) -> Outcome<Vec<u8>> {
    files::check_regular(path)?;
    files::read(path, limits::SIGNED as u64)
}

/// The failure for a package whose contents break a rule.
pub(crate) fn refused_contents(path: &Path, unsigned: &[u8], error: ContentError, exit: Exit) -> Failure {
    let code = error.code();
    match error {
        ContentError::Container(error) => not_a_package(path, code, &error.to_string(), error.offset(), exit),
        ContentError::Manifest(problems) => {
            let source =
                container::read(unsigned).map(|container| container.manifest().to_vec()).unwrap_or_default();
            manifest::refuse(&format!("{}:{}", path.display(), manifest::NAME), &source, problems, exit)
        }
        error => Failure::with_code(code, exit, format!("{}: {error}", path.display()))
            .hint(format!("`mpkg explain {code}` tells what this rule is for.")),
    }
}

fn not_a_package(path: &Path, code: &'static str, problem: &str, offset: usize, exit: Exit) -> Failure {
    Failure::with_code(code, exit, format!("{} is not a package: {problem}", path.display()))
        .hint(format!("`mpkg build` makes packages; `mpkg explain {code}` tells what this rule is for."))
        .data("offset", offset)
}
