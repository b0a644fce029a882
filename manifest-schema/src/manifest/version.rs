//! Versions of the app and of the platform.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Extra;

/// Longest version name, in bytes.
pub const MAX_VERSION_NAME_BYTES: usize = 64;

/// Version of a release of the app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// The release sequence: it grows strictly from release to release, and is what protects against
    /// rollback.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64), example = 11)]
    pub code: u64,
    /// The version for people, as Semantic Versioning writes it.
    #[serde(deserialize_with = "version_name")]
    #[schemars(
        with = "String",
        length(max = MAX_VERSION_NAME_BYTES),
        regex(pattern = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"),
        example = &"1.0.1"
    )]
    pub name: semver::Version,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Versions of the hosting platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformVersion {
    /// The oldest platform version that the app works on.
    #[schemars(range(max = 9_007_199_254_740_991_u64), example = 1)]
    pub min_code: u64,
    /// The platform version that the app was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_007_199_254_740_991_u64), example = 2)]
    pub target_code: Option<u64>,
    /// Kind of platform release that the app needs, in the platform's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Release")]
    pub release_type: Option<crate::text::Text<64>>,
    /// Other vendors' members, kept as they are.
    #[serde(flatten)]
    pub extra: Extra,
}

/// Why a text is no version name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionNameError {
    /// Too many bytes.
    #[error("the version name has {length} bytes, more than {MAX_VERSION_NAME_BYTES}")]
    TooLong {
        /// Bytes in the text.
        length: usize,
    },
    /// Not `MAJOR.MINOR.PATCH` and what may follow.
    #[error("{} is not a semantic version: {reason}", crate::problem::quote(name))]
    NotSemVer {
        /// The text.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl VersionNameError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::VERSION_NAME
    }
}

/// Reads a version name.
///
/// ```
/// use mpkg_manifest::check_version_name;
/// assert_eq!(check_version_name("1.2.3-beta.1").unwrap().minor, 2);
/// assert!(check_version_name("1.2").is_err());
/// assert!(check_version_name("v1.2.3").is_err());
/// ```
///
/// # Errors
/// Says what is wrong with it.
pub fn check_version_name(name: &str) -> Result<semver::Version, VersionNameError> {
    if name.len() > MAX_VERSION_NAME_BYTES {
        return Err(VersionNameError::TooLong { length: name.len() });
    }
    semver::Version::parse(name).map_err(|error| VersionNameError::NotSemVer {
        name: name.to_owned(),
        reason: error.to_string().escape_debug().to_string(),
    })
}

fn version_name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<semver::Version, D::Error> {
    check_version_name(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
