//! `events`: topics between app and host. Permission `events`.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Bridge;
use crate::notify::Notification;
use crate::rpc::{RpcError, code};

/// The longest topic, in bytes.
const TOPIC: usize = 128;
/// The most topics one instance may be subscribed to.
const SUBSCRIPTIONS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    topic: String,
    data: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    topic: String,
}

#[derive(Serialize)]
struct Published {
    id: String,
}

#[derive(Serialize)]
struct Done {}

/// What one instance listens to, and the count of what it has published.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    subscribed: Mutex<HashSet<String>>,
    published: AtomicU64,
}

impl Topics {
    pub(crate) fn contains(&self, topic: &str) -> bool {
        self.lock().contains(topic)
    }

    pub(crate) fn next_id(&self, instance: u64) -> String {
        format!("{instance}-{}", self.published.fetch_add(1, Ordering::Relaxed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.subscribed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn check_topic(topic: &str) -> Result<(), RpcError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    if topic.is_empty() || topic.len() > TOPIC || !topic.chars().all(legal) {
        return Err(RpcError::invalid_params(format!(
            "`topic` must be 1 to {TOPIC} characters of A-Z, a-z, 0-9, `.`, `-`, `_` and `/`."
        )));
    }
    Ok(())
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("events")
        .immediate("events.publish", |caller, Publish { topic, data }: Publish| {
            check_topic(&topic)?;
            let id = caller.session.topics.next_id(caller.session.life.id);
            caller.session.notifications.send(Notification::Event { topic, data, id: id.clone() });
            Ok(Published { id })
        })
        .immediate("events.subscribe", |caller, Topic { topic }: Topic| {
            check_topic(&topic)?;
            let mut topics = caller.session.topics.lock();
            if topics.len() >= SUBSCRIPTIONS && !topics.contains(&topic) {
                return Err(RpcError::new(
                    code::BUSY,
                    format!("This app is subscribed to {SUBSCRIPTIONS} topics, which is the most."),
                ));
            }
            topics.insert(topic);
            Ok(Done {})
        })
        .immediate("events.unsubscribe", |caller, Topic { topic }: Topic| {
            caller.session.topics.lock().remove(&topic);
            Ok(Done {})
        })
}
