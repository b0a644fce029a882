//! What an instance tells its host: published events, log lines, its end.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::broadcast;

use crate::stop::StopReason;

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the developer.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is off, and the app goes on.
    Warn,
    /// Something failed.
    Error,
}

/// One thing an instance told its host. Texts in it come from the app: escape them before a terminal sees them.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notification {
    /// The app published an event.
    Event {
        /// The topic it chose.
        topic: String,
        /// Its JSON.
        data: Box<RawValue>,
        /// Unique within this host's run.
        id: String,
    },
    /// The app wrote a log line.
    Log {
        /// How important.
        level: Level,
        /// The line.
        message: String,
    },
    /// The instance is no more. Always the last one.
    Stopped {
        /// Why.
        reason: StopReason,
    },
    /// The receiver was too slow: so many notifications are lost to it.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The sending side, held by the instance.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: broadcast::Sender<Arc<Notification>>,
    /// Listens from before the app starts, for whoever asks first: what an app says while it starts would be lost to
    /// a host that gets the instance only afterwards.
    first: Mutex<Option<broadcast::Receiver<Arc<Notification>>>>,
}

impl Outbox {
    pub(crate) fn new(capacity: usize) -> Self {
        let (sender, first) = broadcast::channel(capacity.max(1));
        Self { sender, first: Mutex::new(Some(first)) }
    }

    pub(crate) fn send(&self, notification: Notification) {
        // No receiver is no error: a host need not listen.
        let _ = self.sender.send(Arc::new(notification));
    }

    pub(crate) fn subscribe(&self) -> Notifications {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Notifications(first.unwrap_or_else(|| self.sender.subscribe()))
    }
}

/// A stream of an instance's notifications: from the launch on for the first one that is asked for, else from then.
///
/// The queue is bounded: a receiver that falls behind gets [`Notification::Missed`] and then the oldest still kept.
#[derive(Debug)]
pub struct Notifications(broadcast::Receiver<Arc<Notification>>);

impl Notifications {
    /// The next notification; `None` once the instance is gone and everything was read.
    pub async fn recv(&mut self) -> Option<Arc<Notification>> {
        match self.0.recv().await {
            Ok(notification) => Some(notification),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Arc::new(Notification::Missed { count })),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next notification if one is waiting.
    pub fn try_recv(&mut self) -> Option<Arc<Notification>> {
        match self.0.try_recv() {
            Ok(notification) => Some(notification),
            Err(broadcast::error::TryRecvError::Lagged(count)) => {
                Some(Arc::new(Notification::Missed { count }))
            }
            Err(_) => None,
        }
    }
}
