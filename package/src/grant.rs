//! The permission grant: what the root keys of a publisher let the releases of one app ask for.
//!
//! Release keys live on build machines and get stolen. What such a thief signs stays within the grant, on every
//! device, whether or not it has seen an earlier release.

use std::fmt;

use crate::text::Shown;
use mpkg_manifest::json::{self, JsonError};
use mpkg_manifest::permission::{PermissionName, PermissionSet, ScopeValue};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dsse::{Envelope, EnvelopeError};
use crate::keys::{KeyId, SecretKey};
use crate::limits;
use crate::root::{PublisherId, ROOT_ROLE, RootChain, Tally};

/// The DSSE payload type of a permission grant.
pub const PAYLOAD_TYPE: &str = "application/vnd.mpkg.grant.v1+json";

/// What the releases of an app may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The app.
    pub app_id: String,
    /// Who grants it.
    pub publisher: PublisherId,
    /// A number that grows, so that a host never goes back to a wider grant.
    pub version: u64,
    /// The permissions, with scopes.
    pub permissions: PermissionSet,
}

/// Why a permission grant is refused, or refuses.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GrantError {
    /// Not strict JSON of the right shape.
    #[error("the permission grant is not valid: {0}")]
    Json(#[from] JsonError),
    /// Its envelope or its signatures.
    #[error("the permission grant: {0}")]
    Envelope(#[from] EnvelopeError),
    /// Too long.
    #[error("the permission grant has {size} bytes, the limit is {}", limits::GRANT)]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// Another publisher's.
    #[error("the permission grant is one of publisher {stated}, the package's root is {real}")]
    Publisher {
        /// The one it names.
        stated: PublisherId,
        /// The one whose root it is.
        real: PublisherId,
    },
    /// Another app's.
    #[error("the permission grant is for the app {}, this is {}", Shown(.stated), Shown(.real))]
    App {
        /// The one it names.
        stated: String,
        /// The one that is released.
        real: String,
    },
    /// Too small.
    #[error("the release asks for more than grant version {version} allows: {}", list(.excess))]
    Exceeded {
        /// The grant's version.
        version: u64,
        /// What is not granted, at least one.
        excess: Vec<Excess>,
    },
    /// An older grant than the one that is known.
    #[error("the package comes with grant version {found}, and version {floor} for this app is known")]
    Older {
        /// Its version.
        found: u64,
        /// The version known.
        floor: u64,
    },
    /// None there, and the key cannot make one.
    #[error("no grant lets this app ask for {}, and the signing key alone cannot make one", wanted(.permissions))]
    Missing {
        /// What the release asks for.
        permissions: PermissionSet,
    },
    /// A signer who is not asked.
    #[error("key {key} is not a root key of this publisher, so it cannot grant permissions")]
    NotARootKey {
        /// Its id.
        key: KeyId,
    },
}

impl GrantError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::Envelope(error) => error.code(),
            Self::TooLarge { .. } => "MPKG-G01",
            Self::Publisher { .. } => "MPKG-G02",
            Self::App { .. } => "MPKG-G03",
            Self::Exceeded { .. } => "MPKG-G04",
            Self::Older { .. } => "MPKG-G05",
            Self::Missing { .. } => "MPKG-G06",
            Self::NotARootKey { .. } => "MPKG-G07",
        }
    }
}

/// A permission that reaches further than its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The permission.
    pub name: PermissionName,
    /// What is not granted of it; of hosts, only those that no granted pattern covers.
    pub scope: ScopeValue,
    /// What is granted of it.
    pub granted: Option<ScopeValue>,
}

impl Excess {
    /// Everything in `wanted` that `granted` does not allow.
    pub fn of(wanted: &PermissionSet, granted: &PermissionSet) -> Vec<Self> {
        let beyond = wanted.iter().filter_map(|(name, scope)| {
            let limit = granted.get(name.as_str());
            let scope = match (scope, limit) {
                (scope, Some(limit)) if scope.is_within(limit) => return None,
                (ScopeValue::Hosts(hosts), Some(ScopeValue::Hosts(limit))) => {
                    let covered = |host| limit.iter().any(|pattern| pattern.covers(host));
                    ScopeValue::Hosts(hosts.iter().filter(|host| !covered(host)).cloned().collect())
                }
                (scope, _) => scope.clone(),
            };
            Some(Self { name: name.clone(), scope, granted: limit.cloned() })
        });
        beyond.collect()
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Permission(&self.name, &self.scope))?;
        match &self.granted {
            Some(ScopeValue::QuotaBytes(bytes)) => write!(f, " (granted: {bytes})"),
            _ => Ok(()),
        }
    }
}

struct Permission<'a>(&'a PermissionName, &'a ScopeValue);

impl fmt::Display for Permission<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            ScopeValue::None => write!(f, "{}", self.0),
            ScopeValue::QuotaBytes(bytes) => write!(f, "{} of {bytes} bytes", self.0),
            ScopeValue::Hosts(hosts) => {
                let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
                write!(f, "{} to {}", self.0, hosts.join(" and "))
            }
        }
    }
}

fn list(excess: &[Excess]) -> String {
    excess.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn wanted(permissions: &PermissionSet) -> String {
    if permissions.is_empty() {
        return "nothing".to_owned();
    }
    permissions.iter().map(|(name, scope)| Permission(name, scope).to_string()).collect::<Vec<_>>().join(", ")
}

impl Grant {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, integers and maps with string keys always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a grant.
    pub fn parse(bytes: &[u8]) -> Result<Self, GrantError> {
        if bytes.len() > limits::GRANT {
            return Err(GrantError::TooLarge { size: bytes.len() });
        }
        Ok(json::read(bytes, json::Limits::bytes(limits::GRANT))?)
    }

    /// Refuses a release of another app, or one that asks for more.
    pub fn check(&self, app_id: &str, permissions: &PermissionSet) -> Result<(), GrantError> {
        if self.app_id != app_id {
            return Err(GrantError::App { stated: self.app_id.clone(), real: app_id.to_owned() });
        }
        let excess = Excess::of(permissions, &self.permissions);
        if !excess.is_empty() {
            return Err(GrantError::Exceeded { version: self.version, excess });
        }
        Ok(())
    }
}

/// A grant and the signatures collected so far. As a file it is its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedGrant {
    grant: Grant,
    envelope: Envelope,
}

impl SignedGrant {
    /// A grant that nobody has signed.
    pub fn new(grant: Grant) -> Result<Self, GrantError> {
        let payload = grant.to_bytes();
        Grant::parse(&payload)?;
        Ok(Self { grant, envelope: Envelope::new(PAYLOAD_TYPE, payload) })
    }

    /// Reads an envelope. What it says counts once [`Self::verify`] has checked it.
    pub fn parse(bytes: &[u8]) -> Result<Self, GrantError> {
        let envelope = Envelope::parse(bytes, PAYLOAD_TYPE)?;
        Ok(Self { grant: Grant::parse(&envelope.payload)?, envelope })
    }

    /// The envelope's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.envelope.to_bytes()
    }

    /// What it says.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Adds a root key's signature.
    pub fn sign(&mut self, key: &SecretKey, roots: &RootChain) -> Result<Tally, GrantError> {
        self.check_publisher(roots)?;
        let (keys, _) = roots.last().role(ROOT_ROLE);
        let id = key.public().id();
        if !keys.contains_key(&id) {
            return Err(GrantError::NotARootKey { key: id });
        }
        // Those of keys that have left the role would have every reader refuse the others too.
        self.envelope.signatures.retain(|signature| keys.contains_key(&signature.key));
        self.envelope.sign(key);
        self.tally(roots)
    }

    /// Who has signed, and how many it takes.
    pub fn tally(&self, roots: &RootChain) -> Result<Tally, GrantError> {
        self.check_publisher(roots)?;
        let (keys, _) = roots.last().role(ROOT_ROLE);
        let signers = self.envelope.signers(&keys)?;
        Ok(Tally::of(roots.last(), &signers))
    }

    /// The grant, if enough root keys of the newest root signed it.
    pub fn verify(&self, roots: &RootChain) -> Result<&Grant, GrantError> {
        let (keys, threshold) = roots.last().role(ROOT_ROLE);
        self.envelope.verify(&keys, threshold)?;
        self.check_publisher(roots)?;
        Ok(&self.grant)
    }

    fn check_publisher(&self, roots: &RootChain) -> Result<(), GrantError> {
        let (stated, real) = (self.grant.publisher, roots.publisher());
        if stated == real { Ok(()) } else { Err(GrantError::Publisher { stated, real }) }
    }
}
