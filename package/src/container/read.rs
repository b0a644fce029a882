//! Reading a package that may be hostile.
//!
//! The checks on the way give bounded work and an explanation. The last step derives what the one encoder writes
//! for the names and contents found and compares: whatever a check forgot, that step refuses.

use std::ops::Range;

use super::entries::{EntryProblem, check_name, check_names, check_size};
use super::error::ContainerError;
use super::layout::{CENTRAL, CENTRAL_LEN, Facts, LOCAL_LEN, derive};
use super::tail::Tail;
use crate::bytes::{array, first_difference, u16_at, u32_at};
use crate::sums::Sums;
use crate::{limits, signing};

/// A file of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its name, safe on every file system.
    pub name: &'a str,
    /// Its contents.
    pub data: &'a [u8],
    /// Where in the package the contents begin.
    pub offset: usize,
    crc: u32,
    header: usize,
}

impl<'a> Entry<'a> {
    /// Where in the package the contents are.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.data.len()
    }

    /// Where in the package the name before the contents is.
    pub(crate) fn name_range(&self) -> Range<usize> {
        self.offset - self.name.len()..self.offset
    }

    fn facts(&self) -> (Facts<'a>, &'a [u8]) {
        (Facts { name: self.name, crc: self.crc, size: self.data.len() as u32 }, self.data)
    }
}

/// A package, proved to be in the one byte form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    entries: Vec<Entry<'a>>,
}

impl<'a> Container<'a> {
    /// The files, `manifest.json` first.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The file of this name.
    pub fn get(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The bytes of `manifest.json`.
    pub fn manifest(&self) -> &'a [u8] {
        self.entries.first().map(|entry| entry.data).unwrap_or_default()
    }
}

/// Reads an unsigned package and proves that its bytes are the only ones for its names and contents.
pub fn read(bytes: &[u8]) -> Result<Container<'_>, ContainerError> {
    read_with(bytes, |entry| crc32fast::hash(entry.data))
}

/// The same for bytes that have been hashed already.
pub(crate) fn read_hashed<'a>(bytes: &'a [u8], sums: &Sums) -> Result<Container<'a>, ContainerError> {
    read_with(bytes, |entry| sums.part(bytes, entry.range()))
}

fn read_with(bytes: &[u8], crc: impl Fn(&Entry<'_>) -> u32) -> Result<Container<'_>, ContainerError> {
    let tail = Tail::read(bytes, limits::PACKAGE)?;
    let entries = directory(bytes, &tail)?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    check_names(&names).map_err(|(index, problem)| {
        let offset = entries.get(index).map_or(tail.end, |entry| entry.header);
        ContainerError::Entry { problem, offset }
    })?;
    contents(bytes, &tail, &entries, crc)?;
    prove(bytes, &entries)?;
    Ok(Container { entries })
}

/// Walks the central directory and finds each entry's contents.
fn directory<'a>(bytes: &'a [u8], tail: &Tail) -> Result<Vec<Entry<'a>>, ContainerError> {
    let short = |offset| ContainerError::Directory { entries: tail.entries, offset };
    let mut entries = Vec::with_capacity(tail.entries);
    let (mut at, mut next) = (tail.directory, 0);
    for index in 0..tail.entries {
        let header = bytes.get(at..tail.end).and_then(|rest| rest.get(..CENTRAL_LEN)).ok_or(short(at))?;
        if array(header, 0) != Some(CENTRAL) {
            return Err(short(at));
        }
        let field = |offset: usize| u16_at(header, offset).unwrap_or_default();
        let long = |offset: usize| u32_at(header, offset).unwrap_or_default();
        if field(8) != 0 {
            return Err(ContainerError::Flags { index, flags: field(8), offset: at + 8 });
        }
        if field(10) != 0 {
            return Err(ContainerError::Method { index, method: field(10), offset: at + 10 });
        }
        if field(30) != 0 || field(32) != 0 {
            return Err(ContainerError::Extra { index, offset: at + 30 });
        }
        let (stored, full) = (long(20) as usize, long(24) as usize);
        if stored != full {
            return Err(ContainerError::Sizes { index, stored, full, offset: at + 20 });
        }
        let name_end = at + CENTRAL_LEN + usize::from(field(28));
        let name_bytes = bytes.get(at + CENTRAL_LEN..name_end).filter(|_| name_end <= tail.end);
        let raw = name_bytes.ok_or(short(at + CENTRAL_LEN))?;
        let complaint = |problem| ContainerError::Entry { problem, offset: at };
        // A name that is not UTF-8 keeps its replacement characters, which no rule for names accepts.
        let lossy = String::from_utf8_lossy(raw);
        check_name(&lossy).map_err(complaint)?;
        let name = std::str::from_utf8(raw).unwrap_or_default();
        check_size(name, full).map_err(complaint)?;

        let found = long(42) as usize;
        if found != next {
            return Err(ContainerError::Gap { index, found, expected: next, offset: at + 42 });
        }
        let offset = next + LOCAL_LEN + name.len();
        next = offset + full;
        let unaccounted = ContainerError::Unaccounted { found: next, expected: tail.directory, offset: at };
        let data = match bytes.get(offset..next) {
            Some(data) if next <= tail.directory => data,
            _ => return Err(unaccounted),
        };
        entries.push(Entry { name, data, offset, crc: long(16), header: at });
        at = name_end;
    }
    if at != tail.end {
        return Err(short(at));
    }
    if next != tail.directory {
        return Err(ContainerError::Unaccounted { found: next, expected: tail.directory, offset: next });
    }
    Ok(entries)
}

/// Compares local headers and checksums with what the directory said.
fn contents(
    bytes: &[u8],
    tail: &Tail,
    entries: &[Entry<'_>],
    crc: impl Fn(&Entry<'_>) -> u32,
) -> Result<(), ContainerError> {
    for (index, entry) in entries.iter().enumerate() {
        let (facts, _) = entry.facts();
        let start = entry.offset - LOCAL_LEN - entry.name.len();
        let found = bytes.get(start..entry.offset).unwrap_or_default();
        let (header, name) = found.split_at_checked(LOCAL_LEN).unwrap_or_default();
        // A reader that trusts local headers and one that trusts the directory must see the same files.
        let differs = first_difference(header, &facts.local_header())
            .or_else(|| first_difference(name, entry.name.as_bytes()).map(|at| at + LOCAL_LEN));
        if let Some(at) = differs {
            return Err(ContainerError::Local { index, offset: start + at });
        }
        let computed = crc(entry);
        if computed != entry.crc {
            let (stated, offset) = (entry.crc, entry.header + 16);
            return Err(ContainerError::Crc { index, computed, stated, offset });
        }
    }
    if let Some(last) = entries.last()
        && bytes.get(..tail.directory).is_some_and(signing::ends_with_mark)
    {
        let problem = EntryProblem::LooksSigned { name: last.name.to_owned() };
        return Err(ContainerError::Entry { problem, offset: tail.directory - signing::MAGIC.len() });
    }
    Ok(())
}

/// Derives the package from its names and contents and compares it with the bytes, without building it.
fn prove(bytes: &[u8], entries: &[Entry<'_>]) -> Result<(), ContainerError> {
    let mut at = 0;
    derive(entries.iter().map(Entry::facts), |piece| {
        let found = bytes.get(at..at + piece.len()).unwrap_or_default();
        // Contents are slices of these very bytes and the cursor says where: comparing them with themselves
        // would read a package once more for nothing.
        if !std::ptr::eq(found, piece)
            && let Some(difference) = first_difference(found, piece)
        {
            return Err(ContainerError::NotCanonical {
                offset: at + difference,
                found: found.get(difference).copied().unwrap_or_default(),
                expected: piece.get(difference).copied().unwrap_or_default(),
            });
        }
        at += piece.len();
        Ok(())
    })?;
    if at == bytes.len() {
        return Ok(());
    }
    Err(ContainerError::Unaccounted { found: at, expected: bytes.len(), offset: at })
}
