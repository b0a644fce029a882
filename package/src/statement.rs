//! The release statement: what a publisher signs.

use crate::text::Shown;
use mpkg_manifest::Manifest;
use mpkg_manifest::json::{self, JsonError};
use mpkg_manifest::permission::PermissionSet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Digest;
use crate::limits;
use crate::root::PublisherId;
use crate::time::Time;

/// The DSSE payload type of a release statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.mpkg.release.v1+json";

/// What a publisher says about one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseStatement {
    /// The app, as in the manifest.
    pub app_id: String,
    /// Who releases it.
    pub publisher: PublisherId,
    /// The version for people, as in the manifest.
    pub version: String,
    /// The version that grows with each release: the manifest's `version.code`.
    pub release_seq: u64,
    /// The unsigned package.
    pub package: Digest,
    /// `manifest.json`.
    pub manifest: Digest,
    /// What the app may ask for, with scopes.
    pub permissions: PermissionSet,
    /// The bridge's major version.
    pub abi: u32,
    /// The version of the publisher root whose keys signed.
    pub root_version: u32,
    /// When the statement was made.
    pub created: Time,
}

/// Why a release statement is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum StatementError {
    /// Not strict JSON of the right shape.
    #[error("the release statement is not valid: {0}")]
    Json(#[from] JsonError),
    /// Too long.
    #[error("the release statement has {size} bytes, the limit is {}", limits::STATEMENT)]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// It names another publisher.
    #[error("the release statement names publisher {stated}, the package's root is {real}")]
    Publisher {
        /// The one it names.
        stated: PublisherId,
        /// The one whose root it is.
        real: PublisherId,
    },
    /// It was made under a root that is not in the chain.
    #[error("the release statement was made under root version {stated}, the package carries up to {real}")]
    RootVersion {
        /// What it says.
        stated: u32,
        /// The chain's last version.
        real: u32,
    },
    /// It is about another package.
    #[error("the release statement is about {stated}, this package is {real}")]
    Package {
        /// The package it is about.
        stated: Digest,
        /// This package.
        real: Digest,
    },
    /// It is about another manifest.
    #[error("the release statement is about a manifest of {stated}, the package has {real}")]
    Manifest {
        /// The manifest it is about.
        stated: Digest,
        /// The manifest that is there.
        real: Digest,
    },
    /// A member says something other than the manifest.
    #[error("the release statement's {member} is {}, the manifest says {}", Shown(.stated), Shown(.manifest))]
    Disagrees {
        /// The member.
        member: Member,
        /// What it says.
        stated: String,
        /// What the manifest says.
        manifest: String,
    },
}

/// Members that repeat the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// `app_id`
    AppId,
    /// `version`
    Version,
    /// `release_seq`
    ReleaseSeq,
    /// `permissions`
    Permissions,
    /// `abi`
    Abi,
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AppId => "app_id",
            Self::Version => "version",
            Self::ReleaseSeq => "release_seq",
            Self::Permissions => "permissions",
            Self::Abi => "abi",
        })
    }
}

impl StatementError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Json(error) => error.code(),
            Self::TooLarge { .. } => "MPKG-S08",
            Self::Publisher { .. } => "MPKG-S09",
            Self::RootVersion { .. } => "MPKG-S10",
            Self::Package { .. } => "MPKG-S11",
            Self::Manifest { .. } => "MPKG-S12",
            Self::Disagrees { member, .. } => match member {
                Member::AppId => "MPKG-S13",
                Member::Version => "MPKG-S14",
                Member::ReleaseSeq => "MPKG-S15",
                Member::Permissions => "MPKG-S16",
                Member::Abi => "MPKG-S17",
            },
        }
    }
}

impl ReleaseStatement {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, integers and maps with string keys always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a statement. Check signatures of the bytes first: they vouch for bytes, not for members.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > limits::STATEMENT {
            return Err(StatementError::TooLarge { size: bytes.len() });
        }
        Ok(json::read(bytes, json::Limits::bytes(limits::STATEMENT))?)
    }

    /// Refuses a statement that says anything else than the manifest: whoever reads the one must not be misled
    /// about the other.
    pub fn check_manifest(&self, manifest: &Manifest) -> Result<(), StatementError> {
        let theirs = Repeated::of(manifest);
        let pairs = [
            (Member::AppId, &self.app_id, &theirs.app_id),
            (Member::Version, &self.version, &theirs.version),
            (Member::ReleaseSeq, &self.release_seq.to_string(), &theirs.release_seq.to_string()),
            (Member::Permissions, &canonical(&self.permissions), &canonical(&theirs.permissions)),
            (Member::Abi, &self.abi.to_string(), &theirs.abi.to_string()),
        ];
        for (member, stated, manifest) in pairs {
            if stated != manifest {
                let (stated, manifest) = (stated.clone(), manifest.clone());
                return Err(StatementError::Disagrees { member, stated, manifest });
            }
        }
        Ok(())
    }
}

fn canonical(permissions: &PermissionSet) -> String {
    serde_json::to_string(permissions).unwrap_or_default()
}

/// The parts of a manifest that a statement repeats.
pub(crate) struct Repeated {
    pub app_id: String,
    pub version: String,
    pub release_seq: u64,
    pub permissions: PermissionSet,
    pub abi: u32,
}

impl Repeated {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            app_id: manifest.app_id.to_string(),
            version: manifest.version.name.to_string(),
            release_seq: manifest.version.code,
            permissions: manifest.permissions(),
            abi: manifest.mpkg.abi,
        }
    }
}
