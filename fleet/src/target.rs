//! Who can get a release at all, before the percentage counts.

use std::collections::BTreeSet;

use mpkg_package::Hash;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::bucket::cbor;
use crate::document::DocumentError;
use crate::limits;
use crate::types::{Token, VersionRange};

/// A host and its user, as the host knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// What buckets are computed from: a device or a user, the same one for as long as possible.
    pub unit: String,
    /// The platform, such as `android`.
    pub platform: Token,
    /// The host's version.
    pub host_version: Version,
    /// The region, such as `de`; unknown is in no region.
    #[serde(default)]
    pub region: Option<Token>,
    /// The segments that the user is in.
    #[serde(default)]
    pub segments: BTreeSet<Token>,
}

/// Who can get a release. An empty list leaves nobody out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Targeting {
    /// Platforms that the release is for.
    #[serde(default)]
    pub platforms: BTreeSet<Token>,
    /// Regions.
    #[serde(default)]
    pub regions: BTreeSet<Token>,
    /// Versions of the host that it runs on.
    #[serde(default)]
    pub host_versions: VersionRange,
    /// Segments, one of which is enough.
    #[serde(default)]
    pub segments: BTreeSet<Token>,
    /// Units that get it first, whatever their region, segment and bucket: [`allow_hash`] of each. Platform and host
    /// version still count: the release may not run there.
    #[serde(default)]
    pub allow: BTreeSet<Hash>,
}

/// What left somebody out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// The platform.
    Platform,
    /// The host's version.
    HostVersion,
    /// The region.
    Region,
    /// The segment.
    Segment,
}

/// What targeting says about somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targeted {
    /// On the allow list.
    Allowed,
    /// In, if the bucket is.
    Eligible,
    /// Out, because of this.
    Out(Attribute),
}

/// What stands for a unit in an allow list: SHA-256 of the CBOR of `[salt, unit]`. A state document is public, and
/// names of devices and users are not. It hides a name only from those who cannot guess it.
pub fn allow_hash(salt: &str, unit: &str) -> Hash {
    Hash::of(&cbor(salt, unit))
}

impl Targeting {
    /// What it says about somebody.
    pub fn of(&self, salt: &str, context: &Context) -> Targeted {
        let listed = |list: &BTreeSet<Token>, name: Option<&Token>| {
            list.is_empty() || name.is_some_and(|name| list.contains(name))
        };
        if !listed(&self.platforms, Some(&context.platform)) {
            return Targeted::Out(Attribute::Platform);
        }
        if !self.host_versions.contains(&context.host_version) {
            return Targeted::Out(Attribute::HostVersion);
        }
        if !self.allow.is_empty() && self.allow.contains(&allow_hash(salt, &context.unit)) {
            return Targeted::Allowed;
        }
        if !listed(&self.regions, context.region.as_ref()) {
            return Targeted::Out(Attribute::Region);
        }
        if !self.segments.is_empty() && self.segments.is_disjoint(&context.segments) {
            return Targeted::Out(Attribute::Segment);
        }
        Targeted::Eligible
    }

    /// Refuses what leaves too little room for stops in the app's state, before a rollout is made of it.
    ///
    /// ```
    /// use mpkg_fleet::{Targeting, limits};
    /// let mut targeting = Targeting::default();
    /// targeting.check_draft().unwrap();
    /// targeting.allow = (0..400_u32).map(|n| mpkg_package::Hash::of(&n.to_be_bytes())).collect();
    /// assert!(targeting.check_draft().unwrap_err().to_string().contains(&limits::TARGETING.to_string()));
    /// ```
    pub fn check_draft(&self) -> Result<(), DocumentError> {
        self.check()?;
        // Strings, lists and sets of strings always serialize.
        let size = serde_json::to_vec(self).unwrap_or_default().len();
        let (name, limit) = ("targeting of a rollout", limits::TARGETING);
        if size > limit { Err(DocumentError::TooLarge { name, size, limit }) } else { Ok(()) }
    }

    pub(crate) fn check(&self) -> Result<(), DocumentError> {
        let lists = [
            ("platforms", self.platforms.len(), limits::NAMES),
            ("regions", self.regions.len(), limits::NAMES),
            ("segments", self.segments.len(), limits::NAMES),
            ("units on the allow list", self.allow.len(), limits::ALLOWED),
        ];
        match lists.into_iter().find(|(_, found, limit)| found > limit) {
            Some((what, found, limit)) => Err(DocumentError::TooMany { what, found, limit }),
            None => Ok(()),
        }
    }
}
