//! Putting a block into a package and taking it out again.

use thiserror::Error;

use super::block::{Block, BlockError, read, start};
use super::ends_with_mark;
use crate::container::{ContainerError, END_LEN, EntryProblem, Tail};
use crate::limits;

/// Where the end record holds the central directory's offset.
const DIRECTORY_OFFSET: usize = 16;

/// Why a file cannot be taken apart into package and signing block.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SplitError {
    /// Its end is not that of a package.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// Its signing block is damaged.
    #[error(transparent)]
    Block(#[from] BlockError),
}

impl SplitError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Container(error) => error.code(),
            Self::Block(error) => error.code(),
        }
    }

    /// The byte the complaint is about.
    pub fn offset(&self) -> usize {
        match self {
            Self::Container(error) => error.offset(),
            Self::Block(error) => error.offset(),
        }
    }
}

/// A file taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The package without its block: what is hashed, stored and served.
    pub unsigned: Vec<u8>,
    /// The block, if there was one.
    pub block: Option<Block>,
}

/// Whether a file carries a signing block, or something that pretends to be one. Nothing of it is checked.
pub fn is_signed(bytes: &[u8]) -> bool {
    let tail = Tail::read(bytes, limits::SIGNED);
    tail.is_ok_and(|tail| bytes.get(..tail.directory).is_some_and(ends_with_mark))
}

/// Takes the signing block out of a package, in place. A package without one stays as it is.
///
/// The contents are not judged here; only the end record and the block are.
pub fn split(mut bytes: Vec<u8>) -> Result<Split, SplitError> {
    let tail = Tail::read(&bytes, limits::SIGNED)?;
    if !bytes.get(..tail.directory).is_some_and(ends_with_mark) {
        if bytes.len() > limits::PACKAGE {
            let (size, limit) = (bytes.len(), limits::PACKAGE);
            return Err(ContainerError::TooLarge { size, limit }.into());
        }
        return Ok(Split { unsigned: bytes, block: None });
    }
    let from = start(&bytes, tail.directory)?;
    let block = read(bytes.get(from..tail.directory).unwrap_or_default(), from)?;
    let removed = tail.directory - from;
    bytes.drain(from..tail.directory);
    set_directory(&mut bytes, tail.end - removed, from);
    if bytes.len() > limits::PACKAGE {
        let (size, limit) = (bytes.len(), limits::PACKAGE);
        return Err(ContainerError::TooLarge { size, limit }.into());
    }
    Ok(Split { unsigned: bytes, block: Some(block) })
}

/// Puts a signing block into an unsigned package. [`split`] gives back both, bit for bit.
pub fn embed(unsigned: &[u8], block: &Block) -> Result<Vec<u8>, ContainerError> {
    let tail = Tail::read(unsigned, limits::PACKAGE)?;
    let (before, after) = unsigned.split_at_checked(tail.directory).unwrap_or_default();
    // Two blocks, one in front of the other, would make "the package without its block" mean two things.
    if ends_with_mark(before) {
        let problem = EntryProblem::LooksSigned { name: "the last entry".to_owned() };
        return Err(ContainerError::Entry { problem, offset: tail.directory - super::MAGIC.len() });
    }
    let block = block.to_bytes();
    let mut out = Vec::with_capacity(unsigned.len() + block.len());
    out.extend_from_slice(before);
    out.extend_from_slice(&block);
    out.extend_from_slice(after);
    set_directory(&mut out, tail.end + block.len(), tail.directory + block.len());
    Ok(out)
}

fn set_directory(bytes: &mut [u8], end: usize, offset: usize) {
    debug_assert_eq!(end + END_LEN, bytes.len());
    let at = end + DIRECTORY_OFFSET;
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.copy_from_slice(&(offset as u32).to_le_bytes());
    }
}
