//! The signed state of a fleet as a file, for hosts that no network reaches.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use mpkg_manifest::AppId;
use mpkg_manifest::json::{self, JsonError};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;

const FORMAT: u32 = 1;

/// What a host without a network takes in: the same documents that a stream carries, each signed by itself. The file as
/// a whole needs no signature and proves nothing.
///
/// ```
/// use mpkg_fleet::StateFile;
/// let file = StateFile { roots: vec![1], head: "{}".into(), apps: Default::default() };
/// assert_eq!(StateFile::parse(&file.to_bytes()).unwrap(), file);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFile {
    /// The registry's roots.
    pub roots: Vec<u8>,
    /// The signed head.
    pub head: String,
    /// The signed states of some apps.
    pub apps: BTreeMap<AppId, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    roots: String,
    head: String,
    apps: BTreeMap<AppId, String>,
}

/// Why a state file cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StateFileError {
    /// Not strict JSON of the right shape.
    #[error("the state file is not valid: {0}")]
    Json(#[from] JsonError),
    /// Another format.
    #[error("the state file has format {found}, and this version reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// The roots are not base64.
    #[error("the state file's roots are not base64")]
    Roots,
}

impl StateFileError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::Format { .. } | Self::Roots => "MPKG-F80",
        }
    }
}

impl StateFile {
    /// What it is called in the folder that carries it.
    pub const NAME: &str = "state.json";

    /// Reads a file. What it holds counts once a [`Fleet`](crate::Fleet) has taken it in.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateFileError> {
        let Wire { format, roots, head, apps } = json::read(bytes, json::Limits::bytes(limits::STATE_FILE))?;
        if format != FORMAT {
            return Err(StateFileError::Format { found: format });
        }
        let roots = BASE64.decode(roots.as_bytes()).map_err(|_| StateFileError::Roots)?;
        Ok(Self { roots, head, apps })
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { roots, head, apps } = self;
        let wire =
            Wire { format: FORMAT, roots: BASE64.encode(roots), head: head.clone(), apps: apps.clone() };
        // Strings and maps with string keys always serialize.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_state_file_is_refused_by_its_rule() {
        for (text, code) in [
            (r#"{"format": 2, "roots": "", "head": "", "apps": {}}"#, "MPKG-F80"),
            (r#"{"format": 1, "roots": "?", "head": "", "apps": {}}"#, "MPKG-F80"),
            (r#"{"format": 1, "roots": "", "head": "", "apps": {}, "more": 1}"#, "MPKG-J11"),
            (r#"{"format": 1, "format": 1, "roots": "", "head": "", "apps": {}}"#, "MPKG-J04"),
        ] {
            assert_eq!(StateFile::parse(text.as_bytes()).unwrap_err().code(), code, "{text}");
        }
    }
}
