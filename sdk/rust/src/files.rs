//! The app's private folder. Permission `files`.

use serde::{Deserialize, Serialize};

use crate::bridge::{self, Empty, Ignored};
use crate::{Error, base64};

#[derive(Serialize)]
struct At<'a> {
    path: &'a str,
}

/// The bytes of one file, in as many requests as it takes.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    loop {
        let part = read_part(path, bytes.len() as u64, None)?;
        // A host that promises more and gives none would keep us here for ever.
        let more = part.more && !part.bytes.is_empty();
        bytes.extend(part.bytes);
        if !more {
            return Ok(bytes);
        }
    }
}

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// There is more behind it.
    pub more: bool,
}

/// The bytes from `offset` on: as many as the host gives at once, and at most `length`.
pub fn read_part(path: &str, offset: u64, length: Option<u64>) -> Result<Part, Error> {
    #[derive(Serialize)]
    struct Read<'a> {
        path: &'a str,
        offset: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
    }
    #[derive(Deserialize)]
    struct Contents {
        base64: String,
        #[serde(default)]
        more: bool,
    }
    let answer: Contents = bridge::request(bridge::files, "files.read", &Read { path, offset, length })?;
    Ok(Part { bytes: base64::decode("files.read", &answer.base64)?, more: answer.more })
}

#[derive(Serialize)]
struct Write<'a> {
    path: &'a str,
    base64: String,
    append: bool,
}

/// Writes one file, whole or not at all. Names are those of files in a package; [`Error::Refused`] if there is one that
/// differs in case only, or is a folder here and a file there.
pub fn write(path: &str, bytes: &[u8]) -> Result<(), Error> {
    let write = Write { path, base64: base64::encode(bytes), append: false };
    bridge::request(bridge::files, "files.write", &write).map(|_: Ignored| ())
}

/// Writes behind what the file holds already. What was there stays, whatever happens.
pub fn append(path: &str, bytes: &[u8]) -> Result<(), Error> {
    let write = Write { path, base64: base64::encode(bytes), append: true };
    bridge::request(bridge::files, "files.write", &write).map(|_: Ignored| ())
}

/// Deletes one file. Tells whether it was there.
pub fn delete(path: &str) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct Deleted {
        existed: bool,
    }
    bridge::request(bridge::files, "files.delete", &At { path }).map(|answer: Deleted| answer.existed)
}

/// The paths that begin with `prefix`.
pub fn list(prefix: &str) -> Result<Vec<String>, Error> {
    #[derive(Serialize)]
    struct List<'a> {
        prefix: &'a str,
    }
    #[derive(Deserialize)]
    struct Listed {
        paths: Vec<String>,
    }
    bridge::request(bridge::files, "files.list", &List { prefix }).map(|answer: Listed| answer.paths)
}

/// What there is to know about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stat {
    /// Its length in bytes.
    pub size: u64,
    /// When it was written last, in milliseconds since 1970, if the host knows.
    #[serde(default)]
    pub modified_ms: Option<u64>,
}

/// Tells about a file, if it is there.
pub fn stat(path: &str) -> Result<Option<Stat>, Error> {
    #[derive(Deserialize)]
    struct Found {
        found: bool,
        #[serde(default)]
        size: u64,
        #[serde(default)]
        modified_ms: Option<u64>,
    }
    let answer: Found = bridge::request(bridge::files, "files.stat", &At { path })?;
    Ok(answer.found.then_some(Stat { size: answer.size, modified_ms: answer.modified_ms }))
}

/// How full the folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// All files together.
    pub used_bytes: u64,
    /// What the manifest asked for.
    pub quota_bytes: u64,
    /// How many files.
    pub files: u64,
    /// How many there may be.
    pub max_files: u64,
}

/// How full the folder is.
pub fn usage() -> Result<Usage, Error> {
    bridge::request(bridge::files, "files.usage", &Empty {})
}
