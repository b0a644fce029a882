//! The task that tells one instance what waits for it.

use std::pin::pin;
use std::sync::{Arc, Weak};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Lane;
use super::lane::Next;
use super::state::{Delivery, Outcome};
use crate::error::CallError;
use crate::instance::Shared;
use crate::rpc::code;
use crate::told;

/// Runs until the instance ends.
pub(super) async fn pump(lane: Arc<Lane>, instance: Weak<Shared>) {
    loop {
        // Listens before it looks, or what comes in between would wait for the next to come.
        let mut woken = pin!(lane.wake.notified());
        woken.as_mut().enable();
        let Some(mut shared) = instance.upgrade() else { return };
        let switch = shared.session.life.switch.clone();
        if switch.is_suspended() {
            // Nothing keeps an app alive that nobody looks at.
            drop(shared);
            if !switch.runnable().await {
                return;
            }
            match instance.upgrade() {
                Some(again) => shared = again,
                None => return,
            }
        }
        let permissions = shared.session.permissions.clone();
        // A permission that it gets may be what its events waited for.
        let mut changed = pin!(permissions.changed());
        changed.as_mut().enable();
        let allowed =
            |name: &str| permissions.index_of(name).is_some_and(|i| permissions.holds(i, None).is_ok());
        let next = lane.next(Instant::now(), allowed);
        match next {
            Next::Deliver(delivery) => {
                // A kill ends the call; to drop it from here would leave the guest's store to nobody.
                let outcome = match deliver(&shared, &delivery).await {
                    Ok(()) => Outcome::Done,
                    Err(CallError::Stopped { .. }) => return,
                    Err(CallError::Suspended { .. }) => Outcome::Busy,
                    Err(CallError::Rpc(error)) if error.code == code::BUSY => Outcome::Busy,
                    Err(_) => Outcome::Failed,
                };
                lane.ended_with(delivery, outcome, Instant::now());
                // A guest that answers at once would otherwise keep this thread from its neighbours.
                tokio::task::yield_now().await;
            }
            Next::At(when) => {
                drop(shared);
                tokio::select! {
                    () = lane.ended() => return,
                    () = woken => {}
                    () = changed => {}
                    () = tokio::time::sleep_until(when) => {}
                }
            }
            Next::Nothing => {
                drop(shared);
                tokio::select! {
                    () = lane.ended() => return,
                    () = woken => {}
                    () = changed => {}
                }
            }
        }
    }
}

async fn deliver(instance: &Arc<Shared>, delivery: &Delivery) -> Result<(), CallError> {
    #[derive(Serialize)]
    struct Message<'a> {
        topic: &'a str,
        data: &'a RawValue,
        id: &'a str,
        redelivered: bool,
    }
    #[derive(Serialize)]
    struct Changed<'a> {
        keys: Vec<&'a str>,
        more: bool,
    }
    #[derive(Serialize)]
    struct Fired<'a> {
        id: &'a str,
    }
    match delivery {
        Delivery::Event { id, topic, data, redelivered, .. } => {
            let redelivered = *redelivered;
            instance.notify(told::EVENT, &Message { topic, data, id, redelivered }).await
        }
        Delivery::Changed(changes) => {
            let keys = changes.keys.iter().map(String::as_str).collect();
            instance.notify(told::CHANGED, &Changed { keys, more: changes.more }).await
        }
        Delivery::Timer { id, .. } => instance.notify(told::TIMER, &Fired { id }).await,
    }
}
