//! The same source and tools give the same bytes: in two folders, at two times, in both languages.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use mpkg_tests::workspace::{built, copy_folder, has_node, root, run_mpkg};

fn build(project: &Path) -> Vec<u8> {
    let out = project.join("out.mpkg");
    run_mpkg(&["build", project.to_str().unwrap(), "--out", out.to_str().unwrap()], 0).unwrap();
    fs::read(out).unwrap()
}

/// Builds an example where it lies and once more in a copy of the tree, deeper and under another name.
fn same_in_a_copy(example: &str, sdk: &[&str]) {
    let here = fs::read(built(example).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("a folder/deeper");
    for part in sdk.iter().chain([&example]) {
        copy_folder(&root().join(part), &tree.join(part)).unwrap();
    }
    assert!(build(&tree.join(example)) == here, "{example} differs in another folder");
}

/// Starts the same new project twice and builds both.
fn same_for_a_new_project(template: &str) {
    let folder = tempfile::tempdir().unwrap();
    let packages = ["one", "another/place"].map(|name| {
        let project = folder.path().join(name);
        let arguments =
            ["new", project.to_str().unwrap(), "--template", template, "--id", "com.example.twice"];
        run_mpkg(&[&arguments[..], &["--name", "Twice"]].concat(), 0).unwrap();
        build(&project)
    });
    assert!(packages[0] == packages[1], "a new {template} project differs in another folder");
}

#[test]
fn a_rust_example() {
    same_in_a_copy(
        "examples/stock-alert",
        &["sdk/rust", "sdk/wit", "examples/webhook-inbox", "examples/hostile"],
    );
}

#[test]
fn a_new_rust_project() {
    same_for_a_new_project("rust");
}

#[test]
fn a_javascript_example() {
    if has_node() {
        same_in_a_copy("examples/shopping-cart", &["sdk/js", "sdk/wit"]);
    }
}

#[test]
fn a_new_javascript_project() {
    if has_node() {
        same_for_a_new_project("js");
    }
}
