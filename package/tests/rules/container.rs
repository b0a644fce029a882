//! Archives that break one rule of the container each.

use mpkg_package::signing::{self, Block};
use mpkg_package::{container, limits};

use crate::support::archive::{Archive, Raw, archive, raw};
use crate::{Case, refused};

fn manifest() -> Raw {
    raw("manifest.json", "{}")
}

fn read(archive: &Archive) -> String {
    refused!(container::read(&archive.build()))
}

fn names(names: &[&[u8]]) -> String {
    let others = names.iter().map(|name| raw(*name, "x"));
    read(&archive(std::iter::once(manifest()).chain(others).collect()))
}

/// One entry with one field wrong, behind a right manifest.
fn entry(change: impl FnOnce(&mut Raw)) -> String {
    let mut entry = raw("a", "contents");
    change(&mut entry);
    read(&archive(vec![manifest(), entry]))
}

/// An archive of a right manifest with one field of the archive wrong.
fn whole(change: impl FnOnce(&mut Archive)) -> String {
    let mut whole = archive(vec![manifest(), raw("a", "contents")]);
    change(&mut whole);
    read(&whole)
}

fn write(names: &[&str]) -> String {
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b"x"[..])).collect();
    refused!(container::write(&files))
}

/// An end record for no entries, at this offset.
fn end(offset: usize) -> Vec<u8> {
    let mut out = b"PK\x05\x06".to_vec();
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(&(offset as u32).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out
}

/// Reads an archive with one byte replaced, so far behind a signature.
fn patched(zip: &[u8], signature: &[u8], behind: usize, byte: u8) -> String {
    let mut zip = zip.to_vec();
    let at = zip.windows(4).position(|four| four == signature).unwrap();
    zip[at + behind] = byte;
    refused!(container::read(&zip))
}

pub(crate) fn cases() -> Vec<Case> {
    let many: Vec<Raw> = std::iter::once(manifest())
        .chain((0..limits::ENTRIES).map(|i| raw(format!("f{i:04}"), "")))
        .collect();
    let large = vec![0; limits::ENTRY + 1];
    let many_names: Vec<(String, &[u8])> = (0..=limits::ENTRIES).map(|i| (i.to_string(), &b""[..])).collect();
    let three = vec![0; limits::PACKAGE / 2];
    let too_much = [("manifest.json", &b"{}"[..]), ("a", &three), ("b", &three)];
    let mark = signing::MAGIC;
    let zip = archive(vec![manifest()]).build();
    let last = zip.len() - 1;

    vec![
        ("MPKG-Z01", "nothing", refused!(container::read(b""))),
        ("MPKG-Z01", "21 bytes", refused!(container::read(&[0; 21]))),
        ("MPKG-Z02", "a byte too many", refused!(container::read(&vec![0; limits::PACKAGE + 1]))),
        ("MPKG-Z02", "written too large", refused!(container::write(&too_much))),
        ("MPKG-Z02", "unsigned, with the size of a signed one", {
            refused!(signing::split([vec![0; limits::PACKAGE], end(limits::PACKAGE)].concat()))
        }),
        ("MPKG-Z02", "too large without its block", {
            let block = Block::new(vec![]).unwrap().to_bytes();
            let directory = limits::PACKAGE + block.len();
            refused!(signing::split([vec![0; limits::PACKAGE], block, end(directory)].concat()))
        }),
        ("MPKG-Z03", "no ZIP", refused!(container::read(&[0x50; 100]))),
        ("MPKG-Z03", "cut off before the end record", refused!(container::read(&zip[..last - 21]))),
        ("MPKG-Z04", "a byte behind", whole(|a| a.after = vec![0])),
        ("MPKG-Z05", "a comment", whole(|a| a.comment = b"hello".to_vec())),
        ("MPKG-Z05", "a comment's length alone", {
            let mut zip = zip.clone();
            zip[last] = 1;
            refused!(container::read(&zip))
        }),
        ("MPKG-Z06", "disk 1", whole(|a| a.disk = 1)),
        ("MPKG-Z06", "two counts", whole(|a| a.count_total = Some(3))),
        ("MPKG-Z07", "count of ZIP64", whole(|a| a.count = Some(0xFFFF))),
        ("MPKG-Z07", "size of ZIP64", whole(|a| a.directory_size = Some(u32::MAX))),
        ("MPKG-Z07", "offset of ZIP64", whole(|a| a.directory_offset = Some(u32::MAX))),
        ("MPKG-Z08", "one entry too many", read(&archive(many))),
        ("MPKG-Z08", "written", refused!(container::write(&many_names))),
        ("MPKG-Z09", "directory too small", whole(|a| a.directory_size = Some(5))),
        ("MPKG-Z09", "directory outside", whole(|a| a.directory_offset = Some(1 << 30))),
        ("MPKG-Z09", "bytes between directory and end", whole(|a| a.after_directory = vec![0])),
        ("MPKG-Z10", "fewer counted", whole(|a| a.count = Some(1))),
        ("MPKG-Z10", "more counted", whole(|a| a.count = Some(3))),
        ("MPKG-Z10", "junk counted to the directory", {
            let mut a = archive(vec![manifest()]);
            a.after_directory = vec![0; 50];
            let size = 46 + "manifest.json".len() as u32 + 50;
            a.directory_size = Some(size);
            read(&a)
        }),
        ("MPKG-Z10", "a header without its signature", patched(&zip, b"PK\x01\x02", 0, b'X')),
        ("MPKG-Z10", "a name that reaches into the end record", patched(&zip, b"PK\x01\x02", 28, 14)),
        ("MPKG-Z11", "encrypted", entry(|e| e.flags = 1)),
        ("MPKG-Z11", "UTF-8 names", entry(|e| e.flags = 0x800)),
        ("MPKG-Z11", "data descriptor", entry(|e| e.flags = 8)),
        ("MPKG-Z12", "deflated", entry(|e| e.method = 8)),
        ("MPKG-Z13", "extra field", entry(|e| e.extra = vec![1, 0, 0, 0])),
        ("MPKG-Z13", "entry comment", entry(|e| e.comment = b"c".to_vec())),
        ("MPKG-Z14", "a large file", entry(|e| e.data = large.clone())),
        ("MPKG-Z14", "a large file written", {
            refused!(container::write(&[("manifest.json", &b"{}"[..]), ("a", &large)]))
        }),
        ("MPKG-Z14", "a large manifest", {
            read(&archive(vec![raw("manifest.json", vec![b' '; limits::MANIFEST + 1])]))
        }),
        (
            "MPKG-Z14",
            "a size that is not there",
            entry(|e| (e.full, e.stored) = (Some(1 << 31), Some(1 << 31))),
        ),
        ("MPKG-Z15", "up", names(&[b"../a"])),
        ("MPKG-Z15", "absolute", names(&[b"/a"])),
        ("MPKG-Z15", "backslash", names(&[b"a\\b"])),
        ("MPKG-Z15", "folder", names(&[b"a/"])),
        ("MPKG-Z15", "hidden", names(&[b".a"])),
        ("MPKG-Z15", "trailing dot", names(&[b"a."])),
        ("MPKG-Z15", "device", names(&[b"con.txt"])),
        ("MPKG-Z15", "NUL", names(&[b"a\0b"])),
        ("MPKG-Z15", "escape sequence", names(&[b"\x1b[2J"])),
        ("MPKG-Z15", "not UTF-8", names(&[b"\xff"])),
        ("MPKG-Z15", "not ASCII", names(&["é".as_bytes()])),
        ("MPKG-Z15", "nothing", names(&[b""])),
        ("MPKG-Z15", "256 bytes", names(&[&[b'a'; 256]])),
        (
            "MPKG-Z15",
            "17 levels",
            names(&["a/".repeat(16).as_bytes(), b"a"].concat().chunks(33).collect::<Vec<_>>()),
        ),
        ("MPKG-Z15", "written", write(&["manifest.json", "../a"])),
        ("MPKG-Z16", "twice", names(&[b"a", b"a"])),
        ("MPKG-Z16", "upper and lower case", names(&[b"A", b"a"])),
        ("MPKG-Z16", "the manifest's name", names(&[b"Manifest.json"])),
        ("MPKG-Z16", "written", write(&["manifest.json", "A", "a"])),
        ("MPKG-Z17", "file as folder", names(&[b"a", b"a/b"])),
        ("MPKG-Z17", "not neighbours", names(&[b"a", b"a-b", b"a/b"])),
        ("MPKG-Z17", "in another case", names(&[b"A/b/c", b"a/b"])),
        ("MPKG-Z17", "in the manifest", names(&[b"manifest.json/a"])),
        ("MPKG-Z17", "written", write(&["manifest.json", "a", "a-b", "a/b"])),
        ("MPKG-Z18", "no entry", read(&archive(vec![]))),
        ("MPKG-Z18", "another first", read(&archive(vec![raw("a", "x"), manifest()]))),
        ("MPKG-Z18", "no manifest", read(&archive(vec![raw("a", "x")]))),
        ("MPKG-Z18", "written", write(&["a"])),
        ("MPKG-Z19", "descending", names(&[b"b", b"a"])),
        ("MPKG-Z20", "claims more", entry(|e| e.full = Some(9))),
        ("MPKG-Z21", "bytes before", whole(|a| a.before = vec![0])),
        ("MPKG-Z21", "overlap", entry(|e| e.offset = Some(0))),
        ("MPKG-Z22", "bytes before the directory", whole(|a| a.before_directory = vec![0])),
        ("MPKG-Z22", "reaches into the directory", entry(|e| (e.full, e.stored) = (Some(10), Some(10)))),
        ("MPKG-Z22", "reaches out of the file", entry(|e| (e.full, e.stored) = (Some(9999), Some(9999)))),
        ("MPKG-Z23", "another local name", entry(|e| e.local_name = Some(b"b".to_vec()))),
        ("MPKG-Z23", "a date", entry(|e| e.date = 0x22)),
        ("MPKG-Z24", "checksum", entry(|e| e.crc = Some(0))),
        ("MPKG-Z25", "the mark", entry(|e| e.data = mark.to_vec())),
        ("MPKG-Z25", "the mark, written", {
            refused!(container::write(&[("manifest.json", &b"{}"[..]), ("a", &mark)]))
        }),
        ("MPKG-Z26", "made by Unix", entry(|e| e.made_by = 0x031E)),
        ("MPKG-Z26", "attributes", entry(|e| e.external = 0x8180_0000)),
    ]
}
