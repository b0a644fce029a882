//! The JSON Schema of manifests.

use crate::manifest::Manifest;

/// The JSON Schema (2020-12) of `manifest.json`, as committed in `manifest.schema.json`.
///
/// It helps editors. It cannot say everything that [`Manifest::parse`] checks: rules between members, duplicate keys
/// and numbers beyond 2^53 are out of its reach.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Manifest).to_value()
}
