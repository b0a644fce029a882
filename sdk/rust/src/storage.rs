//! Key-value storage of this app and user; it survives restarts and updates. Permission `storage`.
//!
//! A key is 1 to 256 bytes long, a value at most 256 KiB of JSON text. Everything together counts against the
//! manifest's `storage.quota_bytes`: beyond it, or beyond 65 536 keys, [`set`] fails with [`Error::QuotaExceeded`] and
//! nothing is written.

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

/// Forgets every key; tells how many there were.
pub fn clear() -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Cleared {
        keys: u64,
    }
    bridge::request(bridge::storage, "storage.clear", &Empty {}).map(|answer: Cleared| answer.keys)
}

/// Several changes that happen together or not at all.
///
/// ```
/// use mpkg_sdk::{Error, storage};
/// # let host = mpkg_sdk::testing::FakeHost::new();
/// storage::Transaction::new().absent("count").set("count", &1)?.commit()?;
/// let again = storage::Transaction::new().absent("count").set("count", &1)?.commit();
/// assert!(matches!(again, Err(Error::Conflict { key, .. }) if key == "count"));
/// storage::Transaction::new().equals("count", &1)?.set("count", &2)?.delete("draft").commit()?;
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, Serialize)]
#[must_use = "nothing happens before `commit`"]
pub struct Transaction {
    ops: Vec<serde_json::Value>,
    r#if: Vec<serde_json::Value>,
}

impl Transaction {
    /// A transaction that does nothing yet. It takes up to 256 changes and 256 conditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if `key` has this value, however it is written.
    pub fn equals<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Result<Self, Error> {
        self.r#if.push(serde_json::json!({ "key": key, "equals": to_value(key, value)? }));
        Ok(self)
    }

    /// Only if `key` has no value.
    pub fn absent(mut self, key: &str) -> Self {
        self.r#if.push(serde_json::json!({ "key": key, "absent": true }));
        self
    }

    /// Stores `value` under `key`.
    pub fn set<T: Serialize + ?Sized>(mut self, key: &str, value: &T) -> Result<Self, Error> {
        self.ops.push(serde_json::json!({ "set": { "key": key, "value": to_value(key, value)? } }));
        Ok(self)
    }

    /// Forgets `key`.
    pub fn delete(mut self, key: &str) -> Self {
        self.ops.push(serde_json::json!({ "delete": { "key": key } }));
        self
    }

    /// Carries it out. [`Error::Conflict`] names the key that is not as supposed; [`Error::QuotaExceeded`] if what
    /// would be stored afterwards is too much. Nothing has changed then.
    pub fn commit(self) -> Result<(), Error> {
        bridge::request(bridge::storage, "storage.transaction", &self).map(|_: Ignored| ())
    }
}

fn to_value<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<serde_json::Value, Error> {
    serde_json::to_value(value)
        .map_err(|error| Error::Internal(format!("the value of `{key}` cannot be written as JSON: {error}")))
}

#[derive(Serialize)]
struct Prefix<'a> {
    prefix: &'a str,
}

/// `storage.changed`: others changed what this instance watches.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Changed {
    /// The keys, each once however often it changed.
    pub keys: Vec<String>,
    /// Further keys changed, too many to name.
    pub more: bool,
}

/// From now on, and as long as this instance runs, `storage.changed` tells what other instances of this app and user, and
/// the host, change below `prefix`: take it with `#[on("storage.changed")] fn changed(&mut self, event: storage::Changed)`.
pub fn watch(prefix: &str) -> Result<(), Error> {
    bridge::request(bridge::storage, "storage.watch", &Prefix { prefix }).map(|_: Ignored| ())
}

/// From now on it does not.
pub fn unwatch(prefix: &str) -> Result<(), Error> {
    bridge::request(bridge::storage, "storage.unwatch", &Prefix { prefix }).map(|_: Ignored| ())
}
