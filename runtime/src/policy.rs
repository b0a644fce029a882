//! What a host allows: limits for apps, ceilings over what their manifests may ask for, and its own totals.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use mpkg_manifest::permission;

use crate::bridge::NetworkPolicy;
use crate::error::HostError;
use crate::limits::Limits;

/// One WebAssembly page.
pub const PAGE: u64 = 64 * 1024;

/// A host's ceilings. [`Policy::default`] suits a phone.
///
/// ```
/// use miniapp_runtime::{Limits, Policy};
/// let ceilings = Limits { memory_bytes: 128 << 20, ..Limits::PHONE };
/// let policy = Policy { ceilings, ..Policy::default() };
/// assert_eq!(policy.limits.memory_bytes, 64 << 20);
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    /// What an app gets whose manifest asks for nothing under `mpkg.limits`. Default [`Limits::PHONE`].
    pub limits: Limits,
    /// The most a manifest may ask for. Default: twice [`Limits::PHONE`] in time, four times in length and number, and
    /// the same in memory.
    pub ceilings: Limits,
    /// The most storage an app's manifest may ask for, in bytes. Default 64 MiB.
    pub storage_ceiling: u64,
    /// The most files an app's manifest may ask for, in bytes. Default 64 MiB.
    pub files_ceiling: u64,
    /// Stack of a call into an app, in bytes, the host's bridge functions not included: how deeply it may recurse. The
    /// same for all apps. Default 512 KiB.
    pub stack_bytes: usize,
    /// Resident memory of all instances together, in bytes. A launch that will not fit ends hidden apps to make room,
    /// least recently shown first, or is refused. Default 256 MiB.
    pub memory_bytes: u64,
    /// Live instances on this host. Default 1024.
    pub instances: usize,
    /// Components compiled at the same time for launches that wait for them, each on all cores. Beside these one is
    /// compiled for later, on half of the cores and at a low priority. Default 1.
    pub compiles: usize,
    /// The largest component that is compiled here, in bytes. A compile is not part of `memory_bytes`, and takes many times
    /// as much as the component while it lasts. A larger one counts as one that does not start here. Default 32 MiB, the
    /// most that a package may have.
    pub component_bytes: usize,
    /// Whether a hidden app is held still. Without it, hidden apps go on running. Default true.
    pub suspend_hidden: bool,
    /// How long an app may take to handle that it is hidden or unloaded. Default 2 s.
    pub grace: Duration,
    /// How long an app has to live after its launch to count as up, unless it answers a call before. Default 5 s.
    pub beacon: Duration,
    /// Calls an instance may make per second, by method, over what a bridge sets for its own methods. A host is not
    /// built with a method that neither the vocabulary nor one of its bridges has.
    pub rates: BTreeMap<String, NonZeroU32>,
    /// The most calls per second that a manifest may ask for under `mpkg.limits.calls_per_second`, by method. Where nothing
    /// is said here, that is the method's rate; a manifest may always ask for fewer.
    pub rate_ceilings: BTreeMap<String, NonZeroU32>,
    /// Bytes an instance may write to disk per second, by `storage` and `files`; it may save up eight seconds' worth. Each
    /// key or file counts as 256 bytes more. Default 512 KiB.
    pub disk_bytes_per_second: NonZeroU32,
    /// Notifications kept for a slow receiver before the oldest are dropped and counted. Default 256.
    pub notification_queue: usize,
    /// How long a question about a permission may stay open; then it counts as not granted. The `wall_per_call` of a
    /// call that waits for the answer does not run meanwhile. Default 60 s.
    pub prompt_timeout: Duration,
    /// Which requests apps may make on the network, and how much of it they may take.
    pub network: NetworkPolicy,
    /// Permissions this host never gives, whatever the user says. A host is not built with one that does not exist.
    pub denied_permissions: Vec<String>,
}

impl Policy {
    /// Refuses names that mean nothing, which would deny and limit nothing. `provided` tells which methods there are.
    pub(crate) fn check_names(&self, provided: impl Fn(&str) -> bool) -> Result<(), HostError> {
        for permission in &self.denied_permissions {
            if permission::interface_for(permission).is_none() {
                return Err(HostError::UnknownPermission { permission: permission.clone() });
            }
        }
        for method in self.rates.keys().chain(self.rate_ceilings.keys()) {
            // One policy may be for several hosts: what the vocabulary has is no mistake.
            if permission::method(method).is_none() && !provided(method) {
                return Err(HostError::UnknownMethod { method: method.clone() });
            }
        }
        Ok(())
    }
}

impl Default for Policy {
    fn default() -> Self {
        let phone = Limits::PHONE;
        Self {
            limits: phone,
            ceilings: Limits {
                memory_bytes: phone.memory_bytes,
                cpu_per_call: phone.cpu_per_call * 2,
                cpu_per_second: phone.cpu_per_second * 2,
                wall_per_call: phone.wall_per_call * 2,
                message_bytes: phone.message_bytes * 4,
                calls_in_flight: phone.calls_in_flight * 4,
                call_depth: phone.call_depth * 4,
                log_lines_per_second: phone.log_lines_per_second * 4,
            },
            storage_ceiling: 64 << 20,
            files_ceiling: 64 << 20,
            stack_bytes: 512 << 10,
            memory_bytes: 256 << 20,
            instances: 1024,
            compiles: 1,
            component_bytes: mpkg_package::limits::ENTRY,
            suspend_hidden: true,
            grace: Duration::from_secs(2),
            beacon: Duration::from_secs(5),
            rates: BTreeMap::new(),
            rate_ceilings: BTreeMap::new(),
            disk_bytes_per_second: NonZeroU32::MIN.saturating_add((512 << 10) - 1),
            notification_queue: 256,
            prompt_timeout: Duration::from_secs(60),
            network: NetworkPolicy::default(),
            denied_permissions: Vec::new(),
        }
    }
}
