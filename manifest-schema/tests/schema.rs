//! The committed JSON Schema is the one that the types give.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use serde_json::Value;

/// Set this variable to write the file instead of comparing it.
const UPDATE: &str = "MPKG_UPDATE_SCHEMA";

#[test]
fn the_committed_schema_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifest.schema.json");
    let current = mpkg_manifest::schema();
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, format!("{current:#}\n")).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(
        serde_json::from_str::<Value>(&committed).unwrap() == current,
        "manifest.schema.json is not what the types give; run: {UPDATE}=1 cargo test -p mpkg-manifest --test schema"
    );
}

#[test]
fn each_member_is_described_with_an_example() {
    fn members(schema: &Value, path: &str, bare: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, property) in properties {
                let told = property.get("description").is_some() && property.get("examples").is_some();
                if !told {
                    bare.push(format!("{path}/{name}"));
                }
            }
        }
        for (name, definition) in schema.get("$defs").and_then(Value::as_object).into_iter().flatten() {
            members(definition, &format!("{path}/{name}"), bare);
        }
    }
    let mut bare = Vec::new();
    members(&mpkg_manifest::schema(), "", &mut bare);
    assert_eq!(bare, Vec::<String>::new());
}

/// The examples in the schema are not decoration: put together they are a manifest.
#[test]
fn the_examples_are_valid() {
    let schema = mpkg_manifest::schema();
    let mut manifest = serde_json::Map::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        manifest.insert(name.clone(), property["examples"][0].clone());
    }
    let source = serde_json::to_vec(&manifest).unwrap();
    let parsed = mpkg_manifest::Manifest::parse(&source).unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert_eq!(parsed.warnings, []);
}
