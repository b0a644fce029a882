//! The container.

use super::{Rule, rule};

pub(super) const RULES: &[Rule] = &[
    rule(
        "MPKG-Z01",
        "A package has at least 22 bytes",
        "A file that is cut short or empty must not reach code that expects headers.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-Z02",
        "A package has at most 64 MiB",
        "A size is free to claim and dear to allocate; without a bound one download fills a phone's \
         memory.",
        "Make files smaller, or fetch large ones at run time.",
    ),
    rule(
        "MPKG-Z03",
        "The last 22 bytes are the end record",
        "Without it there is no one place where reading starts, and each reader guesses differently. A \
         cut-off download looks like this too.",
        "Check that this is a .mpkg file and that it is complete.",
    ),
    rule(
        "MPKG-Z04",
        "Nothing follows the end record",
        "ZIP readers search backwards for an end record, so bytes behind it can hold a second one: one \
         reader sees harmless files, the other the attacker's.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z05",
        "The archive has no comment",
        "A comment can hold a second end record, and unsigned text that tools print.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z06",
        "The archive is on one disk",
        "Split-archive fields are read by some tools and ignored by others, which then count different \
         entries.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z07",
        "No ZIP64",
        "ZIP64 gives every size and offset a second place to stand; readers disagree about which one \
         counts.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z08",
        "At most 4 096 entries",
        "Millions of empty entries make a small file cost gigabytes of tables and of folder entries.",
        "Put small files together into larger ones.",
    ),
    rule(
        "MPKG-Z09",
        "The central directory ends at the end record",
        "Bytes between them are seen by some readers only, and an offset outside the file leads others \
         astray.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z10",
        "The central directory holds exactly the counted headers",
        "One header more or less than counted: readers that trust the count and readers that walk the \
         bytes see different files.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z11",
        "No flags",
        "Flags mean encryption, sizes that come later, or another reading of names; each is a way for two \
         readers to differ.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z12",
        "Files are stored, not compressed",
        "A few compressed bytes can unpack to gigabytes, and a compressed stream has many forms for the \
         same contents. Transport compresses instead.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z13",
        "No extra fields, no entry comments",
        "Extra fields can rename an entry or change its size for the readers that know them.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z14",
        "At most 32 MiB a file, 256 KiB a manifest",
        "The bound is checked before the bytes are looked at, so that no single file can exhaust a reader.",
        "Make the file smaller.",
    ),
    rule(
        "MPKG-Z15",
        "Names are plain",
        "Names such as ../x, C:x, CON, .bashrc or look-alike letters escape the folder they are unpacked \
         to, or name another file on another system.",
        "Use letters, digits, dot, dash and underscore, folders with /, at most 255 bytes and 16 levels; \
         names for people belong into the manifest.",
    ),
    rule(
        "MPKG-Z16",
        "Names differ in more than case",
        "On a file system that ignores case the second file replaces the first: what was checked is not \
         what runs.",
        "Rename one of the two.",
    ),
    rule(
        "MPKG-Z17",
        "No name is a folder of another",
        "A file and a folder of one name cannot both exist, and which of them wins depends on the reader.",
        "Rename the file or the folder.",
    ),
    rule(
        "MPKG-Z18",
        "manifest.json comes first",
        "Every reader finds the manifest at the same place without searching, and there is no package \
         without one.",
        "Put manifest.json into the project; mpkg build writes it first.",
    ),
    rule(
        "MPKG-Z19",
        "Names ascend",
        "One order leaves one byte form for one set of files, so that the digest identifies contents.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z20",
        "Both sizes of an entry are equal",
        "A stored file has one length; two different ones are read as two different files.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z21",
        "Each entry begins where the one before ends",
        "Overlapping entries make a small archive unpack to a huge one, and gaps hide bytes from readers \
         that walk.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z22",
        "Files end where the central directory begins",
        "Bytes that belong to no file can be read as a file by a reader that walks, or carry something \
         past a scanner.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z23",
        "Local headers repeat the central directory",
        "Streaming readers believe the local header, the others the directory: two names or sizes are two \
         files.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
    rule(
        "MPKG-Z24",
        "Checksums are right",
        "Some readers refuse a wrong checksum and some do not, so the same package would work in one place \
         and not in the other.",
        "Get the file again; if it is still refused, ask its publisher.",
    ),
    rule(
        "MPKG-Z25",
        "Contents do not end like a signing block",
        "The mark in front of the central directory says that a signing block is there. Contents that end \
         with it would be taken for one.",
        "Let the last file by name end otherwise, or rename it so that it is not the last.",
    ),
    rule(
        "MPKG-Z26",
        "The bytes are the ones that mpkg writes",
        "The last word: whatever no other rule thought of, a package that differs in one byte from the one \
         way to write its files is refused.",
        "Write the package with mpkg build, which knows only the one form.",
    ),
];
