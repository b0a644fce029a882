//! Why bytes are not a package.

use thiserror::Error;

use super::entries::EntryProblem;
use crate::limits;

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
    #[error(
        "the end record counts {entries} entries, but the central directory holds something else: see byte {offset}"
    )]
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
