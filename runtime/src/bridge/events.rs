//! `events`: topics between app and host. Permission `events`.
//!
//! To the host: given to every listener of [`Instance::notifications`](crate::Instance::notifications), or refused as
//! busy. From the host: queued in the app's inbox and told as `events.message {topic, data, id, redelivered}`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Bridge;
use super::params::Done;
use crate::inbox::TOPICS;
use crate::notify::{Notification, QueueFull};
use crate::publish::{TOPIC_RULE, is_topic};
use crate::rpc::{RpcError, code};

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

fn check_topic(topic: &str) -> Result<(), RpcError> {
    if is_topic(topic) { Ok(()) } else { Err(RpcError::invalid_params(TOPIC_RULE)) }
}

pub(super) fn bridge() -> Bridge {
    Bridge::new("events")
        .immediate("events.publish", |caller, Publish { topic, data }: Publish| {
            check_topic(&topic)?;
            let id = caller.session.local.next_id(caller.session.life.id);
            let event = Notification::Event { topic, data, id: id.clone() };
            match caller.session.notifications.publish(event) {
                Ok(()) => Ok(Published { id }),
                Err(QueueFull) => Err(RpcError::new(
                    code::BUSY,
                    "The host has not read this app's earlier events yet, or the app has no memory for another; publish \
                     this one again later.",
                )),
            }
        })
        .immediate("events.subscribe", |caller, Topic { topic }: Topic| {
            check_topic(&topic)?;
            if !caller.session.local.lane.subscribe(topic) {
                let message = format!("This app is subscribed to {TOPICS} topics, which is the most, or has no memory for another.");
                return Err(RpcError::new(code::BUSY, message));
            }
            Ok(Done {})
        })
        .immediate("events.unsubscribe", |caller, Topic { topic }: Topic| {
            caller.session.local.lane.unsubscribe(&topic);
            Ok(Done {})
        })
}
