//! `storage`: key-value pairs of one app and one user, within a quota. Permission `storage`.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Bridge, Caller};
use crate::data::{StoreRefusal, StoreWriteError, Usage};
use crate::rpc::{RpcError, code};

/// The longest key, in bytes.
const KEY: usize = 256;
/// The longest value, in bytes of JSON text.
const VALUE: usize = 256 * 1024;
/// The most keys one `storage.list` gives.
const PAGE: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    key: String,
    value: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize)]
struct Found {
    value: Box<RawValue>,
    found: bool,
}

#[derive(Serialize)]
struct Done {}

#[derive(Serialize)]
struct Deleted {
    existed: bool,
}

#[derive(Serialize)]
struct Listed {
    keys: Vec<String>,
    more: bool,
}

#[derive(Serialize)]
struct Used {
    used_bytes: u64,
    quota_bytes: u64,
    keys: u64,
}

fn check_key(key: &str) -> Result<(), RpcError> {
    if key.is_empty() || key.len() > KEY {
        return Err(RpcError::invalid_params(format!(
            "`key` has {} bytes; it must have from 1 to {KEY}.",
            key.len()
        )));
    }
    Ok(())
}

/// Runs `work` where it may wait for the disk: a guest cannot be stopped while the host blocks on its thread.
async fn on_disk<T: Send + 'static>(
    caller: &Caller,
    work: impl FnOnce(&Caller) -> Result<T, StoreWriteError> + Send + 'static,
) -> Result<T, RpcError> {
    let caller = caller.clone();
    match tokio::task::spawn_blocking(move || work(&caller)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(StoreWriteError::Refused(StoreRefusal::Quota { used, wanted, quota }))) => Err(RpcError::new(
            code::QUOTA_EXCEEDED,
            format!("Storing this would take {wanted} bytes in all; the quota is {quota}."),
        )
        .with_data(json!({ "used_bytes": used, "quota_bytes": quota }))),
        Ok(Err(StoreWriteError::Data(error))) => {
            tracing::error!(%error, "storage failed");
            Err(RpcError::internal())
        }
        Err(_cancelled_or_panicked) => Err(RpcError::internal()),
    }
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("storage")
        .method("storage.get", |caller, Key { key }| async move {
            check_key(&key)?;
            let stored =
                on_disk(&caller, move |c| Ok(c.session.data.kv_get(&c.session.namespace(), &key)?)).await?;
            let found = stored.is_some();
            let value = stored.unwrap_or_else(|| "null".to_owned());
            let value = RawValue::from_string(value).map_err(|error| {
                tracing::error!(%error, "a stored value is not JSON");
                RpcError::internal()
            })?;
            Ok(Found { value, found })
        })
        .method("storage.set", |caller, Set { key, value }| async move {
            check_key(&key)?;
            if value.get().len() > VALUE {
                return Err(RpcError::too_large("`value`", value.get().len(), VALUE));
            }
            on_disk(&caller, move |c| {
                let quota = c.session.storage_quota;
                c.session.data.kv_set(&c.session.namespace(), &key, value.get(), quota)
            })
            .await?;
            Ok(Done {})
        })
        .method("storage.delete", |caller, Key { key }| async move {
            check_key(&key)?;
            let existed =
                on_disk(&caller, move |c| Ok(c.session.data.kv_delete(&c.session.namespace(), &key)?))
                    .await?;
            Ok(Deleted { existed })
        })
        .method("storage.list", |caller, List { prefix, after, limit }| async move {
            let limit = limit.unwrap_or(100).clamp(1, PAGE);
            let (keys, more) = on_disk(&caller, move |c| {
                Ok(c.session.data.kv_list(&c.session.namespace(), &prefix, after.as_deref(), limit)?)
            })
            .await?;
            Ok(Listed { keys, more })
        })
        .method("storage.usage", |caller, _: Nothing| async move {
            let Usage { bytes, keys } =
                on_disk(&caller, |c| Ok(c.session.data.kv_usage(&c.session.namespace())?)).await?;
            Ok(Used { used_bytes: bytes, quota_bytes: caller.session.storage_quota, keys })
        })
}
