//! The block's own encoding.

use thiserror::Error;

use crate::bytes::{u32_at, u64_at};
use crate::limits;

/// The last 16 bytes of every signing block.
pub const MAGIC: [u8; 16] = *b"mpkg sig block 1";

const SIZE: usize = 8;
const PAIR_HEAD: usize = 8;
/// The first size, the second size and the magic: a block without pairs.
const EMPTY: usize = SIZE + SIZE + MAGIC.len();

/// Types of pairs.
pub mod kind {
    /// Set in a type that a reader must refuse when it does not know it.
    pub const CRITICAL: u32 = 1 << 31;
    /// The chain of publisher roots.
    pub const ROOTS: u32 = CRITICAL | 1;
    /// The release: a DSSE envelope around the release statement.
    pub const RELEASE: u32 = CRITICAL | 2;
    /// The permission grant: a DSSE envelope around it.
    pub const GRANT: u32 = CRITICAL | 3;

    pub(super) const KNOWN: [u32; 3] = [ROOTS, RELEASE, GRANT];
}

/// Why bytes are not a signing block. Offsets are bytes from the start of the file that was read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BlockError {
    /// A detached signature that does not end as one.
    #[error("this is not a signature file: it does not end with the mark of a signing block")]
    NoMagic {
        /// Where the mark would be.
        offset: usize,
    },
    /// A size that cannot be.
    #[error("the signing block says that it has {size} bytes, which cannot be")]
    Size {
        /// The size read.
        size: u64,
        /// Where.
        offset: usize,
    },
    /// Above the limit.
    #[error("the signing block has {size} bytes, the limit is {}", limits::BLOCK)]
    TooLarge {
        /// Its size.
        size: u64,
        /// Where it says so.
        offset: usize,
    },
    /// The two sizes differ.
    #[error("the signing block's first size is {first}, its last is {last}")]
    SizesDiffer {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
        /// Where the first is.
        offset: usize,
    },
    /// Pairs do not fill the block exactly.
    #[error("the signing block's parts do not fill it exactly: see byte {offset}")]
    Fill {
        /// Where the part begins.
        offset: usize,
    },
    /// Types out of order or twice.
    #[error("part type 0x{kind:08x} of the signing block comes after 0x{previous:08x}; types ascend")]
    Order {
        /// The type before.
        previous: u32,
        /// The type out of order.
        kind: u32,
        /// Where it is.
        offset: usize,
    },
    /// A critical type that this version does not know.
    #[error(
        "the signing block holds part type 0x{kind:08x}, which must be understood and is not; a newer mpkg may"
    )]
    UnknownCritical {
        /// The type.
        kind: u32,
        /// Where it is.
        offset: usize,
    },
}

impl BlockError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoMagic { .. } => "MPKG-B01",
            Self::Size { .. } => "MPKG-B02",
            Self::TooLarge { .. } => "MPKG-B03",
            Self::SizesDiffer { .. } => "MPKG-B04",
            Self::Fill { .. } => "MPKG-B05",
            Self::Order { .. } => "MPKG-B06",
            Self::UnknownCritical { .. } => "MPKG-B07",
        }
    }

    /// The byte the complaint is about.
    pub fn offset(&self) -> usize {
        match self {
            Self::NoMagic { offset }
            | Self::Size { offset, .. }
            | Self::TooLarge { offset, .. }
            | Self::SizesDiffer { offset, .. }
            | Self::Fill { offset }
            | Self::Order { offset, .. }
            | Self::UnknownCritical { offset, .. } => *offset,
        }
    }
}

/// One part of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its type, one of [`kind`].
    pub kind: u32,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// A signing block: parts in ascending order of type, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Block {
    pairs: Vec<Pair>,
}

impl Block {
    /// A block of these parts, put in order. Fails where a reader would refuse it: a type twice, a critical one
    /// that is unknown, too many bytes.
    pub fn new(pairs: Vec<Pair>) -> Result<Self, BlockError> {
        let block = Self::of(pairs);
        Self::parse(&block.to_bytes())?;
        Ok(block)
    }

    /// A block of parts that are known to fit.
    pub(crate) fn of(mut pairs: Vec<Pair>) -> Self {
        pairs.sort_by_key(|pair| pair.kind);
        Self { pairs }
    }

    /// The parts, in order.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The bytes of the part of this type.
    pub fn get(&self, kind: u32) -> Option<&[u8]> {
        self.pairs.iter().find(|pair| pair.kind == kind).map(|pair| pair.value.as_slice())
    }

    /// The block's bytes, which are also those of a detached signature file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let pairs: usize = self.pairs.iter().map(|pair| PAIR_HEAD + pair.value.len()).sum();
        let size = ((pairs + SIZE + MAGIC.len()) as u64).to_le_bytes();
        let mut out = Vec::with_capacity(EMPTY + pairs);
        out.extend_from_slice(&size);
        for pair in &self.pairs {
            out.extend_from_slice(&pair.kind.to_le_bytes());
            out.extend_from_slice(&(pair.value.len() as u32).to_le_bytes());
            out.extend_from_slice(&pair.value);
        }
        out.extend_from_slice(&size);
        out.extend_from_slice(&MAGIC);
        out
    }

    /// Reads a detached signature file.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let start = start(bytes, bytes.len())?;
        if start != 0 {
            return Err(BlockError::Size { size: (bytes.len() - start - SIZE) as u64, offset: 0 });
        }
        read(bytes, 0)
    }
}

/// Where the block that ends at `end` begins; its sizes are checked.
pub(super) fn start(bytes: &[u8], end: usize) -> Result<usize, BlockError> {
    let before = bytes.get(..end).unwrap_or_default();
    if !before.ends_with(&MAGIC) {
        return Err(BlockError::NoMagic { offset: end.saturating_sub(MAGIC.len()) });
    }
    let offset = (end - MAGIC.len()).saturating_sub(SIZE);
    let last = u64_at(before, offset).unwrap_or_default();
    if last > (limits::BLOCK - SIZE) as u64 {
        return Err(BlockError::TooLarge { size: last.saturating_add(SIZE as u64), offset });
    }
    let whole = last as usize + SIZE;
    if whole < EMPTY || whole > end {
        return Err(BlockError::Size { size: last, offset });
    }
    let start = end - whole;
    let first = u64_at(before, start).unwrap_or_default();
    if first != last {
        return Err(BlockError::SizesDiffer { first, last, offset: start });
    }
    Ok(start)
}

/// Reads the parts of a whole block whose sizes are right. `base` is where it begins in its file.
pub(super) fn read(block: &[u8], base: usize) -> Result<Block, BlockError> {
    let end = block.len() - SIZE - MAGIC.len();
    let (mut pairs, mut at, mut previous) = (Vec::new(), SIZE, None);
    while at != end {
        let fill = BlockError::Fill { offset: base + at };
        let inside = block.get(at..end).unwrap_or_default();
        let (Some(kind), Some(length)) = (u32_at(inside, 0), u32_at(inside, 4)) else { return Err(fill) };
        // An order leaves one way to write a block, and no part can be there twice with two readers choosing.
        if let Some(previous) = previous
            && previous >= kind
        {
            return Err(BlockError::Order { previous, kind, offset: base + at });
        }
        if kind & kind::CRITICAL != 0 && !kind::KNOWN.contains(&kind) {
            return Err(BlockError::UnknownCritical { kind, offset: base + at });
        }
        let value_end = PAIR_HEAD.saturating_add(length as usize);
        let Some(value) = inside.get(PAIR_HEAD..value_end) else { return Err(fill) };
        pairs.push(Pair { kind, value: value.to_vec() });
        previous = Some(kind);
        at += value_end;
    }
    Ok(Block { pairs })
}
