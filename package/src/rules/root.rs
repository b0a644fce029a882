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
        "MPKG-R07",
        "A chain begins with version 1",
        "The publisher's id is the hash of version 1; a chain that begins later, or with a root that \
         names one before it, cannot be tied to it.",
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
        "A root document has at most 16 KiB, a root file 256 KiB",
        "They are read before anything vouches for them; the bounds keep that cheap.",
        "Use fewer keys.",
    ),
    rule(
        "MPKG-R13",
        "Trust names someone",
        "A file that names nobody must not be taken for trust in everybody.",
        "Give a public key (PEM), a root document, a root file, or a publisher id that begins with mp1.",
    ),
    rule(
        "MPKG-R14",
        "Versions of a chain are without a gap",
        "A root that is left out, or comes twice, could be the one that threw a stolen key out.",
        "Get the whole root file from its publisher.",
    ),
    rule(
        "MPKG-R15",
        "A root names the one before it",
        "Signatures for the successor of one root must not make it the successor of another, with other keys.",
        "Propose the change again with mpkg root, from the newest root file.",
    ),
    rule(
        "MPKG-R16",
        "The old root's keys agree to the new one",
        "Whoever holds fewer than the threshold of a publisher's root keys must not be able to take the \
         publisher over.",
        "Have more of the old root keys sign with mpkg root sign.",
    ),
    rule(
        "MPKG-R17",
        "The new root's own keys agree to it",
        "A root whose keys nobody holds, by mistake or by malice, would be the publisher's last one.",
        "Have more of the new root keys sign with mpkg root sign.",
    ),
    rule(
        "MPKG-R18",
        "A host never goes back to an older root",
        "An older root still lists the keys that were thrown out since, perhaps because they were stolen.",
        "Sign the package again with mpkg sign and the newest root file.",
    ),
    rule(
        "MPKG-R19",
        "An expired root admits nothing new",
        "Whoever keeps newer roots from a host could have it accept stolen keys for ever. It does not help to \
         have signed earlier, since a thief can write any date.",
        "Make a new root version with a later date, and sign the package again.",
    ),
    rule(
        "MPKG-R20",
        "Revoked keys do not count",
        "A release key that was stolen must not sign releases from the one on that the publisher names.",
        "Sign with a key that is not revoked.",
    ),
    rule(
        "MPKG-R21",
        "Revocations ascend by key id, one for each key",
        "With two of them one reader would take a signature that the next refuses.",
        "Make the root with mpkg.",
    ),
    rule(
        "MPKG-R22",
        "There is a proposal to sign",
        "A signature on nothing in particular could be taken for one on anything.",
        "Propose a change first, for example with mpkg root add-key.",
    ),
    rule(
        "MPKG-R23",
        "Signers of a root hold the role root in it or in the one before",
        "A signature that nobody can check is a place for bytes that nobody checks.",
        "Sign with a root key; mpkg root show lists them.",
    ),
];
