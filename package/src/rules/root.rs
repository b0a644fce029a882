//! Publisher roots.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "MPKG-R01",
        "Root documents have one byte form",
        "The publisher's id is the hash of its first root; a second spelling would be a second publisher.",
        "Make the root with mpkg, and do not edit or reformat it.",
    ),
    rule(
        "MPKG-R02",
        "The document is a publisher root",
        "A document made for another purpose must not decide who may sign.",
        "Give a root document.",
    ),
    rule(
        "MPKG-R03",
        "Keys are of a known algorithm",
        "The algorithm belongs to the key, never to the message. ml-dsa-44 and ed25519+ml-dsa-44 are \
         reserved.",
        "Use Ed25519 keys, or a newer mpkg.",
    ),
    rule(
        "MPKG-R04",
        "A key's id is its hash",
        "A key under another key's id would sign in that one's name.",
        "Make the root with mpkg.",
    ),
    rule(
        "MPKG-R05",
        "Roles can be filled",
        "A threshold of nothing lets anyone sign, one above the number of keys lets nobody, and a key that \
         is listed twice would count twice.",
        "Give each role at least one key of the root and a threshold between 1 and their number.",
    ),
    rule(
        "MPKG-R06",
        "The root asks for nothing that this version cannot judge",
        "Reading a root and skipping its expiry, its revocations or its successors would be more \
         permissive than its owner wanted.",
        "Use a newer mpkg or host.",
    ),
    rule(
        "MPKG-R07",
        "A chain begins with version 1",
        "The publisher's id is the hash of version 1; a chain that begins later cannot be tied to it.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-R08",
        "The first root carries no signatures",
        "Its hash, which is pinned, is what vouches for it. A signature there would be bytes that nobody \
         checks.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-R09",
        "The publisher is the trusted one",
        "Anyone can sign a package with a root of their own. Only the pinned publisher counts.",
        "Check where the package comes from, or trust its publisher.",
    ),
    rule(
        "MPKG-R10",
        "The chain is whole",
        "A length that reaches outside the chain would have a reader take other bytes for a root.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-R11",
        "A chain has 1 to 64 roots",
        "Each link costs signatures to check; the bound keeps verification cheap.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-R12",
        "A root document has at most 16 KiB",
        "It is read before anything vouches for it; the bound keeps that cheap.",
        "Use fewer keys.",
    ),
    rule(
        "MPKG-R13",
        "Trust names someone",
        "A file that names nobody must not be taken for trust in everybody.",
        "Give a public key (PEM), a root document, or a publisher id that begins with mp1.",
    ),
];
