//! A guest made without a compiler, and its manifest.

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A manifest that fits the component of [`component`].
pub(crate) const MANIFEST: &str = r#"{
  "app_id": "com.example.proxy",
  "name": "Proxy",
  "icons": [{ "src": "assets/icon.svg" }],
  "pages": ["pages/index"],
  "platform_version": { "min_code": 1 },
  "version": { "code": 3, "name": "1.2.0" },
  "req_permissions": [
    { "name": "storage", "reason": "Remembers what you did." },
    { "name": "cart.write" }
  ],
  "mpkg": { "component": "app.wasm", "abi": 1, "storage": { "quota_bytes": 65536 } }
}
"#;

/// A component that hands every call on to the bridges `storage` and `cart-write`.
pub(crate) fn component() -> Vec<u8> {
    let mut module = wat::parse_str(include_str!("../fixtures/proxy.wat")).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("mini-app")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}
