//! The vocabulary and the interface definition name the same interfaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;

use mpkg_manifest::permission::{HOST_INTERFACE, VOCABULARY, interface_for};

#[test]
fn each_import_of_the_world_has_a_row() {
    let wit = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/wit/bridge.wit")).unwrap();
    let imports: BTreeSet<&str> =
        wit.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';')).collect();
    let rows: BTreeSet<&str> = VOCABULARY.iter().map(|spec| spec.interface).chain([HOST_INTERFACE]).collect();
    assert_eq!(imports, rows);
    for spec in VOCABULARY {
        assert_eq!(interface_for(spec.name), Some(spec.interface));
    }
}
