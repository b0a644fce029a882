//! A version of an app, ready to be launched: compiled, linked and with its limits worked out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mpkg_manifest::{Manifest, ScopeValue};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::broker::Declared;
use crate::data::Installed;
use crate::error::LaunchError;
use crate::guest::Guest;
use crate::limits::Limits;
use crate::link::{Endpoints, Registry};
use crate::rates::Limited;

/// One version of one app, shared by its instances.
pub(crate) struct App {
    pub(crate) installed: Arc<Installed>,
    pub(crate) name: String,
    pub(crate) declared: Arc<[Declared]>,
    pub(crate) limits: Limits,
    pub(crate) rates: Limited,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) storage_quota: u64,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) handle: ComponentExportIndex,
    /// Whether this is the best code there will be.
    pub(crate) optimized: bool,
    /// What its memories begin with, in bytes, or the most that they were seen to have once it had started.
    pub(crate) declared_memory: AtomicU64,
    /// The most that starting it was seen to take, in bytes; 0 if that was never measured.
    pub(crate) footprint: AtomicU64,
    pub(crate) launches: AtomicU64,
}

impl App {
    /// Measuring takes longer than starting a small app does, so it is done for the first few and then now and again.
    pub(crate) fn is_to_be_measured(&self) -> bool {
        let before = self.launches.fetch_add(1, Ordering::Relaxed);
        before < 3 || before.is_power_of_two()
    }
}

/// What a manifest declares, in its order.
pub(crate) fn declared(manifest: &Manifest) -> Arc<[Declared]> {
    let scopes = manifest.permissions();
    let declare = |wanted: &mpkg_manifest::PermissionRequest| Declared {
        name: wanted.name.clone(),
        required: !manifest.is_optional(wanted.name.as_str()),
        reasons: manifest.reasons(wanted.name.as_str()),
        scope: scopes.get(wanted.name.as_str()).cloned().unwrap_or(ScopeValue::None),
    };
    manifest.req_permissions.iter().map(declare).collect()
}

/// Refuses an app that needs what this host does not have.
pub(crate) fn check_provided(manifest: &Manifest, registry: &Registry) -> Result<(), LaunchError> {
    for wanted in declared(manifest).iter().filter(|d| d.required) {
        if !registry.provides(wanted.name.as_str()) {
            let (app_id, permission) = (manifest.app_id.to_string(), wanted.name.to_string());
            return Err(LaunchError::NotProvided { app_id, permission });
        }
    }
    Ok(())
}
