//! Small packages, and archives with any field wrong.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod archive;

use mpkg_package::root::{Draft, RELEASE_ROLE, ROOT_ROLE};
use mpkg_package::{Grant, Root, RootChain, RootFile, SecretKey, SignedGrant, Time, container, sign};

pub const COMPONENT: &str = "app.wasm";

/// The smallest manifest with these permissions.
pub fn manifest(permissions: &[&str]) -> String {
    let wanted: Vec<String> = permissions.iter().map(|name| format!(r#"{{"name":"{name}"}}"#)).collect();
    let network = if permissions.contains(&"network") { r#","network":{"allow":["a.example"]}"# } else { "" };
    format!(
        concat!(
            r#"{{"app_id":"org.example.tiny","name":"Tiny","version":{{"code":1,"name":"1.0.0"}},"#,
            r#""platform_version":{{"min_code":1}},"icons":[{{"src":"icon.png"}}],"pages":["index"],"#,
            r#""req_permissions":[{}],"mpkg":{{"component":"app.wasm","abi":1{}}}}}"#
        ),
        wanted.join(","),
        network
    )
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        out.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return out;
        }
    }
}

fn name(text: &str) -> Vec<u8> {
    [vec![0], leb(text.len()), text.as_bytes().to_vec()].concat()
}

fn section(id: u8, count: usize, body: &[u8]) -> Vec<u8> {
    let count = leb(count);
    [vec![id], leb(count.len() + body.len()), count, body.to_vec()].concat()
}

pub const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A component that imports these interfaces and exports these, each without functions.
pub fn component_with(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    out.extend(section(7, 1, &[0x42, 0])); // type 0: an instance without exports
    let body: Vec<u8> = imports.iter().flat_map(|import| [name(import), vec![5, 0]].concat()).collect();
    if !imports.is_empty() {
        out.extend(section(10, imports.len(), &body));
    }
    out.extend(section(5, 1, &[1, 0])); // an instance without exports, after the imported ones
    let app = leb(imports.len());
    let export = |export: &&str| [name(export), vec![5], app.clone(), vec![0]].concat();
    let body: Vec<u8> = exports.iter().flat_map(export).collect();
    if !exports.is_empty() {
        out.extend(section(11, exports.len(), &body));
    }
    out
}

pub fn component(imports: &[&str]) -> Vec<u8> {
    component_with(imports, &["mpkg:bridge/app@1.0.0"])
}

/// A component with a core module in it.
pub fn component_around(module: &[u8]) -> Vec<u8> {
    let mut out = component(&[]);
    out.push(1);
    out.extend(leb(module.len()));
    out.extend_from_slice(module);
    out
}

/// A core module of one section.
pub fn module(id: u8, count: usize, body: &[u8]) -> Vec<u8> {
    [b"\0asm\x01\0\0\0".to_vec(), section(id, count, body)].concat()
}

/// A component that imports a function.
pub fn component_importing_function() -> Vec<u8> {
    let mut out = HEADER.to_vec();
    out.extend(section(7, 1, &[0x40, 0, 1, 0])); // type 0: a function of nothing to nothing
    out.extend(section(10, 1, &[name("f"), vec![1, 0]].concat()));
    out
}

pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("manifest.json", manifest(&["cart.read"]).into_bytes()),
        ("app.wasm", component(&["mpkg:bridge/cart-read@1.0.0"])),
        ("icon.png", b"\x89PNG".to_vec()),
    ]
}

/// The golden package: three files, one permission.
pub fn package() -> Vec<u8> {
    container::write(&files()).unwrap()
}

pub fn key() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

pub fn root() -> Root {
    Root::single(&key().public())
}

pub fn time() -> Time {
    Time::parse("2026-01-31T12:00:00Z").unwrap()
}

/// The golden package, signed.
pub fn signed() -> Vec<u8> {
    let package = package();
    sign(&package, &key(), &root(), time()).unwrap().embed(&package).unwrap()
}

pub fn seed(n: u8) -> SecretKey {
    SecretKey::from_seed(&[n; 32])
}

/// A first root in which these seeds' keys have the roles, so many of each being needed.
pub fn draft(root: &[u8], root_threshold: u32, release: &[u8], threshold: u32) -> Draft {
    let mut draft = Draft::first();
    root.iter().for_each(|n| assert!(draft.add(ROOT_ROLE, &seed(*n).public())));
    release.iter().for_each(|n| assert!(draft.add(RELEASE_ROLE, &seed(*n).public())));
    draft.set_threshold(ROOT_ROLE, root_threshold);
    draft.set_threshold(RELEASE_ROLE, threshold);
    draft
}

/// The chain with one more root, changed like this and signed by these seeds' keys.
pub fn next(chain: &RootChain, signers: &[u8], change: impl FnOnce(&mut Draft)) -> RootChain {
    let mut draft = Draft::after(chain.last());
    change(&mut draft);
    let mut file = RootFile::new(chain.clone());
    file.propose(draft.build().unwrap()).unwrap();
    signers.iter().for_each(|n| _ = file.sign(&seed(*n)).unwrap());
    assert!(file.proposal().is_none(), "signatures are missing");
    file.chain().clone()
}

/// A grant of these permissions, signed by these seeds' keys.
pub fn grant(chain: &RootChain, version: u64, permissions: &str, signers: &[u8]) -> SignedGrant {
    let permissions = serde_json::from_str(permissions).unwrap();
    let (app_id, publisher) = ("org.example.tiny".to_owned(), chain.publisher());
    let mut grant = SignedGrant::new(Grant { app_id, publisher, version, permissions }).unwrap();
    signers.iter().for_each(|n| _ = grant.sign(&seed(*n), chain).unwrap());
    grant
}

pub const CART: &str = r#"{"cart.read":{}}"#;

/// The folder with independent test data; says so when it is not there.
pub fn corpora() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("MPKG_CORPORA").map(Into::into);
    if folder.is_none() {
        eprintln!("SKIPPED: MPKG_CORPORA is not set, so the independent test data is not used");
    }
    folder
}
