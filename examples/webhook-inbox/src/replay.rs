//! Each webhook once: the ids of those that were taken, for as long as their timestamps would still be believed.

use std::collections::BTreeMap;

use mpkg_sdk::{Error, storage};

const PREFIX: &str = "seen/";

/// What was taken, and until when that matters.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    until_ms: BTreeMap<String, i64>,
}

impl Seen {
    /// A restart must not open the door to replays, so ids are in storage.
    pub(crate) fn open() -> Result<Self, Error> {
        let mut seen = Self::default();
        for key in storage::keys(PREFIX)? {
            let until = storage::get(&key)?.unwrap_or(i64::MAX);
            seen.until_ms.insert(key.strip_prefix(PREFIX).unwrap_or(&key).to_owned(), until);
        }
        Ok(seen)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.until_ms.contains_key(key)
    }

    pub(crate) fn add(&mut self, key: &str, until_ms: i64) -> Result<(), Error> {
        storage::set(&format!("{PREFIX}{key}"), &until_ms)?;
        self.until_ms.insert(key.to_owned(), until_ms);
        Ok(())
    }

    /// Forgets ids whose timestamps are too old by now to be believed anyway.
    pub(crate) fn sweep(&mut self, now_ms: i64) -> Result<(), Error> {
        let old: Vec<String> =
            self.until_ms.iter().filter(|(_, until)| **until < now_ms).map(|(key, _)| key.clone()).collect();
        for key in old {
            storage::delete(&format!("{PREFIX}{key}"))?;
            self.until_ms.remove(&key);
        }
        Ok(())
    }
}
