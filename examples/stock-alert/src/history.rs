//! Past alerts, in storage: one key each, the oldest forgotten first.

use mpkg_sdk::{Error, storage};
use serde::{Deserialize, Serialize};

use crate::forecast::Level;
use crate::product::Status;

const PREFIX: &str = "alert/";
/// How many alerts are kept.
const KEPT: usize = 500;

/// One change of a product's level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) at_ms: u64,
    pub(crate) sku: String,
    pub(crate) from: Level,
    pub(crate) to: Level,
    pub(crate) stock: u64,
    pub(crate) hours_left: Option<u64>,
    pub(crate) reorder_units: u64,
}

/// Where the next alert goes.
#[derive(Debug, Default)]
pub(crate) struct History {
    next: u64,
    kept: usize,
}

impl History {
    /// Finds out where the last run stopped.
    pub(crate) fn open() -> Result<Self, Error> {
        let keys = storage::keys(PREFIX)?;
        let last = keys.last().and_then(|key| key.strip_prefix(PREFIX)).and_then(|n| n.parse::<u64>().ok());
        Ok(Self { next: last.map_or(0, |last| last + 1), kept: keys.len() })
    }

    /// Remembers that `status` is another level than `from`.
    pub(crate) fn add(&mut self, at_ms: u64, from: Level, status: &Status) -> Result<Alert, Error> {
        let alert = Alert {
            at_ms,
            sku: status.sku.clone(),
            from,
            to: status.level,
            stock: status.stock,
            hours_left: status.hours_left,
            reorder_units: status.reorder_units,
        };
        // Twelve digits, so that keys sort like numbers.
        storage::set(&format!("{PREFIX}{:012}", self.next), &alert)?;
        self.next += 1;
        self.kept += 1;
        while self.kept > KEPT {
            let oldest = storage::list(PREFIX, None, 1)?;
            for key in &oldest.keys {
                storage::delete(key)?;
            }
            self.kept -= 1;
        }
        Ok(alert)
    }

    /// The newest `limit` alerts, newest first; of one product only, if `sku` names one.
    pub(crate) fn latest(sku: Option<&str>, limit: usize) -> Result<Vec<Alert>, Error> {
        let mut alerts = Vec::new();
        for key in storage::keys(PREFIX)?.iter().rev() {
            if alerts.len() == limit {
                break;
            }
            let alert: Option<Alert> = storage::get(key)?;
            alerts.extend(alert.filter(|alert| sku.is_none_or(|sku| sku == alert.sku)));
        }
        Ok(alerts)
    }
}
