//! The fixed-offset end of a package: the end record and where it says the central directory is.

use super::error::ContainerError;
use super::layout::{END, END_LEN};
use crate::bytes::{array, u16_at, u32_at};
use crate::limits;

/// What the end record says, after its own checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub entries: usize,
    pub directory: usize,
    pub end: usize,
}

/// How far back a ZIP reader searches for an end record.
const SEARCH: usize = END_LEN + 0xFFFF;

impl Tail {
    /// Reads the last 22 bytes. `limit` is the largest file this may be.
    pub(crate) fn read(bytes: &[u8], limit: usize) -> Result<Self, ContainerError> {
        let size = bytes.len();
        // A file is judged by its size before by anything else, so that nothing of it has to be looked at.
        if size > limit {
            return Err(ContainerError::TooLarge { size, limit });
        }
        if size < END_LEN {
            return Err(ContainerError::TooShort { size });
        }
        let end = size - END_LEN;
        // ZIP readers search backwards for the end record, and two readers can find two of them: the zip
        // comment and trailing bytes are how. Here it is the last 22 bytes or the file is no package.
        if array(bytes, end) != Some(END) {
            return Err(missing_end(bytes, end));
        }
        let field = |at: usize| u16_at(bytes, end + at).unwrap_or_default();
        let long = |at: usize| u32_at(bytes, end + at).unwrap_or_default();
        if field(20) != 0 {
            return Err(ContainerError::Comment { offset: end + 20 });
        }
        if field(4) != 0 || field(6) != 0 || field(8) != field(10) {
            return Err(ContainerError::SeveralDisks { offset: end + 4 });
        }
        // 0xFFFF and 0xFFFFFFFF tell readers to look for ZIP64 records, which some honour and some do not.
        if field(10) == u16::MAX || long(12) == u32::MAX || long(16) == u32::MAX {
            return Err(ContainerError::Zip64 { offset: end + 8 });
        }
        let entries = usize::from(field(10));
        if entries > limits::ENTRIES {
            return Err(ContainerError::TooManyEntries { entries, offset: end + 10 });
        }
        let (directory_size, directory) = (long(12) as usize, long(16) as usize);
        if directory.checked_add(directory_size) != Some(end) {
            return Err(ContainerError::DirectoryBounds { directory, directory_size, end, offset: end + 12 });
        }
        Ok(Self { entries, directory, end })
    }
}

fn missing_end(bytes: &[u8], end: usize) -> ContainerError {
    let from = bytes.len().saturating_sub(SEARCH);
    let window = bytes.get(from..).unwrap_or_default();
    match window.windows(END.len()).rposition(|four| four == END) {
        Some(found) => {
            let found = from + found;
            if u16_at(bytes, found + 20)
                .is_some_and(|comment| found + END_LEN + usize::from(comment) == bytes.len())
            {
                return ContainerError::Comment { offset: found + 20 };
            }
            ContainerError::EndNotLast { found, expected: end }
        }
        None => ContainerError::NoEnd { offset: end },
    }
}
