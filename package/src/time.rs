//! Times in signed documents: `2026-01-31T12:00:00Z`, one spelling for one second.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A second in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

/// From 1970-01-01T00:00:00Z to 9998-12-31T23:59:59Z: years of four digits that every calendar library knows.
const RANGE: std::ops::RangeInclusive<i64> = 0..=253_370_764_799;

impl Time {
    /// Seconds since 1970, in the years from 1970 to 9998.
    pub fn from_unix(seconds: i64) -> Option<Self> {
        (RANGE.contains(&seconds) && Timestamp::from_second(seconds).is_ok()).then_some(Self(seconds))
    }

    /// Seconds since 1970.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Reads the one spelling; offsets, fractions and lower case are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let time = Self::from_unix(text.parse::<Timestamp>().ok()?.as_second())?;
        (time.to_string() == text).then_some(time)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.0) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%SZ")),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a time in UTC such as 2026-01-31T12:00:00Z"))
    }
}
