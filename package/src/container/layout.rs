//! The one byte form: every header as a function of names and contents.

use crate::bytes::join;

pub(crate) const LOCAL: [u8; 4] = *b"PK\x03\x04";
pub(crate) const CENTRAL: [u8; 4] = *b"PK\x01\x02";
pub(crate) const END: [u8; 4] = *b"PK\x05\x06";

pub(crate) const LOCAL_LEN: usize = 30;
pub(crate) const CENTRAL_LEN: usize = 46;
pub(crate) const END_LEN: usize = 22;

const VERSION: [u8; 2] = 10u16.to_le_bytes();
const ZERO2: [u8; 2] = [0; 2];
const ZERO4: [u8; 4] = [0; 4];
/// 1980-01-01, the earliest date a ZIP can hold: a build time would make every build different.
const DATE: [u8; 2] = 0x0021u16.to_le_bytes();

/// What headers say about one entry.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub name: &'a str,
    pub crc: u32,
    pub size: u32,
}

impl Facts<'_> {
    fn name_len(&self) -> [u8; 2] {
        (self.name.len() as u16).to_le_bytes()
    }

    /// The header in front of the contents; the name follows it.
    pub(crate) fn local_header(&self) -> [u8; LOCAL_LEN] {
        let (crc, size) = (self.crc.to_le_bytes(), self.size.to_le_bytes());
        //     signature, needed,  flags,  method, time,   date,  crc,  stored, full,  name length,      extra
        join(&[&LOCAL, &VERSION, &ZERO2, &ZERO2, &ZERO2, &DATE, &crc, &size, &size, &self.name_len(), &ZERO2])
    }

    /// The header in the central directory; the name follows it.
    pub(crate) fn central_header(&self, offset: u32) -> [u8; CENTRAL_LEN] {
        let (crc, size) = (self.crc.to_le_bytes(), self.size.to_le_bytes());
        join(&[
            &CENTRAL,
            &VERSION, // made by: 1.0, MS-DOS, the only host without attributes of its own
            &VERSION, // needed to extract
            &ZERO2,   // flags
            &ZERO2,   // method: stored
            &ZERO2,   // time
            &DATE,
            &crc,
            &size,
            &size,
            &self.name_len(),
            &ZERO2, // extra length
            &ZERO2, // comment length
            &ZERO2, // disk
            &ZERO2, // internal attributes
            &ZERO4, // external attributes
            &offset.to_le_bytes(),
        ])
    }
}

/// The record that ends the file.
pub(crate) fn end_record(entries: u16, directory_size: u32, directory_offset: u32) -> [u8; END_LEN] {
    let count = entries.to_le_bytes();
    let (size, offset) = (directory_size.to_le_bytes(), directory_offset.to_le_bytes());
    join(&[&END, &ZERO2, &ZERO2, &count, &count, &size, &offset, &ZERO2])
}

/// Produces the bytes of a package, piece by piece and in order. Writing appends the pieces, reading compares
/// them with what it was given: there is one encoder, and no second copy of a package to compare with.
pub(crate) fn derive<'a, E>(
    entries: impl Iterator<Item = (Facts<'a>, &'a [u8])> + Clone,
    mut piece: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    for (facts, contents) in entries.clone() {
        piece(&facts.local_header())?;
        piece(facts.name.as_bytes())?;
        piece(contents)?;
    }
    let (mut count, mut offset, mut directory) = (0u16, 0usize, 0usize);
    for (facts, contents) in entries {
        piece(&facts.central_header(offset as u32))?;
        piece(facts.name.as_bytes())?;
        count += 1;
        offset += LOCAL_LEN + facts.name.len() + contents.len();
        directory += CENTRAL_LEN + facts.name.len();
    }
    piece(&end_record(count, directory as u32, offset as u32))
}
