//! Names of imports and exports, and what each stands for.

use mpkg_manifest::permission::{self, HOST_INTERFACE};

use super::WasmError;

/// The major version of `mpkg:bridge` that this version understands.
pub const BRIDGE_MAJOR: u64 = 1;
/// The minor version of WASI 0 that this version understands.
pub const WASI_MINOR: u64 = 2;

const BRIDGE: &str = "mpkg:bridge/";
const TYPES: &str = "types";
const APP: &str = "app";

/// WASI interfaces that carry no capability of their own, so that a standard library's imports need no permission.
/// Sockets, files and HTTP are missing on purpose: each would be a way around the bridge and its permissions.
pub const WASI_INTERFACES: &[&str] = &[
    "cli/environment", // the host links it empty
    "cli/exit",
    "cli/stderr",
    "cli/stdin",
    "cli/stdout",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stderr",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
];

/// An interface that a component imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its full name, such as `mpkg:bridge/cart-read@1.0.0`.
    pub name: String,
    /// What it is.
    pub kind: ImportKind,
}

/// What an imported interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// `mpkg:bridge/types`: no capability.
    Types,
    /// A bridge interface with one permission, or a free one.
    Bridge(&'static permission::Spec),
    /// `mpkg:bridge/host`: the host's own permissions, `host.<name>`.
    Host,
    /// A WASI interface that needs no permission.
    Wasi,
}

impl Import {
    /// Reads an import's name.
    pub(super) fn read(name: &str) -> Result<Self, WasmError> {
        let kind = if let Some(rest) = name.strip_prefix(BRIDGE) {
            bridge(name, rest)?
        } else if let Some(rest) = name.strip_prefix("wasi:") {
            let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
            if !WASI_INTERFACES.contains(&interface) || !matches!(numbers(version), Some([0, WASI_MINOR, _]))
            {
                return Err(WasmError::Wasi { name: name.to_owned() });
            }
            ImportKind::Wasi
        } else {
            return Err(WasmError::UnknownImport { name: name.to_owned() });
        };
        Ok(Self { name: name.to_owned(), kind })
    }

    /// The permission it needs: `None` for free interfaces, types and WASI; `host.*` for the host's own.
    pub fn permission(&self) -> Option<&'static str> {
        match self.kind {
            ImportKind::Bridge(spec) if !spec.free => Some(spec.name),
            ImportKind::Host => Some("host.*"),
            ImportKind::Bridge(_) | ImportKind::Types | ImportKind::Wasi => None,
        }
    }

    /// The interface without package and version, such as `cart-read`; for WASI with its package.
    pub fn interface(&self) -> &str {
        let name = self.name.split('@').next().unwrap_or_default();
        name.strip_prefix(BRIDGE).unwrap_or(name)
    }

    /// Its version, such as `1.0.0`.
    pub fn version(&self) -> &str {
        self.name.split_once('@').map_or("", |(_, version)| version)
    }
}

fn bridge(name: &str, rest: &str) -> Result<ImportKind, WasmError> {
    let (interface, version) = rest.split_once('@').unwrap_or((rest, ""));
    let kind = match interface {
        TYPES => ImportKind::Types,
        HOST_INTERFACE => ImportKind::Host,
        other => match permission::by_interface(other) {
            Some(spec) => ImportKind::Bridge(spec),
            None => return Err(WasmError::UnknownImport { name: name.to_owned() }),
        },
    };
    if !is_bridge_version(version) {
        return Err(WasmError::BridgeVersion { name: name.to_owned() });
    }
    Ok(kind)
}

/// Whether an export is the app's entry point.
pub(super) fn is_app(name: &str) -> bool {
    let version = name.strip_prefix(BRIDGE).and_then(|rest| rest.strip_prefix(APP)?.strip_prefix('@'));
    version.is_some_and(is_bridge_version)
}

fn is_bridge_version(version: &str) -> bool {
    matches!(numbers(version), Some([BRIDGE_MAJOR, _, _]))
}

/// `1.2.3` and nothing else: no pre-release, no build, no leading zero.
fn numbers(version: &str) -> Option<[u64; 3]> {
    let mut parts = version.split('.').map(|part| {
        let number: u64 = part.parse().ok()?;
        (number.to_string() == part).then_some(number)
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::{Import, WASI_INTERFACES, is_app};

    #[test]
    fn names_are_read_to_the_last_character() {
        let read = |name: &str| Import::read(name).map_err(|error| error.code());
        assert_eq!(read("mpkg:bridge/cart-read@1.0.0").unwrap().permission(), Some("cart.read"));
        assert_eq!(read("mpkg:bridge/host@1.7.2").unwrap().permission(), Some("host.*"));
        assert_eq!(read("mpkg:bridge/log@1.0.0").unwrap().permission(), None);
        assert_eq!(read("mpkg:bridge/types@1.0.0").unwrap().permission(), None);
        assert_eq!(read("wasi:io/streams@0.2.3").unwrap().permission(), None);
        for name in [
            "mpkg:bridge/log@2.0.0",
            "mpkg:bridge/log",
            "mpkg:bridge/log@1.0.0-rc.1",
            "mpkg:bridge/log@01.0.0",
        ] {
            assert_eq!(read(name), Err("MPKG-W04"), "{name}");
        }
        for name in [
            "mpkg:bridge/gpu@1.0.0",
            "mpkg:other/log@1.0.0",
            "acme:x/y@1.0.0",
            "log",
            "mpkg:bridge/app@1.0.0",
        ] {
            assert_eq!(read(name), Err("MPKG-W03"), "{name}");
        }
        for name in
            ["wasi:sockets/tcp@0.2.0", "wasi:io/streams@0.3.0", "wasi:http/types@0.2.0", "wasi:io/streams"]
        {
            assert_eq!(read(name), Err("MPKG-W05"), "{name}");
        }
        assert!(WASI_INTERFACES.is_sorted());
        assert!(is_app("mpkg:bridge/app@1.4.0"));
        for name in ["mpkg:bridge/app@2.0.0", "mpkg:bridge/app", "mpkg:bridge/apps@1.0.0", "app@1.0.0"] {
            assert!(!is_app(name), "{name}");
        }
    }
}
