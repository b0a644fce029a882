//! What the fake host answers by itself.

use serde_json::{Value, json};

use super::{Published, State};
use crate::{Error, base64};

/// The longest JSON text of one value.
const MAX_VALUE: usize = 256 * 1024;

pub(super) fn answer(state: &mut State, method: &str, params: &Value) -> Result<Value, Error> {
    match method {
        "log.write" => {
            let level = serde_json::from_value(param(params, "level")?.clone())
                .map_err(|error| Error::invalid_params("level", error))?;
            state.logs.push((level, text(params, "message")?.to_owned()));
            Ok(Value::Null)
        }
        "clock.now" => Ok(json!({ "unix_ms": state.clock_ms })),
        "clock.monotonic" => Ok(json!({ "nanos": state.monotonic.as_nanos() as u64 })),
        "random.bytes" => {
            let length = param(params, "length")?.as_u64().filter(|length| (1..=65_536).contains(length));
            let length = length.ok_or_else(|| Error::invalid_params("length", "must be 1 to 65536"))?;
            let bytes: Vec<u8> = (0..length).map(|_| next_random(&mut state.random)).collect();
            Ok(json!({ "base64": base64::encode(&bytes) }))
        }
        "timers.set" | "timers.clear" | "timers.list" => timers(state, method, params),
        "storage.transaction" => transaction(state, params),
        "storage.clear" => {
            let keys = std::mem::take(&mut state.storage).len();
            Ok(json!({ "keys": keys }))
        }
        "storage.watch" => {
            state.watched.insert(text(params, "prefix")?.to_owned());
            Ok(json!({}))
        }
        "storage.unwatch" => Ok(json!({ "existed": state.watched.remove(text(params, "prefix")?) })),
        "storage.get" | "storage.set" | "storage.delete" | "storage.list" | "storage.usage" => {
            storage(state, method, params)
        }
        "events.publish" => {
            let published =
                Published { topic: text(params, "topic")?.to_owned(), data: param(params, "data")?.clone() };
            state.published.push(published);
            Ok(json!({ "id": format!("e{}", state.published.len()) }))
        }
        "events.subscribe" => {
            state.topics.insert(text(params, "topic")?.to_owned());
            Ok(json!({}))
        }
        "events.unsubscribe" => {
            state.topics.remove(text(params, "topic")?);
            Ok(json!({}))
        }
        "notifications.show" => {
            state.notifications.push((text(params, "title")?.to_owned(), text(params, "body")?.to_owned()));
            Ok(json!({ "id": format!("n{}", state.notifications.len()) }))
        }
        "clipboard.read" => Ok(json!({ "text": state.clipboard })),
        "clipboard.write" => {
            state.clipboard = text(params, "text")?.to_owned();
            Ok(json!({}))
        }
        "files.read" | "files.write" | "files.delete" | "files.list" | "files.stat" | "files.usage" => {
            files(state, method, params)
        }
        _ => Err(Error::Unavailable(format!(
            "the fake host does not know `{method}`: teach it with FakeHost::on"
        ))),
    }
}

fn storage(state: &mut State, method: &str, params: &Value) -> Result<Value, Error> {
    match method {
        "storage.get" => {
            let found = state.storage.get(key(params)?);
            let value = found.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
            Ok(json!({ "value": value, "found": found.is_some() }))
        }
        "storage.set" => {
            let key = key(params)?;
            let value = param(params, "value")?.to_string();
            if value.len() > MAX_VALUE {
                let message = format!("a value of {} bytes is more than {MAX_VALUE}", value.len());
                return Err(Error::TooLarge(message));
            }
            let before = state.storage.get(key).map_or(0, |old| key.len() + old.len());
            let after = used(state) - before as u64 + (key.len() + value.len()) as u64;
            if after > state.quota_bytes {
                return Err(Error::QuotaExceeded {
                    used_bytes: used(state),
                    quota_bytes: state.quota_bytes,
                    message: format!("{after} bytes would be more than the quota of {}", state.quota_bytes),
                });
            }
            state.storage.insert(key.to_owned(), value);
            Ok(json!({}))
        }
        "storage.delete" => Ok(json!({ "existed": state.storage.remove(key(params)?).is_some() })),
        "storage.list" => {
            let prefix = params.get("prefix").and_then(Value::as_str).unwrap_or_default();
            let after = params.get("after").and_then(Value::as_str);
            let limit = params.get("limit").and_then(Value::as_u64).unwrap_or(100).min(1000) as usize;
            let mut keys: Vec<&String> = state
                .storage
                .keys()
                .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
                .take(limit + 1)
                .collect();
            let more = keys.len() > limit;
            keys.truncate(limit);
            Ok(json!({ "keys": keys, "more": more }))
        }
        _ => Ok(json!({
            "used_bytes": used(state),
            "quota_bytes": state.quota_bytes,
            "keys": state.storage.len(),
        })),
    }
}

/// On a copy, so that a step that fails undoes those before it.
fn transaction(state: &mut State, params: &Value) -> Result<Value, Error> {
    let list = |name: &str| params.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for condition in list("if") {
        let key = key(&condition)?;
        let stored = state.storage.get(key).map(|value| serde_json::from_str::<Value>(value));
        let stored = stored.transpose().map_err(|error| Error::Internal(error.to_string()))?;
        if stored.as_ref() != condition.get("equals") {
            let message = format!("`{key}` is not as the transaction supposes");
            return Err(Error::Conflict { key: key.to_owned(), message });
        }
    }
    let before = state.storage.clone();
    for op in list("ops") {
        let done = match (op.get("set"), op.get("delete")) {
            (Some(set), None) => storage(state, "storage.set", set),
            (None, Some(delete)) => storage(state, "storage.delete", delete),
            _ => Err(Error::invalid_params("ops", "each must be `set` or `delete`")),
        };
        if let Err(error) = done {
            state.storage = before;
            return Err(error);
        }
    }
    Ok(json!({}))
}

fn timers(state: &mut State, method: &str, params: &Value) -> Result<Value, Error> {
    match method {
        "timers.set" => {
            let after = param(params, "after_ms")?.as_u64();
            let after = after.ok_or_else(|| Error::invalid_params("after_ms", "must be a whole number"))?;
            let every = params.get("every_ms").and_then(Value::as_u64);
            let id = params.get("id").and_then(Value::as_str).map(str::to_owned);
            let id = id.unwrap_or_else(|| format!("timer-{}", state.timers.len() + 1));
            state.timers.insert(id.clone(), (after, every));
            Ok(json!({ "id": id }))
        }
        "timers.clear" => Ok(json!({ "existed": state.timers.remove(text(params, "id")?).is_some() })),
        _ => {
            let shown = state.timers.iter();
            let shown: Vec<Value> = shown
                .map(|(id, (after, every))| json!({ "id": id, "left_ms": after, "every_ms": every }))
                .collect();
            Ok(json!({ "timers": shown }))
        }
    }
}

fn files(state: &mut State, method: &str, params: &Value) -> Result<Value, Error> {
    match method {
        "files.read" => {
            let path = text(params, "path")?;
            let contents = state.files.get(path);
            let contents = contents.ok_or_else(|| Error::Refused(format!("there is no file `{path}`")))?;
            let number = |name: &str| params.get(name).and_then(Value::as_u64).map(|n| n as usize);
            let bytes = base64::decode(method, contents)?;
            let rest = bytes.get(number("offset").unwrap_or(0)..).unwrap_or_default();
            let part = rest.get(..number("length").unwrap_or(rest.len())).unwrap_or(rest);
            let more = part.len() < rest.len();
            Ok(json!({ "base64": base64::encode(part), "size": bytes.len(), "more": more }))
        }
        "files.write" => {
            let path = text(params, "path")?;
            let mut bytes = match params.get("text").and_then(Value::as_str) {
                Some(text) => text.as_bytes().to_vec(),
                None => base64::decode(method, text(params, "base64")?)?,
            };
            let append = params.get("append").and_then(Value::as_bool).unwrap_or(false);
            if let Some(before) = state.files.get(path).filter(|_| append) {
                bytes = [base64::decode(method, before)?, bytes].concat();
            }
            state.files.insert(path.to_owned(), base64::encode(&bytes));
            Ok(json!({}))
        }
        "files.stat" => {
            let contents = state.files.get(text(params, "path")?);
            let Some(contents) = contents else { return Ok(json!({ "found": false })) };
            Ok(json!({ "found": true, "size": base64::decode(method, contents)?.len() }))
        }
        "files.usage" => {
            let sizes =
                state.files.values().map(|text| base64::decode(method, text).map(|bytes| bytes.len()));
            let used = sizes.sum::<Result<usize, Error>>()?;
            let files = state.files.len();
            Ok(
                json!({ "used_bytes": used, "quota_bytes": state.quota_bytes, "files": files, "max_files": 1000 }),
            )
        }
        "files.delete" => Ok(json!({ "existed": state.files.remove(text(params, "path")?).is_some() })),
        _ => {
            let prefix = params.get("prefix").and_then(Value::as_str).unwrap_or_default();
            let paths: Vec<&String> = state.files.keys().filter(|path| path.starts_with(prefix)).collect();
            Ok(json!({ "paths": paths }))
        }
    }
}

fn param<'a>(params: &'a Value, name: &str) -> Result<&'a Value, Error> {
    params.get(name).ok_or_else(|| Error::invalid_params(name, "is missing"))
}

fn text<'a>(params: &'a Value, name: &str) -> Result<&'a str, Error> {
    param(params, name)?.as_str().ok_or_else(|| Error::invalid_params(name, "must be text"))
}

fn key(params: &Value) -> Result<&str, Error> {
    let key = text(params, "key")?;
    if (1..=256).contains(&key.len()) {
        Ok(key)
    } else {
        Err(Error::invalid_params("key", format!("must be 1 to 256 bytes long, not {}", key.len())))
    }
}

fn used(state: &State) -> u64 {
    state.storage.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum()
}

/// SplitMix64, a byte at a time: the same in every run.
fn next_random(state: &mut u64) -> u8 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 56) as u8
}
