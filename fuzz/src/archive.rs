//! The container: refused by a known rule, or the one byte form, which every ZIP reader understands alike.

use std::io::{Cursor, Read as _};

use mpkg_package::container::{Container, read, write};
use mpkg_package::signing::{Block, Pair, embed, split};

use crate::check_refusal;

/// Any bytes as a package, as they are and with checksums put right, which random changes never are.
pub fn container(data: &[u8]) {
    judge(data);
    if let Some(repaired) = with_right_checksums(data) {
        judge(&repaired);
    }
}

/// Accepted means: it encodes to itself again, and `zip` and `rawzip` find the same names and contents in it. Begins
/// either with the input as an archive, or with a package of files made from the input and then damaged by it.
pub fn roundtrip(data: &[u8]) {
    container(data);
    let Some((&changes, rest)) = data.split_first() else { return };
    let (damage, rest) = rest.split_at_checked(usize::from(changes % 4) * 3).unwrap_or((&[], rest));
    let files = files(rest);
    let mut archive = match write(&files) {
        Ok(archive) => archive,
        Err(error) => return check_refusal(error.code(), &error.to_string(), None, 0),
    };
    let written: Vec<(String, Vec<u8>)> = judge(&archive).expect("what is written is read");
    let mut sorted = files;
    sorted.sort_by_key(|(name, _)| (name != "manifest.json", name.clone()));
    assert_eq!(written, sorted, "what is read is not what was written");

    for change in damage.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % archive.len();
        archive[at] ^= change[2];
    }
    container(&archive);
}

/// Checks one archive; what it holds, if it is accepted.
fn judge(bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    if let Err(error) = mpkg_package::check(bytes) {
        check_refusal(error.code(), &error.to_string(), error.offset(), bytes.len());
    }
    let container = match read(bytes) {
        Ok(container) => container,
        Err(error) => {
            check_refusal(error.code(), &error.to_string(), Some(error.offset()), bytes.len());
            return None;
        }
    };
    let ours = ours(&container);
    assert_eq!(write(&ours).expect("it was read"), bytes, "an accepted package has another byte form");
    for entry in container.entries() {
        assert_eq!(&bytes[entry.range()], entry.data, "{} lies elsewhere", entry.name);
    }
    assert_eq!(with_zip(bytes), ours, "`zip` reads something else");
    assert_eq!(with_rawzip(bytes), ours, "`rawzip` reads something else");

    // A signing block in the middle hides nothing and adds nothing.
    let block = Block::new(vec![Pair { kind: 1, value: bytes[..bytes.len().min(100)].to_vec() }])
        .expect("a plain block");
    let signed = embed(bytes, &block).expect("an accepted package can be signed");
    assert_eq!(with_zip(&signed), ours, "`zip` reads something else once it is signed");
    assert_eq!(with_rawzip(&signed), ours, "`rawzip` reads something else once it is signed");
    assert!(read(&signed).is_err(), "a signed package was read as an unsigned one");
    let parts = split(signed).expect("it was just signed");
    assert_eq!((parts.unsigned.as_slice(), parts.block), (bytes, Some(block)));
    Some(ours)
}

fn ours(container: &Container<'_>) -> Vec<(String, Vec<u8>)> {
    container.entries().iter().map(|entry| (entry.name.to_owned(), entry.data.to_vec())).collect()
}

/// Names and contents as the `zip` crate finds them.
fn with_zip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("`zip` opens what we accept");
    assert!(archive.comment().is_empty() && archive.offset() == 0);
    (0..archive.len())
        .map(|index| {
            let mut file = archive.by_index(index).expect("`zip` opens every entry");
            assert!(file.is_file() && !file.encrypted());
            let name = std::str::from_utf8(file.name_raw()).expect("names are ASCII").to_owned();
            let mut contents = Vec::new();
            // Checks the checksum too.
            file.read_to_end(&mut contents).expect("`zip` reads every entry");
            (name, contents)
        })
        .collect()
}

/// Names and contents as `rawzip` finds them.
fn with_rawzip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let archive = rawzip::ZipArchive::from_slice(bytes).expect("`rawzip` opens what we accept");
    let (mut entries, mut found) = (archive.entries(), Vec::new());
    while let Some(entry) = entries.next_entry().expect("`rawzip` reads the directory") {
        assert_eq!(entry.compression_method(), rawzip::CompressionMethod::STORE);
        let path = entry.file_path();
        let name = std::str::from_utf8(path.as_ref()).expect("names are ASCII").to_owned();
        assert_eq!(path.try_normalize().expect("names are safe").as_ref(), name);
        let local = archive.get_entry(entry.wayfinder()).expect("`rawzip` finds every entry");
        assert_eq!(local.local_header().file_path().as_ref(), name.as_bytes());
        let mut contents = Vec::new();
        local
            .verifying_reader(local.data())
            .read_to_end(&mut contents)
            .expect("`rawzip` verifies every entry");
        found.push((name, contents));
    }
    assert_eq!(archive.entries_hint(), found.len() as u64);
    found
}

/// Files made from bytes: `{length of the name, name, length of the contents, contents}*`, with a manifest added.
/// Names are bent towards the ones that are allowed.
fn files(mut rest: &[u8]) -> Vec<(String, Vec<u8>)> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopABC012._-/../con";
    let mut take = |most: usize| {
        let length =
            rest.first().map_or(0, |&length| usize::from(length) % most).min(rest.len().saturating_sub(1));
        let part = rest.get(1..1 + length).unwrap_or_default();
        rest = rest.get(1 + length..).unwrap_or_default();
        (part, rest.is_empty())
    };
    let mut files = vec![("manifest.json".to_owned(), take(64).0.to_vec())];
    loop {
        let (name, _) = take(20);
        let name: String = name.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
        let (contents, last) = take(256);
        if !name.is_empty() {
            files.push((name, contents.to_vec()));
        }
        if last {
            return files;
        }
    }
}

/// The same archive with the checksum of each entry's contents in its two headers.
fn with_right_checksums(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = bytes.to_vec();
    let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?)));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let end = bytes.len().checked_sub(22)?;
    let mut at = u32_at(end + 16)?;
    while bytes.get(at..at + 4)? == b"PK\x01\x02" {
        let (local, size) = (u32_at(at + 42)?, u32_at(at + 20)?);
        let start = local.checked_add(30)?.checked_add(u16_at(local.checked_add(26)?)?)?;
        let crc = crc32fast::hash(bytes.get(start..start.checked_add(size)?)?).to_le_bytes();
        out.get_mut(at + 16..at + 20)?.copy_from_slice(&crc);
        out.get_mut(local + 14..local + 18)?.copy_from_slice(&crc);
        at += 46 + u16_at(at + 28)? + u16_at(at + 30)? + u16_at(at + 32)?;
        if at >= end {
            break;
        }
    }
    (out != bytes).then_some(out)
}
