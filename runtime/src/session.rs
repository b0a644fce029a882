//! What belongs to one running instance and outlives any single call: who it is, what it may, what it has used.

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mpkg_manifest::ScopeValue;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::bridge::Connections;
use crate::broker::{Broker, Permissions};
use crate::budget::Ledger;
use crate::data::{AuditRecord, Data, Namespace};
use crate::dispatch::InFlight;
use crate::life::Life;
use crate::limits::{Limit, Limits};
use crate::link::Endpoints;
use crate::local::Local;
use crate::memory::Seat;
use crate::meter::Meter;
use crate::metrics::{InstanceMetrics, Metrics};
use crate::notify::Outbox;
use crate::page_time::PageTime;
use crate::rates::{Rate, Rates};
use crate::rpc::{RpcError, code};
use crate::senses::Sensed;

/// Seconds' worth of writing that an app may save up.
const SAVED: NonZeroU32 = NonZeroU32::MIN.saturating_add(7);

/// Which app, for whom.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) app_id: String,
    pub(crate) app_name: String,
    pub(crate) publisher: String,
    pub(crate) version: String,
    pub(crate) release_seq: u64,
    pub(crate) user: String,
}

impl Identity {
    /// Whose storage and grants these are: one user of one publisher's app.
    pub(crate) fn namespace(&self) -> Namespace {
        Namespace::new(&self.user, &self.publisher, &self.app_id)
    }

    /// An audit record about this app, to be completed with an outcome.
    pub(crate) fn audit(&self, permission: &str, scope: ScopeValue) -> AuditRecord {
        AuditRecord::about([&self.user, &self.publisher, &self.app_id, &self.version], permission, scope)
    }
}

pub(crate) struct Session {
    pub(crate) life: Arc<Life>,
    pub(crate) identity: Identity,
    pub(crate) permissions: Arc<Permissions>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) data: Arc<Data>,
    pub(crate) storage_quota: u64,
    pub(crate) limits: Limits,
    /// Whether it runs on the best code there will be.
    pub(crate) optimized: bool,
    pub(crate) suspend_hidden: bool,
    pub(crate) grace: Duration,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) seat: Arc<Seat>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) notifications: Arc<Outbox>,
    pub(crate) local: Local,
    pub(crate) log_rate: Rate,
    pub(crate) rates: Rates,
    /// What it may write to disk; made when it first does.
    pub(crate) disk_rate: OnceLock<Rate>,
    pub(crate) disk_bytes_per_second: NonZeroU32,
    pub(crate) senses: Sensed,
    pub(crate) network: Connections,
    /// Places for connections of its page.
    pub(crate) connections: Arc<Semaphore>,
    /// What its page has its host compute.
    pub(crate) page_time: PageTime,
    /// Calls of its page.
    pub(crate) in_flight: InFlight,
    /// The host's own threads.
    pub(crate) runtime: Handle,
    /// Places for work that may wait for the disk.
    pub(crate) blocking: Arc<Semaphore>,
    pub(crate) metrics: Metrics,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.life.id).field("identity", &self.identity).finish()
    }
}

impl Session {
    /// See [`Identity::namespace`].
    pub(crate) fn namespace(&self) -> Namespace {
        self.identity.namespace()
    }

    /// What the app has done and used so far.
    pub(crate) fn figures(&self) -> InstanceMetrics {
        let mut figures = self.metrics.snapshot(&self.ledger, &self.meter);
        (figures.inbox_delivered, figures.inbox_dropped) = self.local.lane.counts();
        figures
    }

    /// Counts what a call writes to disk, in bytes: all apps have one disk, and who writes waits for what is being written.
    pub(crate) fn write(&self, bytes: usize) -> Result<(), RpcError> {
        let per_second = self.disk_bytes_per_second;
        let rate = self.disk_rate.get_or_init(|| Rate::saving(per_second, per_second.saturating_mul(SAVED)));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        rate.take(bytes).map_err(|wait| self.too_much("The app writes too much", wait))
    }

    /// Answers who has to wait before that can be done again.
    #[cold]
    pub(crate) fn too_much(&self, what: &str, wait: Duration) -> RpcError {
        self.metrics.hit(Limit::Rate);
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        RpcError::new(code::BUSY, format!("{what}; try again in {wait} ms."))
            .with_data(json!({ "limit": Limit::Rate.label(), "retry_after_ms": wait }))
    }

    /// Answers a message for which the app's memory budget has no room. The host's copies of messages are the app's
    /// memory.
    #[cold]
    pub(crate) fn no_room(&self, what: &str) -> RpcError {
        let message = format!("The app's memory budget has no room for this {what}.");
        RpcError::new(code::TOO_LARGE, message).with_limit(Limit::Memory)
    }
}
