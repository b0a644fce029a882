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
    component_for("cart-write")
}

/// The same with another bridge in the place of `cart-write`.
pub(crate) fn component_for(bridge: &str) -> Vec<u8> {
    let letter = format!("(i32.const {})", bridge.as_bytes()[0]);
    let text = include_str!("../fixtures/proxy.wat").replace("cart-write", bridge);
    let text = text.replace("(i32.const 99)", &letter);
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = Resolve::default();
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/wit");
    let (package, _) = resolve.push_path(wit).unwrap();
    let world = resolve.select_world(&[package], Some("mini-app")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}
