//! Keys.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "MPKG-K01",
        "A key file is PEM",
        "A file of another kind must not be taken for a key.",
        "Give a file that begins with -----BEGIN.",
    ),
    rule(
        "MPKG-K02",
        "A key is of the needed kind",
        "A secret key where a public one belongs is about to be published; a public one cannot sign.",
        "Give the other file of the pair; mpkg keys show prints the public half of a secret key.",
    ),
    rule(
        "MPKG-K03",
        "An encrypted key comes with its passphrase",
        "A key that is encrypted at rest is of no use to whoever copies the file.",
        "Type the passphrase, or give it with --passphrase-file or MPKG_PASSPHRASE.",
    ),
    rule(
        "MPKG-K04",
        "A key file is not damaged",
        "A key that is half read would sign with something else.",
        "Restore the file from a copy.",
    ),
    rule(
        "MPKG-K05",
        "Keys are Ed25519",
        "One algorithm, chosen by the key record, leaves nothing to negotiate and nothing to downgrade.",
        "Make a key with mpkg keys generate.",
    ),
    rule(
        "MPKG-K06",
        "The halves of a key belong together",
        "Signing with one half under another public half gives away the secret one.",
        "Restore the file from a copy, or make a new key.",
    ),
    rule(
        "MPKG-K07",
        "A public key is a point in its one encoding",
        "A second encoding of a key would be a second signer with the same secret.",
        "Check that the key was copied whole.",
    ),
    rule(
        "MPKG-K08",
        "A public key has no small order",
        "Anyone can write signatures that verify under such a key, without any secret.",
        "Make a key with mpkg keys generate.",
    ),
    rule(
        "MPKG-K09",
        "A public key is free of torsion",
        "Verifiers disagree about signatures of such keys, so a package would be valid on one device and \
         not on the next.",
        "Make a key with mpkg keys generate.",
    ),
    rule(
        "MPKG-K10",
        "A key file has at most 16 KiB",
        "A key has a hundred bytes; anything large is something else.",
        "Give the key file.",
    ),
    rule(
        "MPKG-K11",
        "Keys are made from the system's randomness",
        "A key from anything weaker can be guessed, so none is made when there is none.",
        "Run it where the operating system's random source works.",
    ),
    rule(
        "MPKG-K12",
        "The passphrase opens the key",
        "Without the right one the file is noise.",
        "Try again. A passphrase that is lost is lost with its key.",
    ),
    rule(
        "MPKG-K13",
        "Keys are encrypted with PBES2, at a bounded cost",
        "Older schemes fall to a laptop, and a key file that asks for terabytes of memory would take the machine \
         down.",
        "Encrypt it anew with a current tool: openssl pkcs8 -topk8 -scrypt.",
    ),
    rule(
        "MPKG-K14",
        "A passphrase is not empty",
        "A key encrypted with nothing looks protected and is not.",
        "Choose a passphrase, or leave the key unencrypted knowingly.",
    ),
];
