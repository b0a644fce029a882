//! Reading a package that may be hostile.
//!
//! The checks on the way give bounded work and an explanation. The last step derives what the one encoder writes
//! for the names and contents found and compares: whatever a check forgot, that step refuses.

use std::ops::Range;

use thiserror::Error;

use super::entries::{EntryProblem, check_name, check_names, check_size};
use super::layout::{CENTRAL, CENTRAL_LEN, Facts, LOCAL_LEN, derive};
use super::tail::Tail;
use crate::bytes::{array, first_difference, u16_at, u32_at};
use crate::{limits, signing};

/// Why bytes are not a package. Offsets are bytes from the start of what was read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ContainerError {
    /// Not even an end record fits.
    #[error("{size} bytes are too few for a package")]
    TooShort {
        /// Their number.
        size: usize,
    },
    /// Larger than any package.
    #[error("{size} bytes are too many for a package, the limit is {limit}")]
    TooLarge {
        /// Their number.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// No ZIP at all, or one that was cut off.
    #[error("there is no end record at byte {offset}: this is not a package, or it was cut off")]
    NoEnd {
        /// Where it would be.
        offset: usize,
    },
    /// Bytes after the end record.
    #[error(
        "the end record is at byte {found} and bytes follow it; in a package it is the last 22 bytes, at {expected}"
    )]
    EndNotLast {
        /// Where one was found.
        found: usize,
        /// Where it has to be.
        expected: usize,
    },
    /// An archive comment.
    #[error("the archive has a comment")]
    Comment {
        /// Where its length is.
        offset: usize,
    },
    /// Parts on several disks.
    #[error("the archive says that it spans several disks")]
    SeveralDisks {
        /// Where it says so.
        offset: usize,
    },
    /// ZIP64 markers.
    #[error("the archive asks for ZIP64 records")]
    Zip64 {
        /// Where it does.
        offset: usize,
    },
    /// Too many entries.
    #[error("{entries} entries are too many, the limit is {}", limits::ENTRIES)]
    TooManyEntries {
        /// Their number.
        entries: usize,
        /// Where it stands.
        offset: usize,
    },
    /// The central directory is not what lies before the end record.
    #[error(
        "the central directory is said to be {directory_size} bytes from byte {directory}, which does not end at the end record at byte {end}"
    )]
    DirectoryBounds {
        /// Where it is said to begin.
        directory: usize,
        /// Its said size.
        directory_size: usize,
        /// Where the end record is.
        end: usize,
        /// Where that is said.
        offset: usize,
    },
    /// A central header is missing or cut off, or there are more than the end record counts.
    #[error("the central directory does not hold exactly {entries} headers: see byte {offset}")]
    Directory {
        /// The number the end record gives.
        entries: usize,
        /// Where a header should be, or is too many.
        offset: usize,
    },
    /// Flags: encryption, data descriptor, UTF-8.
    #[error("entry {index} has flags 0x{flags:04x}; a package uses none")]
    Flags {
        /// Which entry.
        index: usize,
        /// The flags.
        flags: u16,
        /// Where they are.
        offset: usize,
    },
    /// A compressed entry.
    #[error("entry {index} has compression method {method}; a package stores its files as they are")]
    Method {
        /// Which entry.
        index: usize,
        /// The method.
        method: u16,
        /// Where it is.
        offset: usize,
    },
    /// Extra fields or an entry comment.
    #[error("entry {index} has an extra field or a comment")]
    Extra {
        /// Which entry.
        index: usize,
        /// Where its length is.
        offset: usize,
    },
    /// The two sizes of a stored entry differ.
    #[error("entry {index} has {stored} stored bytes but claims {full}")]
    Sizes {
        /// Which entry.
        index: usize,
        /// The stored size.
        stored: usize,
        /// The claimed size.
        full: usize,
        /// Where they are.
        offset: usize,
    },
    /// A rule about names and sizes.
    #[error("{problem}")]
    Entry {
        /// Which.
        problem: EntryProblem,
        /// Where the entry's central header is.
        offset: usize,
    },
    /// Contents do not lie one after the other.
    #[error("entry {index} is said to begin at byte {found}, but the one before ends at byte {expected}")]
    Gap {
        /// Which entry.
        index: usize,
        /// Where it is said to be.
        found: usize,
        /// Where it has to be.
        expected: usize,
        /// Where that is said.
        offset: usize,
    },
    /// Contents reach into the central directory, or end before it.
    #[error("the files end at byte {found}, but the central directory begins at byte {expected}")]
    Unaccounted {
        /// Where files end.
        found: usize,
        /// Where the directory begins.
        expected: usize,
        /// The first byte in question.
        offset: usize,
    },
    /// A local header differs from the central one.
    #[error("the local header of entry {index} differs from the central directory at byte {offset}")]
    Local {
        /// Which entry.
        index: usize,
        /// The first differing byte.
        offset: usize,
    },
    /// A checksum is wrong.
    #[error("the contents of entry {index} have CRC 0x{computed:08x}, the archive says 0x{stated:08x}")]
    Crc {
        /// Which entry.
        index: usize,
        /// What the contents have.
        computed: u32,
        /// What is stated.
        stated: u32,
        /// Where it is stated.
        offset: usize,
    },
    /// Anything else that the encoder would have written differently.
    #[error("byte {offset} is 0x{found:02x}; the one way to write these files has 0x{expected:02x} there")]
    NotCanonical {
        /// Where.
        offset: usize,
        /// The byte found.
        found: u8,
        /// The byte the encoder writes.
        expected: u8,
    },
}

impl ContainerError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "MPKG-Z01",
            Self::TooLarge { .. } => "MPKG-Z02",
            Self::NoEnd { .. } => "MPKG-Z03",
            Self::EndNotLast { .. } => "MPKG-Z04",
            Self::Comment { .. } => "MPKG-Z05",
            Self::SeveralDisks { .. } => "MPKG-Z06",
            Self::Zip64 { .. } => "MPKG-Z07",
            Self::TooManyEntries { .. } => "MPKG-Z08",
            Self::DirectoryBounds { .. } => "MPKG-Z09",
            Self::Directory { .. } => "MPKG-Z10",
            Self::Flags { .. } => "MPKG-Z11",
            Self::Method { .. } => "MPKG-Z12",
            Self::Extra { .. } => "MPKG-Z13",
            Self::Sizes { .. } => "MPKG-Z20",
            Self::Entry { problem, .. } => problem.code(),
            Self::Gap { .. } => "MPKG-Z21",
            Self::Unaccounted { .. } => "MPKG-Z22",
            Self::Local { .. } => "MPKG-Z23",
            Self::Crc { .. } => "MPKG-Z24",
            Self::NotCanonical { .. } => "MPKG-Z26",
        }
    }

    /// The byte the complaint is about.
    pub fn offset(&self) -> usize {
        match self {
            Self::TooShort { .. } => 0,
            Self::TooLarge { limit, .. } => *limit,
            Self::EndNotLast { found, .. } => *found,
            Self::NoEnd { offset }
            | Self::Comment { offset }
            | Self::SeveralDisks { offset }
            | Self::Zip64 { offset }
            | Self::TooManyEntries { offset, .. }
            | Self::DirectoryBounds { offset, .. }
            | Self::Directory { offset, .. }
            | Self::Flags { offset, .. }
            | Self::Method { offset, .. }
            | Self::Extra { offset, .. }
            | Self::Sizes { offset, .. }
            | Self::Entry { offset, .. }
            | Self::Gap { offset, .. }
            | Self::Unaccounted { offset, .. }
            | Self::Local { offset, .. }
            | Self::Crc { offset, .. }
            | Self::NotCanonical { offset, .. } => *offset,
        }
    }
}

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
    let tail = Tail::read(bytes, limits::PACKAGE)?;
    let entries = directory(bytes, &tail)?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name).collect();
    check_names(&names).map_err(|(index, problem)| {
        let offset = entries.get(index).map_or(tail.end, |entry| entry.header);
        ContainerError::Entry { problem, offset }
    })?;
    contents(bytes, &tail, &entries)?;
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
        let raw = bytes.get(at + CENTRAL_LEN..name_end.min(tail.end)).unwrap_or_default();
        if name_end > tail.end {
            return Err(short(at + CENTRAL_LEN));
        }
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
fn contents(bytes: &[u8], tail: &Tail, entries: &[Entry<'_>]) -> Result<(), ContainerError> {
    for (index, entry) in entries.iter().enumerate() {
        let (facts, data) = entry.facts();
        let start = entry.offset - LOCAL_LEN - entry.name.len();
        let found = bytes.get(start..entry.offset).unwrap_or_default();
        let (header, name) = found.split_at_checked(LOCAL_LEN).unwrap_or_default();
        // A reader that trusts local headers and one that trusts the directory must see the same files.
        let differs = first_difference(header, &facts.local_header())
            .or_else(|| first_difference(name, entry.name.as_bytes()).map(|at| at + LOCAL_LEN));
        if let Some(at) = differs {
            return Err(ContainerError::Local { index, offset: start + at });
        }
        let computed = crc32fast::hash(data);
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
