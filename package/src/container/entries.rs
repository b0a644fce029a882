//! The rules for a package's list of names and sizes, the same for writing and for reading.

use std::collections::HashMap;

use crate::text::Shown;
use mpkg_manifest::{PackagePath, PathError};
use thiserror::Error;

use crate::limits;

/// The entry every package begins with.
pub const MANIFEST_NAME: &str = "manifest.json";

/// Why a list of names and sizes is no package.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EntryProblem {
    /// A name outside the closed set of safe ones.
    #[error("the name {} cannot be used in a package: {problem}", Shown(.name))]
    Name {
        /// The name; escape it before it reaches a terminal.
        name: String,
        /// What is wrong with it.
        problem: PathError,
    },
    /// Two names that some file systems take for one.
    #[error("the names {first} and {second} are one file where upper and lower case are not told apart")]
    Duplicate {
        /// The earlier name.
        first: String,
        /// The later name.
        second: String,
    },
    /// A file that would also have to be a folder.
    #[error("{file} is a file, so {inside} cannot be inside it")]
    FileAsFolder {
        /// The name used as a file.
        file: String,
        /// The name that uses it as a folder.
        inside: String,
    },
    /// The manifest is not the first entry.
    #[error("the first entry must be manifest.json, found {found}")]
    ManifestFirst {
        /// The first name, or a word for there being none.
        found: String,
    },
    /// Names out of order.
    #[error("{name} comes after {previous}, but entries after the manifest are in ascending byte order")]
    Order {
        /// The name before.
        previous: String,
        /// The name out of order.
        name: String,
    },
    /// An entry above its limit.
    #[error("{name} has {size} bytes, the limit is {limit}")]
    EntryTooLarge {
        /// Its name.
        name: String,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Contents that end as a signing block does.
    #[error("the last file, {name}, ends with the mark of a signing block, so it could be taken for one")]
    LooksSigned {
        /// Its name.
        name: String,
    },
}

impl EntryProblem {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "MPKG-Z15",
            Self::Duplicate { .. } => "MPKG-Z16",
            Self::FileAsFolder { .. } => "MPKG-Z17",
            Self::ManifestFirst { .. } => "MPKG-Z18",
            Self::Order { .. } => "MPKG-Z19",
            Self::EntryTooLarge { .. } => "MPKG-Z14",
            Self::LooksSigned { .. } => "MPKG-Z25",
        }
    }
}

/// Checks one name by itself.
pub(super) fn check_name(name: &str) -> Result<(), EntryProblem> {
    match PackagePath::check(name) {
        Ok(()) => Ok(()),
        Err(problem) => Err(EntryProblem::Name { name: name.to_owned(), problem }),
    }
}

/// Checks one entry's size.
pub(super) fn check_size(name: &str, size: usize) -> Result<(), EntryProblem> {
    let limit = if name == MANIFEST_NAME { limits::MANIFEST } else { limits::ENTRY };
    if size <= limit {
        return Ok(());
    }
    Err(EntryProblem::EntryTooLarge { name: name.to_owned(), size, limit })
}

/// Checks names, each already checked by itself, against each other. The error says which one it was.
pub(super) fn check_names(names: &[&str]) -> Result<(), (usize, EntryProblem)> {
    let first = names.first().copied().unwrap_or("no entry");
    if first != MANIFEST_NAME {
        return Err((0, EntryProblem::ManifestFirst { found: first.to_owned() }));
    }
    for (index, pair) in names.windows(2).enumerate().skip(1) {
        let [previous, name] = pair else { continue };
        // Equal names are a duplicate, which says more.
        if previous > name {
            let (previous, name) = (previous.to_string(), name.to_string());
            return Err((index + 1, EntryProblem::Order { previous, name }));
        }
    }
    let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut seen: HashMap<&str, &str> = HashMap::with_capacity(names.len());
    for (index, (key, name)) in lower.iter().zip(names).enumerate() {
        if let Some(first) = seen.insert(key, name) {
            let (first, second) = (first.to_owned(), (*name).to_owned());
            return Err((index, EntryProblem::Duplicate { first, second }));
        }
    }
    for (index, (key, name)) in lower.iter().zip(names).enumerate() {
        for (slash, _) in key.match_indices('/') {
            let folder = key.get(..slash).unwrap_or_default();
            if let Some(file) = seen.get(folder) {
                let (file, inside) = ((*file).to_owned(), (*name).to_owned());
                return Err((index, EntryProblem::FileAsFolder { file, inside }));
            }
        }
    }
    Ok(())
}
