//! The JSON Schema of manifests.

use serde_json::{Value, json};

use crate::manifest::Manifest;

/// The JSON Schema (2020-12) of `manifest.json`, as committed in `manifest.schema.json`.
///
/// It helps editors. It cannot say everything that [`Manifest::parse`] checks: rules between members,
/// duplicate keys and numbers beyond 2^53 are out of its reach.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Manifest).to_value();
    refuse_null(&mut schema);
    schema
}

/// A member that may be left out may still not be `null`: for schemars the two are one.
fn refuse_null(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    members.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| *choice != json!({ "type": "null" }));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    members.remove("anyOf");
                    members.extend(only);
                }
            }
            members.values_mut().for_each(refuse_null);
        }
        Value::Array(items) => items.iter_mut().for_each(refuse_null),
        _ => {}
    }
}
