//! Every rule that a transfer refuses by, with what it is for.

use mpkg_manifest::rules::Rule;

const fn rule(code: &'static str, title: &'static str, attack: &'static str, fix: &'static str) -> Rule {
    Rule { code, title, attack, fix }
}

/// The rules, by code.
pub const RULES: &[Rule] = &[
    rule(
        "MPKG-T01",
        "Patches lead from package to package",
        "What is longer than any package is none, and would only cost memory.",
        "Packages have at most 64 MiB.",
    ),
    rule(
        "MPKG-T02",
        "A patch can be read",
        "Damaged bytes, or a patch for another package than the one that is there, make nothing that is of use.",
        "Download the whole package.",
    ),
    rule(
        "MPKG-T03",
        "A patch makes as many bytes as the package has",
        "A few bytes that unpack to gigabytes fill a device's memory; so nothing longer than what was signed is made.",
        "Download the whole package.",
    ),
    rule(
        "MPKG-T04",
        "A patch makes the package that was asked for",
        "Whoever stands between could have another package made from the one that is there.",
        "Download the whole package.",
    ),
];
