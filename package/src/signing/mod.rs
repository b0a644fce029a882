//! The signing block: where it stands in a package, what it holds, and its detached form.
//!
//! `u64 size | {u32 type, u32 length, bytes}* | u64 size | magic`, little-endian, directly before the central
//! directory. Both sizes count what follows the first of them. A detached signature is the same bytes in a file of
//! its own.

mod block;
mod place;

pub use block::{Block, BlockError, MAGIC, Pair, kind};
pub use place::{Split, SplitError, embed, is_signed, split};

/// Whether bytes end as a signing block does.
pub(crate) fn ends_with_mark(bytes: &[u8]) -> bool {
    bytes.ends_with(&MAGIC)
}
