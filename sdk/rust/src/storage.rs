//! Key-value storage of this app and user; it survives restarts and updates. Permission `storage`.
//!
//! A key is 1 to 256 bytes long, a value at most 256 KiB of JSON text. Everything together counts against the
//! manifest's `storage.quota_bytes`: beyond it, [`set`] fails with [`Error::QuotaExceeded`] and nothing is written.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bridge::{self, Empty, Ignored};

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
}

/// The value of `key`, if it has one. A value of another shape is an error that names the key.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    #[derive(Deserialize)]
    struct Found {
        value: serde_json::Value,
        found: bool,
    }
    let answer: Found = bridge::request(bridge::storage, "storage.get", &Key { key })?;
    if !answer.found {
        return Ok(None);
    }
    serde_json::from_value(answer.value)
        .map(Some)
        .map_err(|error| Error::Internal(format!("what is stored under `{key}` has another shape: {error}")))
}

/// Stores `value` under `key`. When this returns, it is on disk.
pub fn set<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Error> {
    #[derive(Serialize)]
    struct Set<'a, T: ?Sized> {
        key: &'a str,
        value: &'a T,
    }
    bridge::request(bridge::storage, "storage.set", &Set { key, value }).map(|_: Ignored| ())
}

/// Forgets `key`. Tells whether it was there.
pub fn delete(key: &str) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct Deleted {
        existed: bool,
    }
    bridge::request(bridge::storage, "storage.delete", &Key { key }).map(|answer: Deleted| answer.existed)
}

/// One page of keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// In ascending byte order.
    pub keys: Vec<String>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// Up to `limit` (at most 1000) keys that begin with `prefix`, from the one behind `after` on.
pub fn list(prefix: &str, after: Option<&str>, limit: u32) -> Result<Page, Error> {
    #[derive(Serialize)]
    struct List<'a> {
        prefix: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<&'a str>,
        limit: u32,
    }
    bridge::request(bridge::storage, "storage.list", &List { prefix, after, limit })
}

/// Every key that begins with `prefix`, in as many requests as it takes.
pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let page = list(prefix, keys.last().map(String::as_str), 1000)?;
        // A host that promises more and gives none would keep us here for ever.
        let more = page.more && !page.keys.is_empty();
        keys.extend(page.keys);
        if !more {
            return Ok(keys);
        }
    }
}

/// How full the storage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Usage {
    /// Keys and values together.
    pub used_bytes: u64,
    /// What the manifest asked for.
    pub quota_bytes: u64,
    /// How many keys.
    pub keys: u64,
}

/// How full the storage is.
pub fn usage() -> Result<Usage, Error> {
    bridge::request(bridge::storage, "storage.usage", &Empty {})
}
