//! Components that break one rule each.

use mpkg_manifest::Manifest;
use mpkg_package::{check, container, sign, wasm};

use crate::support::{
    component, component_around, component_importing_function, component_with, key, manifest, module, root,
    time,
};
use crate::{Case, refused};

fn inspect(bytes: &[u8]) -> String {
    refused!(wasm::inspect(bytes))
}

fn imports(name: &str) -> String {
    inspect(&component(&[name]))
}

fn package(permissions: &[&str], files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut all = vec![("manifest.json", manifest(permissions).into_bytes())];
    all.extend_from_slice(files);
    container::write(&all).unwrap()
}

fn disagreement(permissions: &[&str], imports: &[&str]) -> String {
    let info = wasm::inspect(&component(imports)).unwrap();
    let manifest = Manifest::parse(manifest(permissions).as_bytes()).unwrap().manifest;
    match &wasm::agreement(&info, &manifest)[..] {
        [] => "accepted".to_owned(),
        [one] => format!("{} {one}", one.code()),
        _ => "several".to_owned(),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let bridge = |interface: &str| format!("mpkg:bridge/{interface}@1.0.0");
    let (log, cart, host, types) = (bridge("log"), bridge("cart-read"), bridge("host"), bridge("types"));
    let core = b"\0asm\x01\0\0\0".to_vec();
    let mut cut = component(&[&log]);
    cut.pop();
    let memory = |flags: u8| component_around(&module(5, 1, &[flags, 1, 1]));
    let shown = package(&[], &[("app.wasm", component(&[&cart]))]);

    assert_eq!(inspect(&memory(1)), "accepted");
    let info = wasm::inspect(&memory(1)).unwrap();
    assert_eq!(info.memories, [wasm::Memory { initial_pages: 1, maximum_pages: Some(1) }]);
    assert_eq!(disagreement(&["cart.read"], &[&cart, &log, &types]), "accepted");
    assert_eq!(disagreement(&["host.loyalty", "host.badges"], &[&host]), "accepted");
    assert_eq!(imports("wasi:cli/environment@0.2.6"), "accepted");

    vec![
        ("MPKG-W01", "nothing", inspect(b"")),
        ("MPKG-W01", "a text", inspect(b"(component)")),
        ("MPKG-W01", "a core module", inspect(&core)),
        ("MPKG-W02", "cut off", inspect(&cut)),
        ("MPKG-W02", "junk in a core module", inspect(&component_around(b"\0asm\x01\0\0\0\xff"))),
        ("MPKG-W02", "a shared memory", inspect(&memory(3))),
        ("MPKG-W02", "a 64-bit memory", inspect(&memory(5))),
        ("MPKG-W02", "garbage collection", inspect(&component_around(&module(1, 1, &[0x5f, 0])))),
        ("MPKG-W02", "exceptions", inspect(&component_around(&module(13, 0, &[])))),
        ("MPKG-W03", "an unknown interface", imports("mpkg:bridge/gpu@1.0.0")),
        ("MPKG-W03", "another package", imports("acme:tools/run@1.0.0")),
        ("MPKG-W03", "a bare name", imports("tools")),
        ("MPKG-W04", "version 2", imports("mpkg:bridge/log@2.0.0")),
        ("MPKG-W04", "no version", imports("mpkg:bridge/log")),
        ("MPKG-W05", "sockets", imports("wasi:sockets/tcp@0.2.0")),
        ("MPKG-W05", "files", imports("wasi:filesystem/preopens@0.2.0")),
        ("MPKG-W05", "HTTP", imports("wasi:http/outgoing-handler@0.2.0")),
        ("MPKG-W05", "another WASI", imports("wasi:io/streams@0.3.0")),
        ("MPKG-W06", "a function", inspect(&component_importing_function())),
        ("MPKG-W07", "no export", inspect(&component_with(&[], &[]))),
        ("MPKG-W07", "another export", inspect(&component_with(&[], &["mpkg:bridge/app@2.0.0"]))),
        ("MPKG-W08", "not declared", disagreement(&[], &[&cart])),
        ("MPKG-W08", "host not declared", disagreement(&[], &[&host])),
        ("MPKG-W08", "checked", refused!(check(&shown))),
        ("MPKG-W08", "not signed either", refused!(sign(&shown, &key(), &root(), time()))),
        ("MPKG-W09", "not imported", disagreement(&["cart.read"], &[])),
        ("MPKG-W09", "host not imported", disagreement(&["host.loyalty"], &[])),
        ("MPKG-W10", "no component", refused!(check(&package(&[], &[("b.wasm", component(&[]))])))),
        (
            "MPKG-M02",
            "an empty manifest",
            refused!(check(&container::write(&[("manifest.json", "{}")]).unwrap())),
        ),
    ]
}
