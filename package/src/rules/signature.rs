//! Signing block, envelope and statement.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "MPKG-B01",
        "A signature file ends with the block's mark",
        "A file of another kind must not be taken for a signature.",
        "Give the .mpkg.sig file that belongs to the package.",
    ),
    rule(
        "MPKG-B02",
        "The block's size is possible",
        "A size that reaches outside the file would have a reader take contents for signatures.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-B03",
        "A signing block has at most 256 KiB",
        "The block is read before anything vouches for it; the bound keeps that cheap.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-B04",
        "Both sizes of the block are equal",
        "Readers from the front and readers from the back would see different blocks.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-B05",
        "Parts fill the block exactly",
        "Spare bytes are bytes that no signature covers.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-B06",
        "Types of parts ascend",
        "A part that is there twice is chosen differently by different readers.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-B07",
        "Critical parts are understood",
        "A newer format can add restrictions. A reader that skipped what it must understand would be more \
         permissive than the publisher wanted.",
        "Use a newer mpkg or host.",
    ),
    rule(
        "MPKG-B08",
        "The package is signed",
        "Without a signature nothing says who made the package, or that it is still what they made.",
        "Sign it with mpkg sign, or give its signature file.",
    ),
    rule(
        "MPKG-B09",
        "The package is signed in one place",
        "With a block inside and a file beside, it would depend on the reader who signed.",
        "Use either the signed package or the unsigned one with its signature file.",
    ),
    rule(
        "MPKG-B10",
        "The block holds a publisher root, a release and a permission grant",
        "Without one of the first two it could not say who signed what, and without the third a stolen release \
         key could ask for anything.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S01",
        "Envelopes have one byte form",
        "A reader that tolerates white space, other key orders or other base64 leaves bytes in a signed \
         file that anyone can change.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S02",
        "The envelope holds what is expected at its place",
        "A signature made for one purpose must not count for another.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S03",
        "At most 16 signatures",
        "Each signature costs a verification; a list without end would cost a reader hours.",
        "Sign with fewer keys.",
    ),
    rule(
        "MPKG-S04",
        "Signatures ascend by key id, one for each key",
        "One key must not count twice, and one set of signatures has one byte form.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S05",
        "Every signer has the role",
        "A signature that nobody can check is a place for bytes that nobody checks.",
        "Sign with a key of the publisher's root, or trust the publisher who signed.",
    ),
    rule(
        "MPKG-S06",
        "Every signature is valid",
        "The signed bytes, the key or the signature is not what it was: someone changed the package, or it \
         was damaged.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-S07",
        "Enough keys signed",
        "A publisher who asks for several signers does not want one stolen key to be enough.",
        "Have the other keys sign too.",
    ),
    rule(
        "MPKG-S08",
        "A release statement has at most 16 KiB",
        "The bound keeps verification cheap and bounded.",
        "Ask for fewer network hosts.",
    ),
    rule(
        "MPKG-S09",
        "The statement names the publisher of its root",
        "A statement made for one publisher must not be shown under another's root.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S10",
        "The statement names a root of its chain",
        "Whoever shortens a chain to the roots that still list a stolen key must not keep the releases that \
         were made after.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S11",
        "The statement is about this package",
        "A valid signature of one package must not vouch for another one, or for a changed one.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-S12",
        "The statement is about this manifest",
        "Whoever shows an app before loading it reads the manifest alone; it must be the one in the \
         package.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S13",
        "Statement and manifest name the same app",
        "A release of one app must not be installed as another, with that one's data and grants.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S14",
        "Statement and manifest name the same version",
        "People approve what the statement shows; the manifest must not say another version.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S15",
        "Statement and manifest have the same release sequence",
        "The sequence is what stops a downgrade. Two of them would let an old release pass as a new one.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S16",
        "Statement and manifest ask for the same permissions",
        "Permissions that are shown and permissions that are in force must be the same.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S17",
        "Statement and manifest name the same ABI",
        "A host decides by the statement whether it can run the package.",
        "Sign the package again with mpkg sign.",
    ),
    rule(
        "MPKG-S18",
        "The signing key may sign releases",
        "A signature by another key would be refused by everyone, so it is not made.",
        "Sign with a key that the root lists under the role release.",
    ),
    rule(
        "MPKG-S19",
        "The signing key is not revoked",
        "A signature that counts for nothing would be refused by everyone, so it is not made.",
        "Sign with another release key.",
    ),
];
