//! The WebAssembly component.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "MPKG-W01",
        "The app is a WebAssembly component",
        "A core module has imports without types, which no permission can be tied to.",
        "Build it with mpkg build.",
    ),
    rule(
        "MPKG-W02",
        "The component validates",
        "Only what is valid WebAssembly within the allowed features is safe to compile: no threads, \
         exceptions, garbage collection, 64-bit memories or component-model async.",
        "Build it with mpkg build and the features of its templates.",
    ),
    rule(
        "MPKG-W03",
        "Imports are known interfaces",
        "An import is a capability. One that nobody knows cannot be shown to a user or granted by one.",
        "Import only interfaces of mpkg:bridge.",
    ),
    rule(
        "MPKG-W04",
        "Imports are of bridge version 1",
        "Another major version means something else under the same names.",
        "Build with an SDK for version 1.",
    ),
    rule(
        "MPKG-W05",
        "WASI imports are in the table",
        "Sockets, files and HTTP would be ways around the bridge and its permissions.",
        "Use the bridge's network and files, which ask for permission.",
    ),
    rule(
        "MPKG-W06",
        "Only interfaces are imported",
        "A function, module or component import has no name that a permission could be tied to.",
        "Build it with mpkg build.",
    ),
    rule(
        "MPKG-W07",
        "The component exports mpkg:bridge/app",
        "Without it the host could not call the app, and would learn so only after the installation.",
        "Use an SDK, which exports it.",
    ),
    rule(
        "MPKG-W08",
        "Every import is declared",
        "A component must not be able to ask for what its manifest does not show.",
        "Add the permission to req_permissions, or do not use the interface.",
    ),
    rule(
        "MPKG-W09",
        "Every declared permission is imported",
        "Users should not be asked for what the app cannot use, and a later release should not use it \
         unseen.",
        "Remove the permission from req_permissions.",
    ),
    rule(
        "MPKG-W10",
        "The component is in the package",
        "The manifest names the file to run; one that is missing would be noticed only at launch.",
        "Let mpkg.component name a file of the package.",
    ),
];
