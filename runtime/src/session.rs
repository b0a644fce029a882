//! What belongs to one running instance and outlives any single call: who it is, what it may, what it has used.

use std::sync::Arc;
use std::time::Instant;

use crate::bridge::LogLimiter;
use crate::broker::Permissions;
use crate::budget::Ledger;
use crate::data::{Data, Namespace};
use crate::local::Local;
use crate::metrics::Metrics;
use crate::notify::Outbox;
use crate::provider::PermissionProvider;
use crate::supervisor::{KillSwitch, Meter};

/// Which app, for whom.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) app_id: String,
    pub(crate) app_name: String,
    pub(crate) publisher: String,
    pub(crate) version: String,
    pub(crate) user: String,
}

pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) identity: Identity,
    pub(crate) permissions: Permissions,
    pub(crate) provider: Arc<dyn PermissionProvider>,
    pub(crate) data: Arc<Data>,
    pub(crate) storage_quota: u64,
    pub(crate) message_bytes: usize,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) switch: Arc<KillSwitch>,
    pub(crate) notifications: Arc<Outbox>,
    pub(crate) local: Local,
    pub(crate) log_limiter: LogLimiter,
    pub(crate) metrics: Metrics,
    pub(crate) launched: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("identity", &self.identity).finish()
    }
}

impl Session {
    /// Whose storage and grants these are: one user of one publisher's app.
    pub(crate) fn namespace(&self) -> Namespace {
        Namespace {
            user: self.identity.user.clone(),
            owner: format!("{}/{}", self.identity.publisher, self.identity.app_id),
        }
    }
}
