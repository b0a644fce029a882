//! What a host allows: ceilings over everything an app's manifest may ask for.

use std::time::Duration;

use crate::bridge::NetworkPolicy;

/// One WebAssembly page.
pub const PAGE: u64 = 64 * 1024;

/// A host's ceilings. [`Policy::default`] suits a phone.
///
/// ```
/// use miniapp_runtime::Policy;
/// let policy = Policy { memory_ceiling: 128 << 20, ..Policy::default() };
/// assert_eq!(policy.memory_default, 64 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    /// Memory of an app whose manifest names no limit, in bytes. Default 64 MiB.
    pub memory_default: u64,
    /// The most an app's manifest may ask for, in bytes. Default 64 MiB.
    pub memory_ceiling: u64,
    /// Longest message in either direction, in bytes; a longer one is refused, one many times as long ends the
    /// instance. Default 1 MiB.
    pub message_bytes: usize,
    /// Guest CPU time a single call may use; waiting in host calls is not charged. Default 5 s.
    pub cpu_per_call: Duration,
    /// Time a single call may take in all. Default 30 s.
    pub wall_per_call: Duration,
    /// Calls that may wait for one instance at a time. Default 64.
    pub calls_in_flight: u32,
    /// Live instances on this host. Default 256.
    pub instances: usize,
    /// The most storage an app's manifest may ask for, in bytes. Default 64 MiB.
    pub storage_ceiling: u64,
    /// Log lines an instance may write per second; more are dropped and counted. Default 100.
    pub log_lines_per_second: u32,
    /// Notifications kept for a slow receiver before the oldest are dropped and counted. Default 256.
    pub notification_queue: usize,
    /// Which requests apps may make on the network, and how much of it they may take.
    pub network: NetworkPolicy,
    /// Permissions this host never gives, whatever the user says.
    pub denied_permissions: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            memory_default: 64 << 20,
            memory_ceiling: 64 << 20,
            message_bytes: 1 << 20,
            cpu_per_call: Duration::from_secs(5),
            wall_per_call: Duration::from_secs(30),
            calls_in_flight: 64,
            instances: 256,
            storage_ceiling: 64 << 20,
            log_lines_per_second: 100,
            notification_queue: 256,
            network: NetworkPolicy::default(),
            denied_permissions: Vec::new(),
        }
    }
}
