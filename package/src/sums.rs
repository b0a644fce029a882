//! Checksums taken on the way while a package is hashed.
//!
//! A package is read for its digest and, once that is the signed one, for the CRC-32 of each file. Reading it twice
//! costs more than computing: so the first pass keeps the CRC-32 of the package's beginnings, chunk by chunk while
//! each is in the processor's cache, and that of a large file follows from two of them. Nothing in the package is
//! looked at for that.

use std::ops::Range;

use crc32fast::Hasher;
use sha2::{Digest as _, Sha256};

use crate::digest::{Digest, Hash};

/// Fits into the cache of one core.
const CHUNK: usize = 64 << 10;

/// CRC-32 of a package's beginnings.
pub(crate) struct Sums {
    /// Of the first 0, 1, 2, … chunks.
    beginnings: Vec<u32>,
}

impl Sums {
    /// The digest of these bytes, and their checksums.
    pub(crate) fn digest(bytes: &[u8]) -> (Digest, Self) {
        let (mut sha, mut crc) = (Sha256::new(), Hasher::new());
        let mut beginnings = Vec::with_capacity(bytes.len() / CHUNK + 1);
        for chunk in bytes.chunks(CHUNK) {
            beginnings.push(crc.clone().finalize());
            crc.update(chunk);
            sha.update(chunk);
        }
        if bytes.len().is_multiple_of(CHUNK) {
            beginnings.push(crc.finalize());
        }
        (Digest { sha256: Hash(sha.finalize().into()), size: bytes.len() as u64 }, Self { beginnings })
    }

    /// The CRC-32 of a part of the same bytes.
    pub(crate) fn part(&self, bytes: &[u8], range: Range<usize>) -> u32 {
        let (first, last) = (range.start.div_ceil(CHUNK), range.end / CHUNK);
        let whole = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        let (Some(before), Some(through)) = (self.beginnings.get(first), self.beginnings.get(last)) else {
            return crc32fast::hash(whole(range.start, range.end));
        };
        if last <= first {
            return crc32fast::hash(whole(range.start, range.end));
        }
        // The CRC of A and B in a row is that of A, moved by B's length, xor that of B.
        let length = ((last - first) * CHUNK) as u64;
        let middle = through ^ append(Hasher::new_with_initial(*before), 0, length).finalize();
        let mut head = Hasher::new();
        head.update(whole(range.start, first * CHUNK));
        let mut crc = append(head, middle, length);
        crc.update(whole(last * CHUNK, range.end));
        crc.finalize()
    }
}

/// As if bytes of this CRC and length had come next.
fn append(mut crc: Hasher, next: u32, length: u64) -> Hasher {
    crc.combine(&Hasher::new_with_initial_len(next, length));
    crc
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Sums};
    use crate::digest::Digest;

    #[test]
    fn every_part_has_the_checksum_of_its_own_bytes() {
        let bytes: Vec<u8> =
            (0..5 * CHUNK as u32 + 77).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK, 5 * CHUNK + 77] {
            let bytes = &bytes[..length];
            let (digest, sums) = Sums::digest(bytes);
            assert_eq!(digest, Digest::of(bytes));
            let edges =
                [0, 1, 43, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5, 4 * CHUNK - 1, length];
            for from in edges {
                for to in edges {
                    if from <= to && to <= length {
                        assert_eq!(
                            sums.part(bytes, from..to),
                            crc32fast::hash(&bytes[from..to]),
                            "{from}..{to}"
                        );
                    }
                }
            }
        }
    }
}
