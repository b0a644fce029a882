//! The audit: what was decided on permissions, by whom, in the order in which it was recorded.

use std::time::{SystemTime, UNIX_EPOCH};

use mpkg_manifest::ScopeValue;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use serde::{Deserialize, Serialize};

use super::grants::Records;
use super::{Data, DataError};
use crate::rpc::Denial;

/// sequence number → [`AuditRecord`] as JSON.
pub(super) const AUDIT: TableDefinition<'_, u64, &str> = TableDefinition::new("audit");

/// The most records kept; the oldest go first.
pub(super) const KEPT: u64 = 10_000;

/// One decision on a permission.
///
/// It is written in the same transaction as the grant that it tells of, so that neither is there without the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its place in the audit: from 1 on, without gaps, and never used again.
    pub seq: u64,
    /// When, in milliseconds since 1970 by this device's clock.
    pub unix_ms: u64,
    /// The user.
    pub user: String,
    /// The publisher of the app.
    pub publisher: String,
    /// The app.
    pub app_id: String,
    /// The version of the app, as its manifest names it.
    pub version: String,
    /// The permission.
    pub permission: String,
    /// What it was limited to when it was decided on.
    pub scope: ScopeValue,
    /// What was decided.
    pub outcome: AuditOutcome,
    /// Who decided.
    pub by: Decider,
}

impl AuditRecord {
    /// A record about one user's app, to be completed with an outcome; its place and time come when it is written.
    pub(crate) fn about(
        [user, publisher, app_id, version]: [&str; 4],
        permission: &str,
        scope: ScopeValue,
    ) -> Self {
        Self {
            seq: 0,
            unix_ms: 0,
            user: user.to_owned(),
            publisher: publisher.to_owned(),
            app_id: app_id.to_owned(),
            version: version.to_owned(),
            permission: permission.to_owned(),
            scope,
            outcome: AuditOutcome::AskAgain,
            by: Decider::Host,
        }
    }
}

/// What was decided on a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuditOutcome {
    /// Allowed until the instance ends.
    AllowedOnce,
    /// Allowed whenever the app is in use.
    AllowedWhileInUse,
    /// Allowed until it is taken back.
    AllowedAlways,
    /// Allowed up to a time.
    AllowedUntil {
        /// The time, in milliseconds since 1970.
        unix_ms: u64,
    },
    /// Not allowed: an answer, a revocation, or the first call of an instance that was refused.
    Denied {
        /// Why not.
        reason: Denial,
    },
    /// What was decided before counts no more: the next use asks again.
    AskAgain,
}

/// Who decided on a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decider {
    /// Whoever answered the provider's question, or failed to.
    Prompt,
    /// The provider, without asking anybody (see
    /// [`PermissionProvider::decide_at_once`](crate::PermissionProvider::decide_at_once)).
    Fixed,
    /// The embedder, with [`Host::grant`](crate::Host::grant), [`Host::revoke`](crate::Host::revoke) or
    /// [`Host::forget`](crate::Host::forget).
    Host,
    /// The host's policy.
    Policy,
    /// The app's manifest, which does not declare the permission.
    Manifest,
    /// A decision recorded earlier, met by a call.
    Recorded,
    /// Time: the grant has run out.
    Expiry,
    /// An update of the app that asks for more than the version before it.
    Update,
    /// The fleet's signed state: a kill, or that there is none new enough.
    Fleet,
}

/// A stretch of the audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AuditPage {
    /// The records, oldest first.
    pub records: Vec<AuditRecord>,
    /// How many records after the sequence number asked for are gone, because newer ones took their place.
    pub missed: u64,
}

/// Now, by this device's clock, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Records<'_> {
    /// Adds a record at the end, under the next sequence number and the present time.
    pub(crate) fn audit(&self, mut record: AuditRecord) -> Result<(), DataError> {
        let mut table = self.txn.open_table(AUDIT)?;
        record.seq = table.last()?.map_or(0, |(seq, _)| seq.value()) + 1;
        record.unix_ms = unix_ms();
        table.insert(record.seq, serde_json::to_string(&record)?.as_str())?;
        while table.len()? > self.audit_kept {
            table.pop_first()?;
        }
        Ok(())
    }
}

impl Data {
    /// At most `limit` records after a sequence number.
    pub(crate) fn audit(&self, after_seq: u64, limit: usize) -> Result<AuditPage, DataError> {
        let table = self.db.begin_read()?.open_table(AUDIT)?;
        let oldest = table.first()?.map(|(seq, _)| seq.value());
        let start = after_seq.saturating_add(1);
        let records = table.range(start..)?.take(limit);
        Ok(AuditPage {
            records: records
                .map(|row| Ok(serde_json::from_str(row?.1.value())?))
                .collect::<Result<_, DataError>>()?,
            missed: oldest.unwrap_or(start).saturating_sub(start),
        })
    }
}
