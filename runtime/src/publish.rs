//! Events from the host to its apps.

use std::fmt;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::host::Host;
use crate::instance::Instance;

/// The longest topic, in bytes.
const TOPIC: usize = 128;

/// An event that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its id, the same for every app and unlike that of any other event, of earlier runs of the host too. It tells events
    /// apart, and nothing of their order.
    pub id: String,
    /// How many subscribers it was queued for.
    pub receivers: usize,
}

/// One user's app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receiver {
    /// The user.
    pub user: String,
    /// The app.
    pub app_id: String,
}

impl fmt::Display for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` for user {:?}", self.app_id, self.user)
    }
}

/// Why an event was not queued for everybody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Some subscribers are too slow or hang, or take no message this long. The others will get it: a slow app does not
    /// cost its neighbours anything.
    #[error("Event {id} is too long for, or finds no room at, {}; {receivers} others got it.", names(full))]
    Full {
        /// The event's id.
        id: String,
        /// How many subscribers it was queued for.
        receivers: usize,
        /// Those who will not get it.
        full: Vec<Receiver>,
    },
    /// The topic cannot be subscribed to.
    #[error("{topic:?} is no topic: 1 to {TOPIC} characters of A-Z, a-z, 0-9, `.`, `-`, `_` and `/`.")]
    BadTopic {
        /// The topic.
        topic: String,
    },
    /// The data is longer than a message may be.
    #[error("The event's data has {bytes} bytes; the limit is {limit}.")]
    TooLarge {
        /// Its length as JSON.
        bytes: usize,
        /// What it may have.
        limit: usize,
    },
    /// The data is not representable as JSON.
    #[error("The event's data does not serialize: {0}.")]
    NotJson(#[from] serde_json::Error),
}

fn names(full: &[Receiver]) -> String {
    full.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl PublishError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "MPKG-H50",
            Self::BadTopic { .. } | Self::TooLarge { .. } | Self::NotJson(_) => "MPKG-H51",
        }
    }
}

/// Topics are this narrow so that they can be shown and logged as they are.
pub(crate) fn is_topic(topic: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    !topic.is_empty() && topic.len() <= TOPIC && topic.chars().all(legal)
}

pub(crate) const TOPIC_RULE: &str =
    "`topic` must be 1 to 128 characters of A-Z, a-z, 0-9, `.`, `-`, `_` and `/`.";

fn check(topic: &str, data: &impl Serialize, limit: usize) -> Result<Box<RawValue>, PublishError> {
    if !is_topic(topic) {
        return Err(PublishError::BadTopic { topic: topic.to_owned() });
    }
    let data = to_raw_value(data)?;
    // Room for what surrounds it.
    let bytes = data.get().len();
    let limit = limit.saturating_sub(4 * TOPIC);
    if bytes > limit {
        return Err(PublishError::TooLarge { bytes, limit });
    }
    Ok(data)
}

impl Host {
    /// Publishes an event to every app that subscribed to `topic`, of one user or of all.
    ///
    /// It is told at least once: an instance that is busy gets it when it is free; one that ended, other than by a
    /// kill, left its subscriptions and events to the next instance of the same app and user, within a bound for all that
    /// is left so. An app can tell a second time by the event's id. What waits is lost with the host. Apps that have lost
    /// the permission `events` are told nothing, and forgotten.
    ///
    /// # Errors
    /// [`PublishError`]. The queue of one app and user holds 256 events and 1 MiB; it is the only thing that can be
    /// full, and all others have got the event then. An app whose own limit
    /// for messages is too short for the event is named with the full ones.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let host = miniapp_runtime::Host::builder(folder.path()).build().unwrap();
    /// let published = host.publish(None, "orders.placed", &serde_json::json!({ "total": 12 })).unwrap();
    /// assert_eq!(published.receivers, 0, "nobody has subscribed yet");
    /// # });
    /// ```
    pub fn publish(
        &self,
        user: Option<&str>,
        topic: &str,
        data: &impl Serialize,
    ) -> Result<Published, PublishError> {
        let data = check(topic, data, self.inner.policy.limits.message_bytes)?;
        self.inner.local.inboxes.publish(|of| user.is_none_or(|user| user == of.user), topic, data)
    }
}

impl Instance {
    /// Publishes an event to this instance only, if it subscribed to `topic`: told as by [`Host::publish`].
    ///
    /// # Errors
    /// As for [`Host::publish`].
    pub fn publish(&self, topic: &str, data: &impl Serialize) -> Result<Published, PublishError> {
        let session = &self.shared.session;
        let data = check(topic, data, session.limits.message_bytes)?;
        session.local.publish(topic, data)
    }
}
