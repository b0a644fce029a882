//! Names of permissions that a manifest can ask for.

use serde::{Deserialize, Serialize};

use super::host::{RESERVED_NAMESPACES, is_host_permission, is_service_shape};
use super::{Description, Spec, VOCABULARY, by_name, describe, interface_for};
use crate::strings::checked_string;
use crate::suggest::suggest;

/// The name of a permission that an app can ask for: one of the vocabulary that is not free, or
/// `host.<service>`.
///
/// ```
/// use mpkg_manifest::PermissionName;
/// assert!("cart.read".parse::<PermissionName>().is_ok());
/// assert!("host.loyalty".parse::<PermissionName>().is_ok());
/// let typo = "cart.raed".parse::<PermissionName>().unwrap_err();
/// assert_eq!(typo.suggestion(), Some("cart.read"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PermissionName(String);

/// Why a text names no permission that an app can ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermissionNameError {
    /// Not in the vocabulary.
    #[error("there is no permission {}", crate::problem::quote(name))]
    Unknown {
        /// The name.
        name: String,
        /// The nearest one that there is.
        suggestion: Option<&'static str>,
    },
    /// `log`, `clock`, `random`, `timers`.
    #[error("`{name}` needs no permission: every app has it")]
    Free {
        /// The name.
        name: &'static str,
    },
    /// `host.` and something that is not `[a-z][a-z0-9-]*`.
    #[error(
        "{} does not name a host's service: `host.` and a-z followed by a-z, 0-9 or `-`",
        crate::problem::quote(name)
    )]
    BadHostName {
        /// The name.
        name: String,
    },
    /// `host.cart`
    #[error("{} takes a name that belongs to built-in methods", crate::problem::quote(name))]
    Reserved {
        /// The name.
        name: String,
    },
}

impl PermissionNameError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } | Self::BadHostName { .. } => crate::codes::UNKNOWN_PERMISSION,
            Self::Reserved { .. } => crate::codes::RESERVED_HOST_NAME,
            Self::Free { .. } => crate::codes::FREE_PERMISSION,
        }
    }

    /// The nearest name that there is.
    #[must_use]
    pub fn suggestion(&self) -> Option<&'static str> {
        if let Self::Unknown { suggestion, .. } = self { *suggestion } else { None }
    }
}

impl PermissionName {
    /// Its row of the vocabulary; `None` for a host's own.
    #[must_use]
    pub fn spec(&self) -> Option<&'static Spec> {
        by_name(&self.0)
    }

    /// The WIT interface that carries its methods.
    #[must_use]
    pub fn interface(&self) -> &'static str {
        // A name of this type is one of the two.
        interface_for(&self.0).unwrap_or(super::HOST_INTERFACE)
    }

    /// What it means.
    #[must_use]
    pub fn describe(&self) -> Description {
        describe(&self.0).unwrap_or(Description {
            sentence: "use a service of the app that hosts it".into(),
            risk: super::Risk::High,
            scope: super::Scope::None,
        })
    }
}

fn check(name: &str) -> Result<(), PermissionNameError> {
    if let Some(spec) = by_name(name) {
        return if spec.free { Err(PermissionNameError::Free { name: spec.name }) } else { Ok(()) };
    }
    if is_host_permission(name) {
        return Ok(());
    }
    let name = name.to_owned();
    if let Some(service) = name.strip_prefix("host.") {
        return if is_service_shape(service) && RESERVED_NAMESPACES.contains(&service) {
            Err(PermissionNameError::Reserved { name })
        } else {
            Err(PermissionNameError::BadHostName { name })
        };
    }
    let suggestion = nearest(&name);
    Err(PermissionNameError::Unknown { name, suggestion })
}

fn nearest(name: &str) -> Option<&'static str> {
    let askable = || VOCABULARY.iter().filter(|spec| !spec.free);
    // Someone who writes a method means the permission that it is under, and `location` means
    // `device.location`.
    askable()
        .find(|spec| spec.methods.contains(&name))
        .map(|spec| spec.name)
        .or_else(|| suggest(name, askable().map(|spec| spec.name)))
        .or_else(|| {
            let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
            askable().map(|spec| spec.name).find(|known| known.split('.').any(|part| part == last))
        })
}

checked_string!(PermissionName, PermissionNameError, check, {
    "description": "A permission of the vocabulary, or `host.<service>` for one of the hosting app's own.",
    "anyOf": [
        { "enum": VOCABULARY.iter().filter(|spec| !spec.free).map(|spec| spec.name).collect::<Vec<_>>() },
        { "type": "string", "pattern": "^host\\.[a-z][a-z0-9-]*$" }
    ]
});

#[cfg(test)]
mod tests {
    use super::{PermissionName, PermissionNameError};

    #[test]
    fn suggestions_read_minds() {
        let suggestion = |name: &str| name.parse::<PermissionName>().unwrap_err().suggestion();
        assert_eq!(suggestion("cart.checkout"), Some("cart.write"));
        assert_eq!(suggestion("location"), Some("device.location"));
        assert_eq!(suggestion("system.permission.LOCATION"), Some("device.location"));
        assert_eq!(suggestion("cart-read"), Some("cart.read"));
        assert_eq!(suggestion("notification"), Some("notifications"));
        assert_eq!(suggestion("telepathy"), None);
    }

    #[test]
    fn free_reserved_and_malformed() {
        let check = |name: &str| name.parse::<PermissionName>().unwrap_err();
        assert_eq!(check("log"), PermissionNameError::Free { name: "log" });
        assert!(matches!(check("host.cart"), PermissionNameError::Reserved { .. }));
        for bad in
            ["host.", "host.Loyalty", "host.1", "host.a.b", "host.a_b", &format!("host.{}", "a".repeat(64))]
        {
            assert!(matches!(check(bad), PermissionNameError::BadHostName { .. }), "{bad}");
        }
    }
}
