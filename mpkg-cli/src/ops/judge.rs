//! The verdict on any file as an unsigned package.

use std::path::Path;

use mpkg_package::container::{self, ContainerError};
use mpkg_package::contents::{self, ContentError, Contents};
use mpkg_package::{Hash, identity, limits};
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::{files, manifest};
use crate::snippet::Findings;

/// Accepted or not, and why not.
#[derive(Debug, Serialize)]
pub(crate) struct Judgement {
    pub(crate) verdict: &'static str,
    /// The rule that refuses it.
    pub(crate) code: Option<&'static str>,
    pub(crate) message: Option<String>,
    /// The byte of the file that the message is about, where there is one.
    pub(crate) offset: Option<usize>,
    pub(crate) file: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Vec<File>>,
}

/// A file of an accepted package.
#[derive(Debug, Serialize)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// Judges the file at `path`; beside the verdict, what to tell people if it is refused. Only a file that cannot be read
/// has none.
pub(crate) fn judge(path: &Path, list: bool) -> Outcome<(Judgement, Option<Failure>)> {
    let limit = limits::PACKAGE;
    let size = files::check_regular(path)?.len();
    // The size alone refuses it: nothing of it has to be read.
    if size > limit as u64 {
        let size_read = usize::try_from(size).unwrap_or(usize::MAX);
        let error = ContainerError::TooLarge { size: size_read, limit };
        return Ok(refused(path, size, &[], error.into()));
    }
    let bytes = files::read(path, limit as u64)?;
    let size = bytes.len() as u64;
    Ok(match contents::check(&bytes) {
        Ok(contents) => (accepted(path, &bytes, &contents, list), None),
        Err(error) => refused(path, size, &bytes, error),
    })
}

fn accepted(path: &Path, bytes: &[u8], contents: &Contents<'_>, list: bool) -> Judgement {
    let digest = identity(bytes);
    let files = contents.container.entries().iter().map(|entry| File {
        name: entry.name.to_owned(),
        size: entry.data.len() as u64,
        sha256: Hash::of(entry.data).to_string(),
    });
    Judgement {
        verdict: "accept",
        code: None,
        message: None,
        offset: None,
        file: path.display().to_string(),
        size: digest.size,
        digest: Some(format!("sha256:{}", digest.sha256)),
        files: list.then(|| files.collect()),
    }
}

fn refused(path: &Path, size: u64, bytes: &[u8], error: ContentError) -> (Judgement, Option<Failure>) {
    let (code, message, offset) = (error.code(), error.to_string(), error.offset());
    let file = path.display().to_string();
    let hint = if mpkg_package::signing::is_signed(bytes) {
        "It is signed: `mpkg verify FILE --trust ROOT` checks signature and contents.".to_owned()
    } else {
        format!("`mpkg explain {code}` tells what this rule stops.")
    };
    let mut failure =
        Failure::with_code(code, Exit::Refused, format!("{file} is refused: {message}")).hint(hint);
    if let Some(offset) = offset {
        failure = failure.data("offset", offset);
    }
    if let ContentError::Manifest(problems) = error {
        let source =
            container::read(bytes).map(|container| container.manifest().to_vec()).unwrap_or_default();
        failure = failure.findings(Findings::new(format!("{file}:{}", manifest::NAME), source, problems));
    }
    let (code, message) = (Some(code), Some(message));
    let judgement =
        Judgement { verdict: "reject", code, message, offset, file, size, digest: None, files: None };
    (judgement, Some(failure))
}
