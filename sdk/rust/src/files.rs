//! The app's private folder. Permission `files`.

use serde::{Deserialize, Serialize};

use crate::bridge::{self, Ignored};
use crate::{Error, base64};

#[derive(Serialize)]
struct At<'a> {
    path: &'a str,
}

/// The bytes of one file.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    #[derive(Deserialize)]
    struct Contents {
        base64: String,
    }
    let answer: Contents = bridge::request(bridge::files, "files.read", &At { path })?;
    base64::decode("files.read", &answer.base64)
}

/// Writes one file, whole.
pub fn write(path: &str, bytes: &[u8]) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Write<'a> {
        path: &'a str,
        base64: String,
    }
    bridge::request(bridge::files, "files.write", &Write { path, base64: base64::encode(bytes) })
        .map(|_: Ignored| ())
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
