//! Topics of the host. Permission `events`.
//!
//! What others publish to a topic arrives as the notification `events.message`: take it with
//! `#[on("events.message")] fn message(&mut self, message: events::Message)`. A message is taken when that returns; an
//! error brings it again after a while, a few times, and so does the app's end, at its next launch.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bridge::{self, Ignored};

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message<T = serde_json::Value> {
    /// Where it was published.
    pub topic: String,
    /// What was published.
    pub data: T,
    /// The same for the same message, so that one that arrives twice can be told.
    #[serde(default)]
    pub id: String,
    /// It may have arrived before: the handler failed then, or an earlier instance of the app ended over it.
    #[serde(default)]
    pub redelivered: bool,
}

#[derive(Serialize)]
struct Topic<'a> {
    topic: &'a str,
}

/// Publishes `data`; returns the message's id. [`Error::Busy`] while the host has not read the earlier ones.
pub fn publish<T: Serialize + ?Sized>(topic: &str, data: &T) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Publish<'a, T: ?Sized> {
        topic: &'a str,
        data: &'a T,
    }
    #[derive(Deserialize)]
    struct Published {
        id: String,
    }
    bridge::request(bridge::events, "events.publish", &Publish { topic, data })
        .map(|answer: Published| answer.id)
}

/// From now on messages of `topic` arrive.
pub fn subscribe(topic: &str) -> Result<(), Error> {
    bridge::request(bridge::events, "events.subscribe", &Topic { topic }).map(|_: Ignored| ())
}

/// From now on they do not.
pub fn unsubscribe(topic: &str) -> Result<(), Error> {
    bridge::request(bridge::events, "events.unsubscribe", &Topic { topic }).map(|_: Ignored| ())
}
