//! A version of an app, ready to be launched: compiled, linked and with its limits worked out.

use std::sync::Arc;

use mpkg_manifest::{Manifest, ScopeValue};
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::broker::Declared;
use crate::data::Installed;
use crate::error::LaunchError;
use crate::guest::Guest;
use crate::link::Registry;
use crate::policy::Policy;

/// One version of one app, shared by its instances.
pub(crate) struct App {
    pub(crate) installed: Installed,
    pub(crate) name: String,
    pub(crate) declared: Arc<[Declared]>,
    pub(crate) memory_cap: u64,
    pub(crate) storage_quota: u64,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) handle: ComponentExportIndex,
}

/// What a manifest declares, in its order.
pub(crate) fn declared(manifest: &Manifest) -> Arc<[Declared]> {
    let scopes = manifest.permissions();
    let declare = |wanted: &mpkg_manifest::PermissionRequest| Declared {
        name: wanted.name.clone(),
        required: !manifest.is_optional(wanted.name.as_str()),
        reason: manifest.reason(wanted.name.as_str()).map(str::to_owned),
        scope: scopes.get(wanted.name.as_str()).cloned().unwrap_or(ScopeValue::None),
    };
    manifest.req_permissions.iter().map(declare).collect()
}

/// The limits of an app: its manifest's wish within the host's policy.
pub(crate) fn limits(manifest: &Manifest, policy: &Policy) -> Result<(u64, u64), LaunchError> {
    let app_id = manifest.app_id.as_str();
    let within = |what, asked: u64, allowed: u64| {
        if asked > allowed {
            return Err(LaunchError::OverPolicy { app_id: app_id.to_owned(), what, asked, allowed });
        }
        Ok(asked)
    };
    let memory = match manifest.mpkg.limits.memory_bytes {
        Some(asked) => within("memory", asked, policy.memory_ceiling)?,
        None => policy.memory_default.min(policy.memory_ceiling),
    };
    let storage = within("storage", manifest.mpkg.storage.quota_bytes, policy.storage_ceiling)?;
    if manifest.permissions().get("files").is_some() {
        within("files", manifest.mpkg.files.quota_bytes, policy.storage_ceiling)?;
    }
    Ok((memory, storage))
}

/// Refuses an app that needs what this host does not have.
pub(crate) fn check_provided(
    app_id: &str,
    declared: &[Declared],
    registry: &Registry,
) -> Result<(), LaunchError> {
    for wanted in declared.iter().filter(|d| d.required) {
        if !registry.provides(wanted.name.as_str()) {
            let (app_id, permission) = (app_id.to_owned(), wanted.name.to_string());
            return Err(LaunchError::NotProvided { app_id, permission });
        }
    }
    Ok(())
}
