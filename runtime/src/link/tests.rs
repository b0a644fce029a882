use mpkg_manifest::Reasons;
use wasmtime::component::Component;

use super::*;

#[path = "../../tests/common/puppet.rs"]
#[allow(unreachable_pub)]
#[allow(dead_code)]
mod puppet;

fn declare(name: &str) -> Declared {
    let scope = mpkg_manifest::ScopeValue::None;
    Declared { name: name.parse().unwrap(), required: false, reasons: Reasons::default(), scope }
}

/// No package with such an import is signed or accepted; and if one were, there would be nothing to call.
#[test]
fn an_import_is_linked_only_where_its_permission_is_declared() {
    let engine = crate::engine::engine(Default::default(), &Default::default()).unwrap();
    let mut registry = Registry::default();
    for bridge in crate::bridge::builtin(&Default::default()) {
        registry.add(bridge).unwrap();
    }
    let mut permissions: Vec<_> = permission::VOCABULARY.iter().map(|spec| (spec.name, spec.free)).collect();
    permissions.push(("host.loyalty", false));
    for (name, free) in permissions {
        let interface = permission::interface_for(name).unwrap();
        let component = Component::new(&engine, puppet::component(&[interface])).unwrap();
        let links = |declared: &[Declared]| {
            let linker = registry.endpoints(declared).linker(&engine, declared, false).unwrap();
            linker.instantiate_pre(&component).is_ok()
        };
        assert_eq!(links(&[]), free, "{name}");
        let other = if name == "storage" { "events" } else { "storage" };
        assert_eq!(links(&[declare(other)]), free, "{name}, with {other} declared");
        if !free {
            assert!(links(&[declare(name)]), "{name}");
        }
    }
}
