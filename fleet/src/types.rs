//! Values that several documents share.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use mpkg_package::Digest;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest [`Token`], in bytes.
pub const MAX_TOKEN_BYTES: usize = 64;

/// A name that machines compare: a platform, region, segment, permission, method or salt. Lower case, so that it has
/// one spelling, and safe to print.
///
/// ```
/// use mpkg_fleet::Token;
/// assert!("eu-west.1".parse::<Token>().is_ok());
/// assert!("DE".parse::<Token>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Token {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Token {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = |byte: u8| plain(byte) || matches!(byte, b'.' | b'_' | b'-');
        let fits = !text.is_empty() && text.len() <= MAX_TOKEN_BYTES;
        if fits && text.bytes().all(inner) && text.bytes().next().is_some_and(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected a name of 1 to 64 characters: a-z or 0-9, then also . _ -")
        }
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A share in hundredths of a percent: 10 000 is everybody.
///
/// ```
/// use mpkg_fleet::BasisPoints;
/// assert_eq!(BasisPoints::new(500).unwrap().to_string(), "5 %");
/// assert_eq!(BasisPoints::new(10_001), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// Everybody.
    pub const ALL: Self = Self(10_000);
    /// Nobody.
    pub const NONE: Self = Self(0);

    /// A share from 0 to 10 000.
    pub const fn new(points: u16) -> Option<Self> {
        if points <= 10_000 { Some(Self(points)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The control arm beside this share: as large, as far as there is room.
    pub const fn control(self) -> Self {
        let rest = 10_000 - self.0;
        if rest < self.0 { Self(rest) } else { self }
    }
}

impl fmt::Display for BasisPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole} %"),
            (whole, part) => write!(f, "{whole}.{part:02} %"),
        }
    }
}

impl Serialize for BasisPoints {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for BasisPoints {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(deserializer)?)
            .ok_or_else(|| serde::de::Error::custom("expected 0 to 10000 hundredths of a percent"))
    }
}

/// One release of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRef {
    /// Hash and length of the unsigned package.
    pub package: Digest,
    /// The number that grows with each release.
    pub release_seq: u64,
    /// The version for people.
    pub version: Version,
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (release {})", self.version, self.release_seq)
    }
}

/// Where a document stands among its predecessors. Epochs compare first: a registry that was restored from a backup
/// begins a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// From 1.
    pub epoch: u64,
    /// From 1 within an epoch.
    pub seq: u64,
}

impl Position {
    /// Whether `self` comes directly after `other`.
    pub fn follows(self, other: Self) -> bool {
        self.epoch == other.epoch && other.seq.checked_add(1) == Some(self.seq)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = &'static str;

    /// Reads `epoch.seq`, as a stream's `Last-Event-ID` has it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers =
            text.split_once('.').and_then(|(epoch, seq)| Some((epoch.parse().ok()?, seq.parse().ok()?)));
        match numbers.map(|(epoch, seq)| Self { epoch, seq }) {
            // One spelling: no sign, no leading zeros.
            Some(position) if position.to_string() == text => Ok(position),
            _ => Err("expected a position such as 1.42"),
        }
    }
}

/// Release sequences, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeqRange {
    /// The first.
    pub from: u64,
    /// The last; without one, all that follow.
    pub to: Option<u64>,
}

impl SeqRange {
    /// Whether it is in the range.
    pub fn contains(&self, seq: u64) -> bool {
        seq >= self.from && self.to.is_none_or(|to| seq <= to)
    }
}

/// Versions from one, before another, by SemVer precedence: `2.0.0-beta` is before `2.0.0`, and what follows `+` does
/// not count.
///
/// ```
/// use mpkg_fleet::VersionRange;
/// let range: VersionRange = serde_json::from_str(r#"{"min": "1.2.0", "below": "2.0.0"}"#).unwrap();
/// assert!(range.contains(&"1.2.0+build".parse().unwrap()));
/// assert!(range.contains(&"2.0.0-beta".parse().unwrap()));
/// assert!(!range.contains(&"2.0.0".parse().unwrap()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRange {
    /// The first that is in; without one, all before the end.
    pub min: Option<Version>,
    /// The first that is not.
    pub below: Option<Version>,
}

impl VersionRange {
    /// Whether it is in the range.
    pub fn contains(&self, version: &Version) -> bool {
        let reaches = |min: &Version| version.cmp_precedence(min) != Ordering::Less;
        let stays = |below: &Version| version.cmp_precedence(below) == Ordering::Less;
        self.min.as_ref().is_none_or(reaches) && self.below.as_ref().is_none_or(stays)
    }

    /// Whether nothing can be in it.
    pub fn is_empty(&self) -> bool {
        match (&self.min, &self.below) {
            (Some(min), Some(below)) => min.cmp_precedence(below) != Ordering::Less,
            _ => false,
        }
    }
}
