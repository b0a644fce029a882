//! What waits to be told to apps: events of topics they subscribed to, changed storage keys, timers that are due.
//!
//! Every instance has a [`Lane`], and from the first thing to do on one task ([`pump::pump`]) that takes from it and
//! calls the guest, one delivery at a time. What the guest's handler returns from without an error is done. An error
//! brings the same delivery again after a pause, a few times, and is then counted as dropped; a guest that does not
//! know the method is not disturbed again.
//!
//! Events and subscriptions outlive the instance: what an ended one had not taken is kept, for its app and user, and
//! told to their next instance. So an event is told at least once, and carries an id to tell a second time by. A kill,
//! an uninstallation and the loss of the permission `events` forget them. Timers and watches end with the instance.
//!
//! Queues are bounded. A full one refuses events of the host, by name ([`PublishError::Full`]): only the host can
//! decide what may get lost. Timers and changes coalesce instead and need no queue. All of it is the app's memory, and
//! charged to it while it runs; what it was left is charged once it has started, or it might never start again.

mod events;
mod lane;
mod pump;
mod timers;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use crate::budget::Ledger;
use crate::data::Namespace;
use crate::publish::{PublishError, Published, Receiver};
use crate::supervisor::KillSwitch;

pub(crate) use events::TOPICS;
pub(crate) use lane::Lane;
pub(crate) use timers::{TIMERS, TimerState};
pub(crate) use watch::WATCHES;

use events::{Event, Queue};

/// How often a delivery is tried.
const ATTEMPTS: u32 = 4;

/// The lanes of all instances of a host, and what is kept for those to come.
#[derive(Debug, Default)]
pub(crate) struct Inboxes {
    published: AtomicU64,
    boxes: Mutex<HashMap<Namespace, Mailbox>>,
}

/// Of one app and one user.
#[derive(Debug, Default)]
struct Mailbox {
    /// By instance.
    lanes: BTreeMap<u64, Arc<Lane>>,
    kept: Kept,
}

/// What ended instances left behind.
#[derive(Debug, Default)]
struct Kept {
    topics: BTreeSet<String>,
    queue: Queue,
}

impl Mailbox {
    fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.kept.topics.is_empty() && self.kept.queue.is_empty()
    }

    /// Takes a lane away, and keeps what its app shall still hear.
    fn retire(&mut self, instance: u64) {
        let Some(lane) = self.lanes.remove(&instance) else { return };
        let Some((topics, mut queue)) = lane.close() else { return };
        lane.count_dropped(queue.seen_before());
        self.kept.topics.extend(topics);
        // Several instances of one app and user had each their own copy of an event: one is enough.
        let lost = self.kept.queue.merge(queue);
        if lost > 0 {
            tracing::warn!(owner = %lane.of().owner, lost, "more events were left by instances than are kept");
        }
    }
}

impl Inboxes {
    /// A lane for a new instance, with what its predecessors left.
    pub(crate) fn join(
        &self,
        of: Namespace,
        instance: u64,
        switch: Arc<KillSwitch>,
        ledger: Arc<Ledger>,
    ) -> Arc<Lane> {
        let mut boxes = self.lock();
        let mailbox = boxes.entry(of.clone()).or_default();
        // A predecessor may have ended while somebody was in it who has not left yet.
        let ended: Vec<u64> =
            mailbox.lanes.iter().filter(|(_, lane)| lane.has_ended()).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| mailbox.retire(id));
        let Kept { topics, queue } = std::mem::take(&mut mailbox.kept);
        let lane = Arc::new(Lane::new(of, instance, switch, ledger, topics, queue));
        mailbox.lanes.insert(instance, lane.clone());
        lane
    }

    /// Ends a lane. A second time does nothing.
    pub(crate) fn leave(&self, lane: &Lane) {
        let mut boxes = self.lock();
        let Some(mailbox) = boxes.get_mut(lane.of()) else { return };
        mailbox.retire(lane.instance());
        if mailbox.is_empty() {
            boxes.remove(lane.of());
        }
    }

    /// Forgets the events and subscriptions of one user's app.
    pub(crate) fn forget(&self, of: &Namespace) {
        let mut boxes = self.lock();
        let Some(mailbox) = boxes.get_mut(of) else { return };
        mailbox.kept = Kept::default();
        mailbox.lanes.values().for_each(|lane| lane.forget_events());
        if mailbox.is_empty() {
            boxes.remove(of);
        }
    }

    /// Forgets those of all users of an app.
    pub(crate) fn forget_app(&self, owner: &str) {
        let of: Vec<_> = self.lock().keys().filter(|of| of.owner == owner).cloned().collect();
        of.iter().for_each(|of| self.forget(of));
    }

    /// Queues an event for every app that subscribed to its topic and that `to` selects.
    pub(crate) fn publish(
        &self,
        to: impl Fn(&Namespace) -> bool,
        topic: &str,
        data: Box<RawValue>,
    ) -> Result<Published, PublishError> {
        let mut sending = self.begin(topic, data);
        for (of, mailbox) in self.lock().iter_mut().filter(|(of, _)| to(of)) {
            let mut heard = false;
            for lane in mailbox.lanes.values() {
                let taken = lane.publish(&sending.event);
                heard |= taken.is_some();
                sending.count(of, taken);
            }
            // Nobody of this app and user listens now, but somebody did, and will be told.
            if !heard && mailbox.kept.topics.contains(topic) {
                let taken = mailbox.kept.queue.push(sending.event.copy(None));
                sending.count(of, Some(taken));
            }
        }
        sending.end()
    }

    /// Queues an event for one instance, if it subscribed to the topic.
    pub(crate) fn publish_to(
        &self,
        lane: &Arc<Lane>,
        topic: &str,
        data: Box<RawValue>,
    ) -> Result<Published, PublishError> {
        let mut sending = self.begin(topic, data);
        let taken = lane.publish(&sending.event);
        sending.count(lane.of(), taken);
        sending.end()
    }

    fn begin(&self, topic: &str, data: Box<RawValue>) -> Sending {
        let number = self.published.fetch_add(1, Ordering::Relaxed) + 1;
        Sending { event: Event::new(number, topic, data), receivers: 0, full: Vec::new() }
    }

    /// Tells the other instances of the same app and user which keys `by` has changed: the host if it is nobody, all
    /// keys if there are none.
    pub(crate) fn changed(&self, of: &Namespace, by: Option<u64>, keys: Option<&[String]>) {
        let boxes = self.lock();
        let Some(mailbox) = boxes.get(of) else { return };
        for (id, lane) in &mailbox.lanes {
            if Some(*id) != by {
                lane.changed(keys);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Namespace, Mailbox>> {
        self.boxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A publication under way.
struct Sending {
    event: Event,
    receivers: usize,
    full: Vec<Receiver>,
}

impl Sending {
    /// `taken`: nothing if it was not subscribed, else whether there was room.
    fn count(&mut self, of: &Namespace, taken: Option<bool>) {
        match taken {
            None => {}
            Some(true) => self.receivers += 1,
            Some(false) => self.full.push(Receiver { user: of.user.clone(), app_id: of.app_id().to_owned() }),
        }
    }

    fn end(self) -> Result<Published, PublishError> {
        let Self { event, receivers, full } = self;
        let id = event.id();
        if full.is_empty() {
            return Ok(Published { id, receivers });
        }
        Err(PublishError::Full { id, receivers, full })
    }
}

#[cfg(test)]
mod tests;
