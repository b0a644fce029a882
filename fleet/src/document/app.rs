//! The state of one app.

use std::collections::BTreeSet;

use mpkg_manifest::AppId;
use mpkg_package::{Hash, PublisherId, Time};
use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, STATE_ONLY, Sequenced, check_sequenced, too_many};
use crate::kill::{Kill, Lift};
use crate::limits;
use crate::target::Targeting;
use crate::types::{BasisPoints, Position, ReleaseRef, Token};

/// Whether hosts that have not got the release may get it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Admission {
    /// Whoever is in the percentage gets it.
    #[default]
    Open,
    /// Halted: nobody new; who has it keeps it.
    Closed,
}

/// Which release of an app runs where, and what of it is switched off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppState {
    /// The app.
    pub app_id: AppId,
    /// Whose app it is. It never changes: data on devices belongs to the app of this publisher.
    pub publisher: PublisherId,
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
    /// What is rolled out; nothing after a rollback, or before the first rollout.
    pub release: Option<ReleaseRef>,
    /// What everybody else runs.
    pub baseline: Option<ReleaseRef>,
    /// The share that gets the release.
    pub percent: BasisPoints,
    /// The share that keeps the baseline for comparison.
    pub control: BasisPoints,
    /// Whether somebody new gets it.
    pub admission: Admission,
    /// What buckets are computed with; another one for each release.
    pub salt: Token,
    /// Who can get the release at all.
    pub targeting: Targeting,
    /// No release below this runs on any host that has seen this document.
    pub min_seq: u64,
    /// SHA-256 of packages that must not be launched.
    pub disabled: BTreeSet<Hash>,
    /// Kills in force, of this app.
    pub kills: Vec<Kill>,
    /// Kills that are over, of any scope.
    pub lifts: Vec<Lift>,
}

impl Document for AppState {
    const TYPE: &'static str = "application/vnd.mpkg.app-state.v1+json";
    const LIMIT: usize = limits::APP_STATE;
    const ROLES: &'static [&'static str] = STATE_ONLY;
    const NAME: &'static str = "state of an app";

    fn check(&self) -> Result<(), DocumentError> {
        check_sequenced(self)?;
        let (percent, control) = (self.percent, self.control);
        let refuse = |reason| Err(DocumentError::Arms { percent, control, reason });
        if percent.get() + control.get() > BasisPoints::ALL.get() {
            return refuse("together they are more than everybody");
        }
        if self.release.is_none() && (percent, control) != (BasisPoints::NONE, BasisPoints::NONE) {
            return refuse("there is no release");
        }
        for release in [&self.release, &self.baseline].into_iter().flatten() {
            if release.release_seq < self.min_seq {
                let (release_seq, min_seq) = (release.release_seq, self.min_seq);
                return Err(DocumentError::BelowFloor { release_seq, min_seq });
            }
        }
        if let (Some(release), Some(baseline)) = (&self.release, &self.baseline)
            && release.release_seq <= baseline.release_seq
        {
            let (release, baseline) = (release.release_seq, baseline.release_seq);
            return Err(DocumentError::NotNewer { release, baseline });
        }
        too_many("disabled packages", self.disabled.len(), limits::DISABLED)?;
        self.targeting.check()?;
        match self.kills.iter().find(|kill| kill.scope.app.as_ref() != Some(&self.app_id)) {
            Some(kill) => Err(DocumentError::ForeignKill { kill: kill.id(), app_id: self.app_id.clone() }),
            None => Ok(()),
        }
    }
}

impl Sequenced for AppState {
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
