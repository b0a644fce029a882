//! The stop notice: all that a key with the role `stop` can sign.
//!
//! It holds kills and nothing else, has no place in a sequence, and takes effect by union. So whoever holds such a
//! key, rightly or not, can switch things off and cannot switch anything on, choose a release, lift a kill, or use
//! up numbers that the registry needs. A host can judge it without knowing what came before.

use mpkg_package::Time;
use serde::{Deserialize, Serialize};

use super::{Document, DocumentError, STOP_OR_STATE, too_many};
use crate::kill::Kill;
use crate::limits;

/// Kills, at once and whatever else is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopNotice {
    /// When it was made, for people.
    pub issued: Time,
    /// The kills.
    pub kills: Vec<Kill>,
}

impl Document for StopNotice {
    const TYPE: &'static str = "application/vnd.mpkg.stop.v1+json";
    const LIMIT: usize = limits::STOP_NOTICE;
    const ROLES: &'static [&'static str] = STOP_OR_STATE;
    const NAME: &'static str = "stop notice";

    fn check(&self) -> Result<(), DocumentError> {
        too_many("kills", self.kills.len(), limits::KILLS)?;
        for kill in &self.kills {
            kill.check()?;
        }
        Ok(())
    }
}
