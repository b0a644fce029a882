use std::path::{Path, PathBuf};

use super::super::Toolchain;
use super::*;

/// Copies the guests' workspace, without what was built in it.
fn copy_guests(to: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for part in ["sdk/rust", "sdk/wit", "examples/stock-alert", "examples/webhook-inbox", "examples/hostile"]
    {
        let built =
            |entry: &walkdir::DirEntry| entry.file_name() != "target" && entry.file_name() != ".cargo";
        for entry in walkdir::WalkDir::new(root.join(part)).into_iter().filter_entry(built) {
            let entry = entry.unwrap();
            let copy = to.join(entry.path().strip_prefix(root).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(&copy).unwrap();
            } else {
                std::fs::copy(entry.path(), &copy).unwrap();
            }
        }
    }
}

fn imports(component: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::ComponentImportSection(section) => {
                names.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            // What follows is the inside of the component.
            wasmparser::Payload::ModuleSection { .. } => break,
            _ => {}
        }
    }
    names.sort();
    names
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The guest lies outside its workspace, beside an SDK: the hard case, where cargo would name it by its absolute path.
#[test]
fn the_same_source_gives_the_same_bytes_in_two_folders() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let roots: [PathBuf; 2] = [folders[0].path().join("a"), folders[1].path().join("another name/deeper")];
    let built = roots.each_ref().map(|root| {
        copy_guests(root);
        let toolchain = std::env::var_os("MPKG_TOOLCHAIN").unwrap_or_else(|| "/nowhere".into());
        let mut lines = Vec::new();
        let mut log = |line: &str| lines.push(line.to_owned());
        let guest = root.join("examples/hostile/flood");
        let built = build(&guest, &root.join("out"), &Toolchain::new(toolchain), &mut log);
        built.unwrap_or_else(|error| panic!("{error}\n{}", lines.join("\n")))
    });
    assert!(built[0].component == built[1].component, "the bytes depend on the folder");
    assert_eq!(built[0].tools, built[1].tools);
    for tool in ["rustc", "cargo", "wit-bindgen-rust", "wit-component"] {
        assert!(built[0].tools.iter().any(|(name, _)| name == tool), "{:?}", built[0].tools);
    }

    let component = &built[0].component;
    assert!(!contains(component, folders[0].path().to_str().unwrap()), "a path of this machine is in it");
    let home = std::env::var("HOME").unwrap_or_default();
    assert!(home.len() < 4 || !contains(component, &home), "the home folder's path is in it");

    // The SDK has fifteen bridges; the guest uses three.
    let bridge = |name: &str| format!("mpkg:bridge/{name}@1.0.0");
    assert_eq!(imports(component), ["clock", "log", "storage", "types"].map(bridge));
}

#[test]
fn a_broken_guest_shows_what_the_compiler_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    std::fs::write(folder.path().join("src/lib.rs"), "pub fn broken( {").unwrap();
    std::fs::write(
        folder.path().join("Cargo.toml"),
        "[package]\nname = \"broken\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n",
    )
    .unwrap();
    let mut lines = Vec::new();
    let mut log = |line: &str| lines.push(line.to_owned());
    let toolchain = Toolchain::new(std::env::var_os("MPKG_TOOLCHAIN").unwrap_or_else(|| "/nowhere".into()));
    let error = build(folder.path(), &folder.path().join("out"), &toolchain, &mut log).unwrap_err();
    assert_eq!(error.code(), "MPKG-C23", "{error}");
    assert!(lines.iter().any(|line| line.contains("src/lib.rs:1:")), "{lines:#?}");

    std::fs::remove_file(folder.path().join("src/lib.rs")).unwrap();
    std::fs::write(folder.path().join("src/main.rs"), "fn main() {}").unwrap();
    std::fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"broken\"\n[workspace]\n").unwrap();
    let error = build(folder.path(), &folder.path().join("out"), &toolchain, &mut |_| {}).unwrap_err();
    assert_eq!(error.code(), "MPKG-C24", "{error}");
    assert!(error.to_string().contains("no library"), "{error}");
}
