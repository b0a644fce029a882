//! Writing a package.

use thiserror::Error;

use super::entries::{EntryProblem, MANIFEST_NAME, check_name, check_names, check_size};
use super::layout::{CENTRAL_LEN, END_LEN, Facts, LOCAL_LEN, derive};
use crate::{limits, signing};

/// Why files cannot be written as a package.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WriteError {
    /// A name or size that no package may have.
    #[error(transparent)]
    Entry(#[from] EntryProblem),
    /// Too many files.
    #[error("{entries} files are too many for a package, the limit is {}", limits::ENTRIES)]
    TooManyEntries {
        /// Their number.
        entries: usize,
    },
    /// Too many bytes.
    #[error("the package would have {size} bytes, the limit is {}", limits::PACKAGE)]
    TooLarge {
        /// What it would have.
        size: usize,
    },
}

impl WriteError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Entry(problem) => problem.code(),
            Self::TooManyEntries { .. } => "MPKG-Z08",
            Self::TooLarge { .. } => "MPKG-Z02",
        }
    }
}

/// Writes a package of these names and contents, in whatever order they come. The bytes depend on nothing else.
pub fn write<N: AsRef<str>, C: AsRef<[u8]>>(entries: &[(N, C)]) -> Result<Vec<u8>, WriteError> {
    if entries.len() > limits::ENTRIES {
        return Err(WriteError::TooManyEntries { entries: entries.len() });
    }
    let mut sorted: Vec<(&str, &[u8])> =
        entries.iter().map(|(name, contents)| (name.as_ref(), contents.as_ref())).collect();
    sorted.sort_by_key(|(name, _)| (*name != MANIFEST_NAME, *name));

    let mut size = END_LEN;
    for (name, contents) in &sorted {
        check_name(name)?;
        check_size(name, contents.len())?;
        size = size.saturating_add(LOCAL_LEN + CENTRAL_LEN + 2 * name.len() + contents.len());
    }
    let names: Vec<&str> = sorted.iter().map(|(name, _)| *name).collect();
    check_names(&names).map_err(|(_, problem)| problem)?;
    if size > limits::PACKAGE {
        return Err(WriteError::TooLarge { size });
    }
    let facts: Vec<(Facts<'_>, &[u8])> = sorted
        .iter()
        .map(|&(name, contents)| {
            (Facts { name, crc: crc32fast::hash(contents), size: contents.len() as u32 }, contents)
        })
        .collect();
    let mut out = Vec::with_capacity(size);
    let append = |piece: &[u8]| {
        out.extend_from_slice(piece);
        Ok::<(), std::convert::Infallible>(())
    };
    match derive(facts.iter().copied(), append) {
        Ok(()) => {}
        Err(never) => match never {},
    }
    let directory = size - END_LEN - names.iter().map(|name| CENTRAL_LEN + name.len()).sum::<usize>();
    if out.get(..directory).is_some_and(signing::ends_with_mark) {
        let name = names.last().copied().unwrap_or_default().to_owned();
        return Err(EntryProblem::LooksSigned { name }.into());
    }
    Ok(out)
}
