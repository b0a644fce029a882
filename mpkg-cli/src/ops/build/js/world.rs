//! The world of a guest: exactly the interfaces that its bundle imports.
//!
//! The splicer keeps every import of the world it is given, used or not, and a component's imports are what it may do.

/// The bridge's one definition.
const BRIDGE: &str = include_str!("../../../../../sdk/wit/bridge.wit");
/// What the generated world is called.
pub(super) const NAME: &str = "guest";
/// The world that lists every interface a host may have.
const ALL: &str = "world mini-app {";

/// WIT text with a world called [`NAME`] in it.
#[derive(Debug)]
pub(super) struct World(pub(super) String);

impl World {
    /// The world that imports `interfaces` and exports `app`.
    pub(super) fn importing(interfaces: &[String]) -> Self {
        let mut text = format!("{BRIDGE}\nworld {NAME} {{\n");
        for interface in interfaces {
            text.push_str(&format!("  import {interface};\n"));
        }
        text.push_str("  export app;\n}\n");
        Self(text)
    }
}

/// Every interface that a guest may import.
pub(super) fn interfaces() -> Vec<&'static str> {
    let body = BRIDGE.split_once(ALL).map_or("", |(_, body)| body);
    body.lines().filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_definition() {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_source("bridge.wit", BRIDGE).unwrap();
        let world = resolve.select_world(&[package], Some("mini-app")).unwrap();
        let imports = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key));
        let names: Vec<String> = imports
            .filter_map(|name| Some(name.strip_prefix("mpkg:bridge/")?.strip_suffix("@1.0.0")?.to_owned()))
            .filter(|name| name != "types")
            .collect();
        assert_eq!(names, interfaces());
    }

    #[test]
    fn a_world_imports_what_it_is_told_and_no_more() {
        let World(text) = World::importing(&["cart-write".into(), "storage".into()]);
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_source("bridge.wit", &text).unwrap();
        let world = resolve.select_world(&[package], Some(NAME)).unwrap();
        let imports: Vec<String> =
            resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key)).collect();
        assert_eq!(
            imports,
            ["mpkg:bridge/types@1.0.0", "mpkg:bridge/cart-write@1.0.0", "mpkg:bridge/storage@1.0.0"]
        );
    }
}
