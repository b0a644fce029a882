//! What is known, as bytes to persist.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use mpkg_manifest::AppId;
use mpkg_package::{PublisherId, RootChain, Time};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Alarm, Fleet};
use crate::document::{Document, SignedDocument};
use crate::kill::KillSet;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: u32,
    registry: PublisherId,
    root_floor: u32,
    roots: Option<String>,
    head: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Time>,
    apps: BTreeMap<AppId, String>,
    min_seq: BTreeMap<AppId, u64>,
    kills: KillSet,
    alarms: Vec<Alarm>,
}

/// Why saved knowledge cannot be used. A host then must not start as if it knew nothing: it would forget its kills.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the saved state of the fleet cannot be read: {reason}")]
pub struct RestoreError {
    /// What is wrong with it.
    pub reason: String,
}

impl RestoreError {
    fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }

    /// The rule's code.
    pub fn code(&self) -> &'static str {
        "MPKG-F40"
    }
}

impl Fleet {
    /// Everything that is known, to persist before acting on it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let saved = Saved {
            format: FORMAT,
            registry: self.registry,
            root_floor: self.root_floor,
            roots: self.roots.as_ref().map(|roots| BASE64.encode(&roots.to_bytes())),
            head: self.head.as_ref().map(encode),
            seen: self.seen,
            apps: self.apps.iter().map(|(app, state)| (app.clone(), encode(state))).collect(),
            min_seq: self.min_seq.clone(),
            kills: self.kills.clone(),
            alarms: self.alarms.clone(),
        };
        // Strings, integers and maps with string keys always serialize.
        serde_json::to_vec(&saved).unwrap_or_default()
    }

    /// Reads what [`Self::to_bytes`] wrote. Signatures are not checked again, since keys that made them may have left
    /// the root: keep the bytes where nobody else can write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RestoreError> {
        let saved: Saved = serde_json::from_slice(bytes).map_err(RestoreError::new)?;
        if saved.format != FORMAT {
            return Err(RestoreError::new(format!("format {} is not known", saved.format)));
        }
        let roots = saved.roots.as_deref().map(bytes_of).transpose()?;
        let roots = roots.map(|bytes| RootChain::parse(&bytes).map_err(RestoreError::new)).transpose()?;
        if roots.as_ref().is_some_and(|roots| roots.publisher() != saved.registry) {
            return Err(RestoreError::new("its roots are another registry's"));
        }
        let mut apps = BTreeMap::new();
        for (app, state) in &saved.apps {
            apps.insert(app.clone(), decode(state)?);
        }
        Ok(Self {
            registry: saved.registry,
            root_floor: saved.root_floor,
            roots,
            head: saved.head.as_deref().map(decode).transpose()?,
            seen: saved.seen,
            apps,
            min_seq: saved.min_seq,
            kills: saved.kills,
            alarms: saved.alarms,
        })
    }
}

fn encode<D: Document>(document: &SignedDocument<D>) -> String {
    BASE64.encode(&document.to_bytes())
}

fn bytes_of(text: &str) -> Result<Vec<u8>, RestoreError> {
    BASE64.decode(text.as_bytes()).map_err(RestoreError::new)
}

fn decode<D: Document>(text: &str) -> Result<SignedDocument<D>, RestoreError> {
    SignedDocument::parse(&bytes_of(text)?).map_err(RestoreError::new)
}
