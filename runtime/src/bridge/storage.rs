//! `storage`: key-value pairs of one app and one user, within a quota. Permission `storage`.
//!
//! Instances of the same app and user share it. One that watches a prefix is told what the others and the host change:
//! `storage.changed {keys, more}`.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::params::{Deleted, Done, Nothing, Prefix};
use super::{Bridge, Caller, WRITE, blocking};
use crate::data::{COMPARED, Condition, KEYS, Op, StoreRefusal, StoreWriteError, Usage};
use crate::inbox::WATCHES;
use crate::rpc::{RpcError, code};

/// The longest key, in bytes.
const KEY: usize = 256;
/// The longest value, in bytes of JSON text.
const VALUE: usize = 256 * 1024;
/// The most that one transaction writes, in bytes. Who writes waits for the one who is at it: a transaction lasts no longer
/// than the longest value does.
const TRANSACTION: usize = KEY + VALUE;
/// The most keys one `storage.list` gives.
const PAGE: usize = 1000;
/// The most steps, and the most conditions, of one transaction.
const STEPS: usize = 256;

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
struct Transaction {
    ops: Vec<Step>,
    #[serde(default, rename = "if")]
    conditions: Vec<Wanted>,
}

/// `{"set": {"key", "value"}}` or `{"delete": {"key"}}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Set(Set),
    Delete(Key),
}

/// `{"key", "equals"}` or `{"key", "absent": true}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    key: String,
    // `null` is a value to compare with: only a member that is not there is none.
    #[serde(default, deserialize_with = "present")]
    equals: Option<Box<RawValue>>,
    #[serde(default)]
    absent: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(value).map(Some)
}

#[derive(Serialize)]
struct Found {
    value: Box<RawValue>,
    found: bool,
}

#[derive(Serialize)]
struct Cleared {
    keys: u64,
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

fn check_prefix(prefix: &str) -> Result<(), RpcError> {
    if prefix.len() > KEY {
        return Err(RpcError::invalid_params(format!(
            "`prefix` has {} bytes; a key has {KEY} at most.",
            prefix.len()
        )));
    }
    Ok(())
}

impl TryFrom<Step> for Op {
    type Error = RpcError;

    fn try_from(step: Step) -> Result<Self, RpcError> {
        match step {
            Step::Set(Set { key, value }) => {
                check_key(&key)?;
                if value.get().len() > VALUE {
                    return Err(RpcError::too_large("`value`", value.get().len(), VALUE));
                }
                Ok(Self::Set { key, value: value.get().to_owned() })
            }
            Step::Delete(Key { key }) => check_key(&key).map(|()| Self::Delete { key }),
        }
    }
}

impl TryFrom<Wanted> for Condition {
    type Error = RpcError;

    fn try_from(Wanted { key, equals, absent }: Wanted) -> Result<Self, RpcError> {
        check_key(&key)?;
        match (equals, absent) {
            (Some(value), false) if value.get().len() > VALUE => {
                Err(RpcError::too_large("`equals`", value.get().len(), VALUE))
            }
            (Some(value), false) => Ok(Self::Equals { key, value: value.get().to_owned() }),
            (None, true) => Ok(Self::Absent { key }),
            _ => Err(RpcError::invalid_params("A condition has either `equals` or `absent: true`.")),
        }
    }
}

async fn on_disk<T: Send + 'static>(
    caller: &Caller,
    work: impl FnOnce(&Caller) -> Result<T, StoreWriteError> + Send + 'static,
) -> Result<T, RpcError> {
    // On the host's own threads, however busy the app is: who writes keeps all others from it until that is done.
    match blocking(caller, &caller.session.runtime, work).await {
        Some(Ok(done)) => Ok(done),
        Some(Err(StoreWriteError::Refused(refusal))) => Err(refused(refusal)),
        Some(Err(StoreWriteError::Data(error))) => {
            tracing::error!(%error, "storage failed");
            Err(RpcError::internal())
        }
        None => Err(RpcError::internal()),
    }
}

fn refused(refusal: StoreRefusal) -> RpcError {
    match refusal {
        StoreRefusal::Quota { used, wanted, quota } => RpcError::new(
            code::QUOTA_EXCEEDED,
            format!("Storing this would take {wanted} bytes in all; the quota is {quota}."),
        )
        .with_data(json!({ "used_bytes": used, "quota_bytes": quota })),
        StoreRefusal::Keys { used, wanted, quota } => RpcError::new(
            code::QUOTA_EXCEEDED,
            format!("Storing this would make {wanted} keys; the most is {KEYS}."),
        )
        .with_data(json!({ "used_bytes": used, "quota_bytes": quota })),
        StoreRefusal::Conflict { key } => RpcError::new(
            code::CONFLICT,
            format!("`{}` is not as the transaction supposes; nothing was changed.", key.escape_debug()),
        )
        .with_data(json!({ "key": key })),
        StoreRefusal::Compared { bytes } => {
            RpcError::too_large("What the conditions compare", bytes, COMPARED)
        }
        StoreRefusal::Gone => RpcError::new(code::CANCELLED, "The app is being stopped."),
    }
}

/// Changes the namespace, then tells its other instances.
async fn change(caller: &Caller, conditions: Vec<Condition>, ops: Vec<Op>) -> Result<usize, RpcError> {
    let bytes = ops.iter().map(Op::bytes).sum();
    if bytes > TRANSACTION {
        return Err(RpcError::too_large("The transaction", bytes, TRANSACTION));
    }
    caller.session.write(bytes + ops.len() * WRITE)?;
    on_disk(caller, move |c| {
        let session = &c.session;
        let running = || session.life.switch.reason().is_none();
        let of = session.local.namespace();
        let changed = session.data.kv_apply(of, &conditions, &ops, session.storage_quota, running)?;
        if !changed.is_empty() {
            session.local.changed(&changed);
        }
        Ok(changed.len())
    })
    .await
}

pub(super) fn bridge() -> Bridge {
    reading(Bridge::new("storage"))
        .method("storage.set", |caller, set: Set| async move {
            change(&caller, Vec::new(), vec![Step::Set(set).try_into()?]).await.map(|_| Done {})
        })
        .method("storage.delete", |caller, key: Key| async move {
            let deleted = change(&caller, Vec::new(), vec![Step::Delete(key).try_into()?]).await?;
            Ok(Deleted { existed: deleted > 0 })
        })
        .method("storage.transaction", |caller, Transaction { ops, conditions }| async move {
            if ops.len() > STEPS || conditions.len() > STEPS {
                let message = format!("A transaction has {STEPS} steps and {STEPS} conditions at most.");
                return Err(RpcError::new(code::TOO_LARGE, message));
            }
            let ops = ops.into_iter().map(Op::try_from).collect::<Result<_, _>>()?;
            let conditions = conditions.into_iter().map(Condition::try_from).collect::<Result<_, _>>()?;
            change(&caller, conditions, ops).await.map(|_| Done {})
        })
        .method("storage.clear", |caller, _: Nothing| async move {
            on_disk(&caller, |c| {
                let running = || c.session.life.switch.reason().is_none();
                let keys = c.session.data.kv_clear(c.session.local.namespace(), running)?;
                let keys = keys.ok_or(StoreRefusal::Gone)?;
                c.session.local.cleared();
                Ok(Cleared { keys })
            })
            .await
        })
        .immediate("storage.watch", |caller, Prefix { prefix }| {
            check_prefix(&prefix)?;
            if !caller.session.local.lane.watch(prefix) {
                let message = format!("This instance watches {WATCHES} prefixes, which is the most, or has no memory for another.");
                return Err(RpcError::new(code::BUSY, message));
            }
            Ok(Done {})
        })
        .immediate("storage.unwatch", |caller, Prefix { prefix }| {
            Ok(Deleted { existed: caller.session.local.lane.unwatch(&prefix) })
        })
}

fn reading(bridge: Bridge) -> Bridge {
    bridge
        .method("storage.get", |caller, Key { key }| async move {
            check_key(&key)?;
            let stored =
                on_disk(&caller, move |c| Ok(c.session.data.kv_get(c.session.local.namespace(), &key)?))
                    .await?;
            let found = stored.is_some();
            let value = stored.unwrap_or_else(|| "null".to_owned());
            let value = RawValue::from_string(value).map_err(|error| {
                tracing::error!(%error, "a stored value is not JSON");
                RpcError::internal()
            })?;
            Ok(Found { value, found })
        })
        .method("storage.list", |caller, List { prefix, after, limit }| async move {
            let limit = limit.unwrap_or(100).clamp(1, PAGE);
            let (keys, more) = on_disk(&caller, move |c| {
                Ok(c.session.data.kv_list(c.session.local.namespace(), &prefix, after.as_deref(), limit)?)
            })
            .await?;
            Ok(Listed { keys, more })
        })
        .method("storage.usage", |caller, _: Nothing| async move {
            let Usage { bytes, keys } =
                on_disk(&caller, |c| Ok(c.session.data.kv_usage(c.session.local.namespace())?)).await?;
            Ok(Used { used_bytes: bytes, quota_bytes: caller.session.storage_quota, keys })
        })
}
