//! Who comes first in a rollout.
//!
//! The formula is that of flagd's `fractional`, version 3, with 10 000 buckets: MurmurHash3 (x86, 32 bits, seed 0) of
//! the CBOR (RFC 8949, core deterministic) of the array `[salt, unit]`, mapped by multiplication instead of a
//! remainder, so that no bucket is favoured. A salt of its own for each release keeps the unlucky first five percent from
//! being the same people every time.
//!
//! Never decide by bucket who may use something or what is switched off: whoever chooses a unit's name chooses its
//! bucket.

use std::io::Cursor;

use serde::{Deserialize, Serialize};

use crate::types::BasisPoints;

/// The number of buckets: one for each hundredth of a percent.
pub const BUCKETS: u32 = 10_000;

/// The bucket of these bytes among `total`.
///
/// ```
/// use mpkg_fleet::bucket;
/// // MurmurHash3 of nothing is 0.
/// assert_eq!(bucket(b"", 100), 0);
/// ```
pub fn bucket(bytes: &[u8], total: u32) -> u32 {
    // Reading from memory cannot fail.
    let hash = murmur3::murmur3_32(&mut Cursor::new(bytes), 0).unwrap_or_default();
    // Below `total`, which is 32 bits.
    ((u64::from(hash) * u64::from(total)) >> 32) as u32
}

/// The bucket of a unit (a device or a user, as its host likes) in the rollout with this salt, from 0 to 9 999.
///
/// ```
/// use mpkg_fleet::bucket_of;
/// assert_eq!(bucket_of("r-17", "device-1"), bucket_of("r-17", "device-1"));
/// assert_ne!(bucket_of("r-17", "device-1"), bucket_of("r-18", "device-1"));
/// ```
pub fn bucket_of(salt: &str, unit: &str) -> u32 {
    bucket(&cbor(salt, unit), BUCKETS)
}

pub(crate) fn cbor(salt: &str, unit: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(salt.len() + unit.len() + 11);
    // Two strings always encode, and writing to memory cannot fail.
    let _ = ciborium::into_writer(&[salt, unit], &mut bytes);
    bytes
}

/// Which part of the comparison a unit belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// Gets the release.
    Treatment,
    /// Keeps the baseline and is compared with the treatment.
    Control,
    /// Neither.
    Neither,
}

/// The arm of a bucket. Treatment grows from the low end and control lies at the high end, so the two are disjoint,
/// and whoever is in the treatment stays in it while the percentage grows.
///
/// ```
/// use mpkg_fleet::{Arm, BasisPoints, arm};
/// let five = BasisPoints::new(500).unwrap();
/// assert_eq!(arm(499, five, five.control()), Arm::Treatment);
/// assert_eq!(arm(500, five, five.control()), Arm::Neither);
/// assert_eq!(arm(9_500, five, five.control()), Arm::Control);
/// ```
pub fn arm(bucket: u32, percent: BasisPoints, control: BasisPoints) -> Arm {
    if bucket < u32::from(percent.get()) {
        Arm::Treatment
    } else if bucket >= BUCKETS - u32::from(control.get()) {
        Arm::Control
    } else {
        Arm::Neither
    }
}
