//! A set of permissions with their scopes: what a release statement signs and a grant limits.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PermissionName, Scope};
use crate::host_pattern::HostPattern;
use crate::json::MAX_SAFE_INTEGER;

/// How far a permission reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeValue {
    /// Not narrowed down. In JSON `{}`.
    None,
    /// These hosts, sorted, each once, at least one. In JSON `{"hosts": […]}`.
    Hosts(Vec<HostPattern>),
    /// At most this many bytes. In JSON `{"quota_bytes": …}`.
    QuotaBytes(u64),
}

/// Permissions with their scopes, in the order of their names. Serializes to canonical JSON: one text for one
/// set.
///
/// ```
/// use mpkg_manifest::{PermissionSet, ScopeValue};
/// let mut set = PermissionSet::default();
/// set.insert("storage".parse().unwrap(), ScopeValue::QuotaBytes(4096)).unwrap();
/// set.insert("cart.read".parse().unwrap(), ScopeValue::None).unwrap();
/// let text = serde_json::to_string(&set).unwrap();
/// assert_eq!(text, r#"{"cart.read":{},"storage":{"quota_bytes":4096}}"#);
/// assert_eq!(serde_json::from_str::<PermissionSet>(&text).unwrap(), set);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermissionSet(BTreeMap<PermissionName, ScopeValue>);

/// Why a scope cannot go with a permission.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Hosts for `storage`, nothing for `network`.
    #[error("the permission `{name}` takes {expected} as its scope")]
    WrongKind {
        /// The permission.
        name: PermissionName,
        /// What it takes.
        expected: &'static str,
    },
    /// No hosts, or hosts not in ascending order, or one twice.
    #[error("the hosts of the permission `{name}` are not a sorted list of different hosts")]
    Unsorted {
        /// The permission.
        name: PermissionName,
    },
    /// A quota that is no safe integer.
    #[error("the quota {bytes} of the permission `{name}` is greater than 9007199254740991")]
    QuotaRange {
        /// The permission.
        name: PermissionName,
        /// The quota.
        bytes: u64,
    },
}

impl ScopeError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::SCOPE
    }
}

impl ScopeValue {
    /// Whether everything that this scope allows is allowed by `other`.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::QuotaBytes(mine), Self::QuotaBytes(theirs)) => mine <= theirs,
            (Self::Hosts(mine), Self::Hosts(theirs)) => {
                mine.iter().all(|host| theirs.iter().any(|pattern| pattern.covers(host)))
            }
            (Self::None | Self::Hosts(_) | Self::QuotaBytes(_), _) => false,
        }
    }
}

impl PermissionSet {
    /// Adds a permission, or replaces its scope.
    ///
    /// # Errors
    /// When the scope is not of the kind that the permission takes, or not canonical.
    pub fn insert(&mut self, name: PermissionName, scope: ScopeValue) -> Result<(), ScopeError> {
        let expected = match (name.describe().scope, &scope) {
            (Scope::None, ScopeValue::None)
            | (Scope::Hosts, ScopeValue::Hosts(_))
            | (Scope::Quota, ScopeValue::QuotaBytes(_)) => None,
            (Scope::None, _) => Some("nothing"),
            (Scope::Hosts, _) => Some("a list of hosts"),
            (Scope::Quota, _) => Some("a number of bytes"),
        };
        if let Some(expected) = expected {
            return Err(ScopeError::WrongKind { name, expected });
        }
        match &scope {
            ScopeValue::Hosts(hosts) if hosts.is_empty() || !hosts.is_sorted_by(|a, b| a < b) => {
                return Err(ScopeError::Unsorted { name });
            }
            ScopeValue::QuotaBytes(bytes) if *bytes > MAX_SAFE_INTEGER.unsigned_abs() => {
                return Err(ScopeError::QuotaRange { name, bytes: *bytes });
            }
            _ => {}
        }
        self.0.insert(name, scope);
        Ok(())
    }

    /// The scope of a permission, if the set has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ScopeValue> {
        self.0.get(name)
    }

    /// Whether the set has a permission.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Permissions and scopes, in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&PermissionName, &ScopeValue)> {
        self.0.iter()
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &PermissionName> {
        self.0.keys()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` allows everything that this set allows, scopes included.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.iter().all(|(name, scope)| other.0.get(name).is_some_and(|limit| scope.is_within(limit)))
    }
}

/// A scope as it stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hosts: Option<Vec<HostPattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota_bytes: Option<u64>,
}

impl Serialize for ScopeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (hosts, quota_bytes) = match self {
            Self::None => (None, None),
            Self::Hosts(hosts) => (Some(hosts.clone()), None),
            Self::QuotaBytes(bytes) => (None, Some(*bytes)),
        };
        ScopeJson { hosts, quota_bytes }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ScopeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ScopeJson::deserialize(deserializer)? {
            ScopeJson { hosts: None, quota_bytes: None } => Ok(Self::None),
            ScopeJson { hosts: Some(hosts), quota_bytes: None } => Ok(Self::Hosts(hosts)),
            ScopeJson { hosts: None, quota_bytes: Some(bytes) } => Ok(Self::QuotaBytes(bytes)),
            ScopeJson { hosts: Some(_), quota_bytes: Some(_) } => {
                Err(serde::de::Error::custom("a scope has hosts or a quota, not both"))
            }
        }
    }
}

impl Serialize for PermissionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PermissionSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = PermissionSet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of permissions")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<PermissionSet, A::Error> {
                let mut set = PermissionSet::default();
                while let Some((name, scope)) = map.next_entry::<PermissionName, ScopeValue>()? {
                    if set.contains(&name) {
                        return Err(serde::de::Error::custom(format_args!("`{name}` is given twice")));
                    }
                    set.insert(name, scope).map_err(serde::de::Error::custom)?;
                }
                Ok(set)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

impl<'a> IntoIterator for &'a PermissionSet {
    type Item = (&'a PermissionName, &'a ScopeValue);
    type IntoIter = std::collections::btree_map::Iter<'a, PermissionName, ScopeValue>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::PermissionSet;

    fn set(text: &str) -> PermissionSet {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn subsets_look_at_scopes() {
        let grant = set(
            r#"{"cart.read":{},"network":{"hosts":["*.example.com","a.org"]},"storage":{"quota_bytes":9}}"#,
        );
        for inside in [
            "{}",
            r#"{"cart.read":{}}"#,
            r#"{"network":{"hosts":["*.x.example.com","a.org"]}}"#,
            r#"{"storage":{"quota_bytes":9}}"#,
        ] {
            assert!(set(inside).is_subset_of(&grant), "{inside}");
        }
        for outside in [
            r#"{"cart.write":{}}"#,
            r#"{"network":{"hosts":["example.com"]}}"#,
            r#"{"network":{"hosts":["*.other.org"]}}"#,
            r#"{"storage":{"quota_bytes":10}}"#,
        ] {
            assert!(!set(outside).is_subset_of(&grant), "{outside}");
        }
    }

    #[test]
    fn one_text_for_one_set() {
        for bad in [
            r#"{"network":{}}"#,
            r#"{"network":{"hosts":[]}}"#,
            r#"{"network":{"hosts":["b.org","a.org"]}}"#,
            r#"{"network":{"hosts":["a.org","a.org"]}}"#,
            r#"{"cart.read":{"quota_bytes":1}}"#,
            r#"{"cart.read":{"x":1}}"#,
            r#"{"cart.read":{},"cart.read":{}}"#,
            r#"{"storage":{"quota_bytes":9007199254740992}}"#,
            r#"{"log":{}}"#,
        ] {
            assert!(serde_json::from_str::<PermissionSet>(bad).is_err(), "{bad}");
        }
    }
}
