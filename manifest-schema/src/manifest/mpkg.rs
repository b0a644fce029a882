//! The vendor member `mpkg`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Language;
use crate::host_pattern::HostPattern;
use crate::path::PackagePath;
use crate::permission::PermissionName;
use crate::text::Text;

/// The one version of the interface between app and host that there is.
pub const ABI: u32 = 1;
/// Bytes in a page of WebAssembly memory.
pub const WASM_PAGE_BYTES: u64 = 65_536;
/// The most memory an app can ask for: one page less than a 32-bit memory can address, so that the number of
/// bytes itself fits 32 bits everywhere.
pub const MAX_MEMORY_BYTES: u64 = 65_535 * WASM_PAGE_BYTES;
/// Storage and files quota of an app that does not say.
pub const DEFAULT_QUOTA_BYTES: u64 = 1024 * 1024;
/// The most storage, and the most files, an app can ask for.
pub const MAX_QUOTA_BYTES: u64 = 64 * 1024 * 1024;
/// The highest storage schema.
pub const MAX_STORAGE_SCHEMA: u32 = 1_000_000;

/// The longest time an app can ask for, in milliseconds: ten minutes.
pub const MAX_LIMIT_MS: u32 = 600_000;
/// The most methods an app can ask for a rate of.
pub const MAX_RATES: usize = 64;
/// The most calls of a method in a second that an app can ask for.
pub const MAX_CALLS_PER_SECOND: u32 = 10_000;
/// The longest message an app can ask for, in bytes.
pub const MAX_MESSAGE_BYTES: u32 = 16 * 1024 * 1024;

/// What mpkg needs beyond W3C. Members that it does not know are refused: a limit that is silently not
/// applied because of a typing error is worse than none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mpkg {
    /// The WebAssembly component in the package.
    #[schemars(example = &"app.wasm")]
    pub component: PackagePath,
    /// Version of the interface between app and host.
    #[schemars(range(min = 1, max = 1), example = 1)]
    pub abi: u32,
    /// Scope of the permission `network`, which needs it.
    #[serde(default, skip_serializing_if = "Network::is_default")]
    #[schemars(example = serde_json::json!({ "allow": ["api.example.com"] }))]
    pub network: Network,
    /// Scope of the permission `storage`.
    #[serde(default, skip_serializing_if = "Storage::is_default")]
    #[schemars(example = serde_json::json!({ "quota_bytes": 1_048_576 }))]
    pub storage: Storage,
    /// Scope of the permission `files`.
    #[serde(default, skip_serializing_if = "Files::is_default")]
    #[schemars(example = serde_json::json!({ "quota_bytes": 4_194_304 }))]
    pub files: Files,
    /// What the app needs in place of the host's defaults; a host refuses to launch an app that asks for more than it
    /// allows.
    #[serde(default, skip_serializing_if = "Limits::is_default")]
    #[schemars(example = serde_json::json!({ "memory_bytes": 16_777_216 }))]
    pub limits: Limits,
    /// Those of `req_permissions` that the app can do without: they are asked for at first use, not before
    /// launch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        extend("uniqueItems" = true),
        example = serde_json::json!(["device.location"])
    )]
    pub optional_permissions: Vec<PermissionName>,
    /// The reasons of `req_permissions` in further languages: language tag, permission, reason. Who is asked reads
    /// the one whose language is nearest to their own, else the `reason` itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 64),
        example = serde_json::json!({ "de": { "device.location": "Um Läden in der Nähe zu zeigen" } })
    )]
    pub reasons: BTreeMap<Language, BTreeMap<PermissionName, Text<200>>>,
}

/// Scope of the permission `network`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Hosts that the app may talk to, each once.
    #[schemars(
        length(max = 64),
        extend("uniqueItems" = true),
        example = serde_json::json!(["api.example.com", "*.cdn.example.com"])
    )]
    pub allow: Vec<HostPattern>,
}

/// Scope of the permission `storage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Bytes that keys and values may take together, for each user.
    #[schemars(range(min = 1, max = MAX_QUOTA_BYTES), example = 1_048_576)]
    pub quota_bytes: u64,
    /// Which form the stored pairs have, from 1. Where a release with another number takes an app's place, the host keeps
    /// the pairs as they were, and gives them back when it goes back to a release with the old number.
    #[serde(skip_serializing_if = "is_first")]
    #[schemars(range(min = 1, max = MAX_STORAGE_SCHEMA), example = 2)]
    pub schema: u32,
}

/// Scope of the permission `files`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// Bytes that the files may take together, for each user.
    #[schemars(range(min = 1, max = MAX_QUOTA_BYTES), example = 4_194_304)]
    pub quota_bytes: u64,
}

/// What the app needs in place of the host's defaults; a host refuses to launch an app that asks for more than it
/// allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of memory that the app may take, a whole number of 64 KiB pages. The host's limit if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        range(min = WASM_PAGE_BYTES, max = MAX_MEMORY_BYTES),
        extend("multipleOf" = WASM_PAGE_BYTES),
        example = 16_777_216
    )]
    pub memory_bytes: Option<u64>,
    /// Milliseconds of CPU time that a single call may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_LIMIT_MS), example = 2000)]
    pub cpu_ms_per_call: Option<u32>,
    /// Milliseconds of CPU time that the app may take in each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000), example = 500)]
    pub cpu_ms_per_second: Option<u32>,
    /// Milliseconds that a single call may take in all, waiting included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = MAX_LIMIT_MS), example = 10_000)]
    pub wall_ms_per_call: Option<u32>,
    /// Bytes of the longest message in either direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = MAX_MESSAGE_BYTES), example = 65_536)]
    pub message_bytes: Option<u32>,
    /// Calls that may wait for the app at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024), example = 16)]
    pub calls_in_flight: Option<u32>,
    /// How deep in calls that wait for each other the app may be called: an app calls a bridge, which calls an app.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256), example = 4)]
    pub call_depth: Option<u32>,
    /// Lines that the app may log in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000), example = 20)]
    pub log_lines_per_second: Option<u32>,
    /// Calls of a bridge's method that the app may make in a second, by method.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend(
            "maxProperties" = MAX_RATES,
            "additionalProperties" = { "type": "integer", "minimum": 1, "maximum": MAX_CALLS_PER_SECOND }
        ),
        example = serde_json::json!({ "storage.set": 20 })
    )]
    pub calls_per_second: BTreeMap<String, u32>,
}

fn is_first(schema: &u32) -> bool {
    *schema == 1
}

impl Default for Storage {
    fn default() -> Self {
        Self { quota_bytes: DEFAULT_QUOTA_BYTES, schema: 1 }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self { quota_bytes: DEFAULT_QUOTA_BYTES }
    }
}

macro_rules! is_default {
    ($($name:ident)+) => {
        $(impl $name {
            fn is_default(&self) -> bool {
                *self == Self::default()
            }
        })+
    };
}

is_default!(Network Storage Files Limits);
