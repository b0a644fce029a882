//! The permission grant.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "MPKG-G01",
        "A permission grant has at most 16 KiB",
        "The bound keeps verification cheap and bounded.",
        "Grant fewer network hosts, or patterns such as *.example.com.",
    ),
    rule(
        "MPKG-G02",
        "The grant is the publisher's own",
        "A grant made for one publisher's keys must not be shown under another's root.",
        "Make a grant with mpkg grant create and this publisher's root file.",
    ),
    rule(
        "MPKG-G03",
        "The grant is for this app",
        "What the map may ask for, the calculator of the same publisher may not: its users were never told.",
        "Make a grant for this app with mpkg grant create.",
    ),
    rule(
        "MPKG-G04",
        "A release asks for nothing beyond its grant",
        "Release keys live on build machines and get stolen. What a thief signs with one alone never reaches a \
         permission, a network host or a quota that the root keys have not granted.",
        "Drop what the message names from the manifest, or have the root keys sign a wider grant: mpkg grant \
         create, then mpkg grant sign.",
    ),
    rule(
        "MPKG-G05",
        "A host never goes back to an older grant",
        "A publisher who narrows a grant does not want the wider one to be shown again with a stolen key.",
        "Sign the package again with mpkg sign and the newest grant.",
    ),
    rule(
        "MPKG-G06",
        "There is a grant before a release is signed",
        "A package without one would be refused by everyone, and only the root keys can make one.",
        "Make one with mpkg grant create, have the root keys sign it with mpkg grant sign, and pass it to mpkg \
         sign --grant.",
    ),
    rule(
        "MPKG-G07",
        "Signers of a grant hold the role root",
        "If release keys could grant permissions, stealing one would be enough to add some.",
        "Sign with a root key; mpkg root show lists them.",
    ),
];
