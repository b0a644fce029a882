//! Patches between packages: what changed from one release to the next, instead of all of it.
//!
//! A patch is one frame of Zstandard ([RFC 8878](https://www.rfc-editor.org/rfc/rfc8878)) with the old package as the
//! text before it, which is what `zstd --patch-from` makes. Packages hold their files uncompressed, so that little
//! changes where little was changed.
//!
//! ```
//! use mpkg_package::Digest;
//! use mpkg_registry_client::delta;
//!
//! let old: Vec<u8> = (0..9_999_u32).flat_map(u32::to_le_bytes).collect();
//! let new = [&old[..5_000], b"changed", &old[5_000..]].concat();
//! let patch = delta::make(&old, &new)?;
//! assert!(patch.len() < 100);
//! assert_eq!(delta::apply(&old, &patch, Digest::of(&new))?, new);
//! # Ok::<_, delta::DeltaError>(())
//! ```

use mpkg_package::{Digest, limits};
use thiserror::Error;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, compress_bound, get_frame_content_size};

/// Measured: a higher one takes ten times as long and makes patches that are a few per cent shorter.
const LEVEL: i32 = 9;
/// 128 MiB: the longest package before the longest package.
const WINDOW_LOG: u32 = 27;

/// Why there is no patch, or why it made nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DeltaError {
    /// No package is so long.
    #[error("a package has at most {limit} bytes, and this one would have {size}")]
    TooLarge {
        /// What it would have.
        size: u64,
        /// The most.
        limit: u64,
    },
    /// Damaged, or for another package.
    #[error("the patch cannot be read with the package that is there: {0}")]
    Unreadable(&'static str),
    /// It inflates, or says nothing about it.
    #[error("the patch says that it makes {claimed:?} bytes, where the package has {size}")]
    Size {
        /// What it says; perhaps nothing.
        claimed: Option<u64>,
        /// The package's.
        size: u64,
    },
    /// It makes something else.
    #[error("the patch makes {found}, which is not the package that was asked for")]
    Other {
        /// What it makes.
        found: Digest,
    },
    /// Not the patch's fault.
    #[error("there is not enough memory for the patch")]
    Memory,
}

impl DeltaError {
    /// The rule's code; none where the machine is at fault.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge { .. } => Some("MPKG-T01"),
            Self::Unreadable(_) => Some("MPKG-T02"),
            Self::Size { .. } => Some("MPKG-T03"),
            Self::Other { .. } => Some("MPKG-T04"),
            Self::Memory => None,
        }
    }
}

fn unreadable(code: usize) -> DeltaError {
    DeltaError::Unreadable(zstd_safe::get_error_name(code))
}

fn bounded(size: u64) -> Result<usize, DeltaError> {
    let fits = usize::try_from(size).ok().filter(|size| *size <= limits::PACKAGE);
    fits.ok_or(DeltaError::TooLarge { size, limit: limits::PACKAGE as u64 })
}

/// Makes the patch that leads from one package to the other. For packages of 12 MB it takes half a second, and memory
/// for a few times the longer one.
pub fn make(old: &[u8], new: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let (before, length) = (bounded(old.len() as u64)?, bounded(new.len() as u64)?);
    let mut context = CCtx::try_create().ok_or(DeltaError::Memory)?;
    // All of the old one stays in reach until the end of the new one.
    let reach = (before + length).next_power_of_two().trailing_zeros().clamp(10, WINDOW_LOG);
    for parameter in [
        CParameter::CompressionLevel(LEVEL),
        CParameter::EnableLongDistanceMatching(true),
        CParameter::WindowLog(reach),
        // The SHA-256 of what comes out is checked anyway.
        CParameter::ChecksumFlag(false),
    ] {
        context.set_parameter(parameter).map_err(unreadable)?;
    }
    context.ref_prefix(old).map_err(unreadable)?;
    // Room for the longest one comes from the system and goes back to it, and what is not touched costs nothing. Smaller
    // pieces stay with the allocator, one for each thread that ever made a patch.
    let mut patch = Vec::with_capacity(compress_bound(limits::PACKAGE));
    // With room for the worst case, only memory can run out.
    context.compress2(&mut patch, new).map_err(|_| DeltaError::Memory)?;
    patch.shrink_to_fit();
    Ok(patch)
}

/// Makes the new package from the old one. It takes memory for the new one and no more, whatever the patch says: what
/// comes out goes to where it stays, so that there is no window besides.
pub fn apply(old: &[u8], patch: &[u8], to: Digest) -> Result<Vec<u8>, DeltaError> {
    let length = bounded(to.size)?;
    bounded(old.len() as u64)?;
    // A bomb is refused by what it says of itself, before there is memory for it.
    let claimed = get_frame_content_size(patch).map_err(|_| DeltaError::Unreadable("no frame"))?;
    if claimed != Some(to.size) {
        return Err(DeltaError::Size { claimed, size: to.size });
    }
    let mut context = DCtx::try_create().ok_or(DeltaError::Memory)?;
    context.ref_prefix(old).map_err(unreadable)?;
    let mut new = vec![0; length];
    // What it makes beyond its own word ends here: there is no room for it.
    let made = context.decompress(new.as_mut_slice(), patch).map_err(unreadable)?;
    new.truncate(made);
    let found = Digest::of(&new);
    if found == to { Ok(new) } else { Err(DeltaError::Other { found }) }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Bytes that no compression shortens, and that come again.
    fn noise(length: usize, seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        std::iter::repeat_with(next).flat_map(u64::to_le_bytes).take(length).collect()
    }

    /// A package and the next: parts of the old one, in another order and with others between them.
    fn versions() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
        let part = prop_oneof![
            (any::<prop::sample::Index>(), 0_usize..5_000).prop_map(|(at, length)| Err((at, length))),
            vec(any::<u8>(), 0..300).prop_map(Ok),
        ];
        (vec(any::<u8>(), 0..200), 0_usize..20_000, any::<u64>(), vec(part, 0..8)).prop_map(
            |(head, length, seed, parts)| {
                let old = [head, noise(length, seed)].concat();
                let mut new = Vec::new();
                for part in parts {
                    match part {
                        Ok(bytes) => new.extend(bytes),
                        Err((at, length)) => {
                            let at = at.index(old.len() + 1);
                            new.extend(&old[at..(at + length).min(old.len())]);
                        }
                    }
                }
                (old, new)
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_made_is_applied((old, new) in versions()) {
            let patch = make(&old, &new).unwrap();
            prop_assert!(patch.len() <= compress_bound(new.len()));
            prop_assert_eq!(apply(&old, &patch, Digest::of(&new)), Ok(new));
        }

        #[test]
        fn no_bytes_make_anything_else(
            old in vec(any::<u8>(), 0..500), patch in vec(any::<u8>(), 0..500), new in vec(any::<u8>(), 0..500),
        ) {
            if let Ok(made) = apply(&old, &patch, Digest::of(&new)) {
                prop_assert_eq!(made, new);
            }
        }

        #[test]
        fn a_damaged_patch_makes_the_same_or_nothing(
            (old, new) in versions(), at in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<prop::sample::Index>(),
        ) {
            let patch = make(&old, &new).unwrap();
            let mut flipped = patch.clone();
            flipped[at.index(patch.len())] ^= 1 << bit;
            for damaged in [&flipped[..], &patch[..cut.index(patch.len())], &[&patch[..], &patch[..]].concat()] {
                if let Ok(made) = apply(&old, damaged, Digest::of(&new)) {
                    prop_assert_eq!(&made, &new);
                }
            }
        }
    }

    #[test]
    fn a_large_package_that_hardly_changed_takes_a_small_patch() {
        // Longer than the windows of ordinary levels, and the change is at the far end of it.
        let old = noise(24 << 20, 1);
        let new = [&old[12 << 20..], b"changed", &old[..12 << 20]].concat();
        let patch = make(&old, &new).unwrap();
        assert!(patch.len() < 4_096, "{}", patch.len());
        assert_eq!(apply(&old, &patch, Digest::of(&new)).unwrap(), new);
    }

    #[test]
    fn the_largest_packages_are_in_reach_of_each_other() {
        let old = noise(limits::PACKAGE, 1);
        let mut new = old.clone();
        new[7] ^= 1;
        let patch = make(&old, &new).unwrap();
        assert!(patch.len() < 65_536, "{}", patch.len());
        assert_eq!(apply(&old, &patch, Digest::of(&new)).unwrap(), new);
        let longer = vec![0; limits::PACKAGE + 1];
        for error in [make(&longer, b"").unwrap_err(), make(b"", &longer).unwrap_err()] {
            assert_eq!(error.code(), Some("MPKG-T01"));
        }
        let to = Digest { size: u64::MAX, ..Digest::of(b"") };
        assert_eq!(apply(b"", &patch, to).unwrap_err().code(), Some("MPKG-T01"));
    }

    #[test]
    fn a_patch_that_inflates_makes_nothing() {
        let (old, new) = (noise(4_096, 1), noise(1_000, 2));
        let to = Digest::of(&new);
        // It says so itself.
        let bomb = make(&old, &vec![0; 32 << 20]).unwrap();
        assert!(bomb.len() < 8_192, "{}", bomb.len());
        let claimed = Some(32 << 20);
        assert_eq!(apply(&old, &bomb, to), Err(DeltaError::Size { claimed, size: 1_000 }));
        // It says nothing: a stream of unknown length.
        let silent = zstd::stream::encode_all(&vec![0; 1_000][..], 3).unwrap();
        assert_eq!(apply(&old, &silent, to), Err(DeltaError::Size { claimed: None, size: 1_000 }));
        // It lies: a header of 1 000 bytes, then blocks of 128 KiB each, in four bytes. RFC 8878, section 3.1.1.
        let mut liar = vec![0x28, 0xB5, 0x2F, 0xFD, 0b0100_0000, 0x58, (1_000_u16 - 256) as u8, 2];
        for last in [0, 0, 1] {
            let block: u32 = last | 1 << 1 | (128 << 10) << 3;
            liar.extend(&block.to_le_bytes()[..3]);
            liar.push(0);
        }
        assert!(matches!(get_frame_content_size(&liar), Ok(Some(1_000))));
        assert_eq!(apply(&old, &liar, to).unwrap_err().code(), Some("MPKG-T02"));
        // Another frame after the first.
        let twice = make(&old, &new).unwrap().repeat(2);
        assert_eq!(apply(&old, &twice, to).unwrap_err().code(), Some("MPKG-T02"));
    }

    #[test]
    fn a_patch_for_another_package_makes_nothing() {
        let (old, other) = (noise(100_000, 1), noise(100_000, 2));
        let new = [&old[..], b"more"].concat();
        let patch = make(&old, &new).unwrap();
        let to = Digest::of(&new);
        assert!(matches!(apply(&other, &patch, to), Err(DeltaError::Other { .. })));
        // Parts of what it needs are not there at all.
        assert_eq!(apply(&other[..9], &patch, to).unwrap_err().code(), Some("MPKG-T02"));
        let asked = Digest { sha256: mpkg_package::Hash::of(b"else"), ..to };
        assert_eq!(apply(&old, &patch, asked), Err(DeltaError::Other { found: to }));
    }

    #[test]
    fn every_refusal_has_a_rule() {
        let text = DeltaError::Unreadable("x");
        let found = Digest::of(b"");
        let all = [
            DeltaError::TooLarge { size: 1, limit: 1 },
            text,
            DeltaError::Size { claimed: None, size: 1 },
            DeltaError::Other { found },
        ];
        let used: Vec<_> = all.iter().filter_map(DeltaError::code).collect();
        assert_eq!(used, crate::RULES.iter().map(|rule| rule.code).collect::<Vec<_>>());
    }
}
