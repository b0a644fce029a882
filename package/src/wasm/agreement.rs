//! Imports against declared permissions, in both directions.

use std::collections::BTreeSet;

use mpkg_manifest::Manifest;
use mpkg_manifest::permission;
use thiserror::Error;

use super::ComponentInfo;
use super::imports::ImportKind;

/// A place where component and manifest do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disagreement {
    /// The component imports what the manifest does not declare.
    #[error(
        "the component imports {interface}, but the manifest does not declare the permission {permission}"
    )]
    NotDeclared {
        /// The interface, such as `mpkg:bridge/cart-read@1.0.0`.
        interface: String,
        /// The permission that is missing; `host.*` stands for any of the host's own.
        permission: &'static str,
    },
    /// The manifest declares what the component does not import.
    #[error(
        "the manifest declares the permission {permission}, but the component does not import {interface}"
    )]
    NotImported {
        /// The interface that is missing, such as `mpkg:bridge/cart-read`.
        interface: String,
        /// The declared permission.
        permission: String,
    },
}

impl Disagreement {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotDeclared { .. } => "MPKG-W08",
            Self::NotImported { .. } => "MPKG-W09",
        }
    }
}

/// Everything on which a component and its manifest do not agree. The host's own permissions are compared as one:
/// importing `mpkg:bridge/host` takes at least one `host.<name>`, and the other way round.
pub fn agreement(info: &ComponentInfo, manifest: &Manifest) -> Vec<Disagreement> {
    let permissions = manifest.permissions();
    let declared: Vec<(&str, String)> = permissions
        .names()
        .filter_map(|name| {
            let interface = permission::interface_for(name.as_str())?;
            Some((name.as_str(), interface.to_string()))
        })
        .collect();
    let wanted: BTreeSet<&str> = declared.iter().map(|(_, interface)| interface.as_str()).collect();
    let imported: BTreeSet<&str> = info
        .imports
        .iter()
        .filter(|import| matches!(import.kind, ImportKind::Bridge(_) | ImportKind::Host))
        .map(|import| import.interface())
        .collect();

    let mut found = Vec::new();
    for import in &info.imports {
        if let Some(permission) = import.permission()
            && !wanted.contains(import.interface())
        {
            found.push(Disagreement::NotDeclared { interface: import.name.clone(), permission });
        }
    }
    for (permission, interface) in &declared {
        if !imported.contains(interface.as_str()) {
            let interface = format!("mpkg:bridge/{interface}");
            found.push(Disagreement::NotImported { interface, permission: (*permission).to_owned() });
        }
    }
    found
}
