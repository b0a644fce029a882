//! The fleet head: all apps by hash, and what holds for every app.

use std::collections::BTreeMap;

use mpkg_manifest::AppId;
use mpkg_package::{Hash, Time};
use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, STATE_ONLY, Sequenced, check_sequenced, too_many};
use crate::kill::{Kill, Lift};
use crate::limits;
use crate::staleness::Staleness;
use crate::types::Position;

/// The newest state of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppEntry {
    /// Its epoch.
    pub epoch: u64,
    /// Its sequence.
    pub seq: u64,
    /// SHA-256 of its payload.
    pub sha256: Hash,
}

impl AppEntry {
    /// Where that state stands.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.seq }
    }
}

/// What hosts do by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetPolicy {
    /// Without news from the registry.
    pub staleness: Staleness,
}

/// The newest state of every app. Its age tells a host how old its knowledge is, so registries sign it again every
/// few minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FleetHead {
    /// See [`Position`].
    pub epoch: u64,
    /// See [`Position`].
    pub seq: u64,
    /// SHA-256 of the payload before, in the same epoch.
    pub prev_sha256: Option<Hash>,
    /// When it was made.
    pub issued: Time,
    /// From when on hosts report that they are kept from newer state.
    pub expires: Time,
    /// The apps.
    pub apps: BTreeMap<AppId, AppEntry>,
    /// Kills in force, of any scope.
    pub kills: Vec<Kill>,
    /// Kills that are over.
    pub lifts: Vec<Lift>,
    /// What hosts do by themselves.
    pub policy: FleetPolicy,
}

impl Document for FleetHead {
    const TYPE: &'static str = "application/vnd.mpkg.fleet-head.v1+json";
    const LIMIT: usize = limits::FLEET_HEAD;
    const ROLES: &'static [&'static str] = STATE_ONLY;
    const NAME: &'static str = "fleet head";

    fn check(&self) -> Result<(), DocumentError> {
        check_sequenced(self)?;
        too_many("apps", self.apps.len(), limits::APPS)?;
        match self.apps.values().find(|app| app.epoch == 0 || app.seq == 0) {
            Some(app) => Err(DocumentError::Position { position: app.position() }),
            None => Ok(()),
        }
    }
}

impl Sequenced for FleetHead {
    fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.seq }
    }
    fn prev(&self) -> Option<Hash> {
        self.prev_sha256
    }
    fn issued(&self) -> Time {
        self.issued
    }
    fn expires(&self) -> Time {
        self.expires
    }
    fn kills(&self) -> &[Kill] {
        &self.kills
    }
    fn lifts(&self) -> &[Lift] {
        &self.lifts
    }
}
