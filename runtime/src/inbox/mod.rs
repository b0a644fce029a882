//! What waits to be told to apps: events of topics they subscribed to, changed storage keys, timers that are due.
//!
//! Every instance has a [`Lane`], and from the first thing to do on one task ([`pump::pump`]) that takes from it and
//! calls the guest, one delivery at a time. What the guest's handler returns from without an error is done. An error
//! brings the same delivery again after a pause, a few times, and is then counted as dropped; a guest that does not
//! know the method is not disturbed again.
//!
//! Events and subscriptions outlive the instance: what an ended one had not taken is kept, for its app and user, and
//! told to their next instance. So an event is told at least once, and carries an id to tell a second time by. A kill,
//! the host's or the fleet's, an uninstallation and the loss of the permission `events` forget them: where it is told, and
//! else at the next event, since time and answers to others take it too. Timers and watches end with the instance.
//!
//! Queues are bounded. A full one refuses events of the host, by name ([`PublishError::Full`]), as any does that are
//! longer than its app takes: only the host can decide what may get lost. Timers and changes coalesce instead and need no
//! queue. All of it is the app's memory, and charged to it while it runs; what it was left is charged once it has started,
//! or it might never start again.

mod events;
mod lane;
mod pump;
mod state;
mod timers;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use serde_json::value::RawValue;

use crate::broker::{Claim, Permissions};
use crate::data::{Namespace, unix_ms};
use crate::publish::{PublishError, Published, Receiver};

pub(crate) use events::TOPICS;
pub(crate) use lane::{Lane, Listener};
pub(crate) use timers::{TIMERS, TimerState};
pub(crate) use watch::WATCHES;

use events::{Event, Queue};

/// What events are told and kept under.
const PERMISSION: &str = "events";
/// How often a delivery is tried.
const ATTEMPTS: u32 = 4;
/// The most bytes that are kept for instances to come, of all apps and users. Nobody is charged for them: those who were
/// are gone.
const KEPT: usize = 16 << 20;
/// What is kept for one app and user besides texts.
const MAILBOX: usize = 1024;

/// The lanes of all instances of a host, and what is kept for those to come.
#[derive(Debug)]
pub(crate) struct Inboxes {
    /// Tells this run of the host from all others: numbers begin anew with it.
    run: Arc<str>,
    published: AtomicU64,
    boxes: Mutex<Boxes>,
}

impl Default for Inboxes {
    fn default() -> Self {
        let mut run = [0; 8];
        if getrandom::fill(&mut run).is_err() {
            // Without randomness the time tells runs apart.
            run = unix_ms().to_be_bytes();
        }
        Self { run: HEXLOWER.encode(&run).into(), published: AtomicU64::new(0), boxes: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Boxes {
    of: HashMap<Namespace, Mailbox>,
    /// Bytes of what is kept in all of them.
    kept: usize,
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
    /// Events that were to be kept and are not, for the next instance to be counted with.
    dropped: u64,
    /// Of the last one that left something: whatever becomes of them becomes of what it left.
    permissions: Option<Arc<Permissions>>,
    /// The longest message that the last one took.
    message_bytes: usize,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.queue.is_empty()
    }

    fn bytes(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        MAILBOX + self.topics.iter().map(String::len).sum::<usize>() + self.queue.kept_bytes()
    }

    fn claim(&self) -> Claim {
        self.permissions.as_ref().map_or(Claim::Open, |permissions| permissions.claim(PERMISSION))
    }

    /// Adds what an instance left. It had no more topics than are allowed, but several did beside each other.
    fn add(&mut self, topics: BTreeSet<String>, queue: Queue, by: &Lane) {
        if topics.is_empty() && queue.is_empty() {
            return;
        }
        for topic in topics {
            if self.topics.len() < TOPICS {
                self.topics.insert(topic);
            }
        }
        // Several instances of one app and user had each their own copy of an event: one is enough.
        self.dropped += self.queue.merge(queue) as u64;
        self.permissions = Some(by.permissions().clone());
        self.message_bytes = by.message_bytes();
    }

    /// False if there is no room, or if the event could never be told.
    fn push(&mut self, event: Event) -> bool {
        event.charged() <= self.message_bytes && self.queue.push(event)
    }

    /// Lets go of something; false if there is nothing.
    fn shed(&mut self) -> bool {
        if self.queue.drop_front() {
            self.dropped += 1;
            return true;
        }
        !mem::take(self).is_empty()
    }
}

impl Mailbox {
    fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.kept.is_empty()
    }
}

/// Changes what is kept in one mailbox, and the sum with it.
fn change<T>(sum: &mut usize, kept: &mut Kept, change: impl FnOnce(&mut Kept) -> T) -> T {
    let before = kept.bytes();
    let done = change(kept);
    *sum = sum.saturating_sub(before) + kept.bytes();
    done
}

impl Boxes {
    /// Takes a lane away, and keeps what its app shall still hear.
    fn retire(&mut self, of: &Namespace, instance: u64) {
        let Some(mailbox) = self.of.get_mut(of) else { return };
        if let Some(lane) = mailbox.lanes.remove(&instance)
            && let Some((topics, mut queue)) = lane.close()
        {
            lane.count_dropped(queue.seen_before());
            change(&mut self.kept, &mut mailbox.kept, |kept| kept.add(topics, queue, &lane));
        }
        if mailbox.is_empty() {
            self.of.remove(of);
        }
        self.shed();
    }

    /// Forgets what is kept for one app and user.
    fn forget(&mut self, of: &Namespace) {
        let Some(mailbox) = self.of.get_mut(of) else { return };
        change(&mut self.kept, &mut mailbox.kept, |kept| *kept = Kept::default());
        if mailbox.is_empty() {
            self.of.remove(of);
        }
    }

    /// Keeps all of it within its bound. Whoever has most gives first, so that an app that left much takes nothing from one
    /// that left little.
    fn shed(&mut self) {
        let mut shed = 0;
        while self.kept > KEPT {
            let fullest = self.of.values_mut().max_by_key(|mailbox| mailbox.kept.bytes());
            let Some(mailbox) = fullest else { break };
            if !change(&mut self.kept, &mut mailbox.kept, Kept::shed) {
                break;
            }
            shed += 1;
        }
        if shed > 0 {
            self.of.retain(|_, mailbox| !mailbox.is_empty());
            tracing::warn!(shed, "more was left by instances that have ended than is kept");
        }
    }
}

impl Inboxes {
    /// A lane for a new instance, with what its predecessors left.
    pub(crate) fn join(&self, who: Listener) -> Arc<Lane> {
        let mut boxes = self.lock();
        // A predecessor may have ended while somebody was in it who has not left yet.
        let lanes = boxes.of.get(&who.of).into_iter().flat_map(|mailbox| &mailbox.lanes);
        let ended: Vec<u64> = lanes.filter(|(_, lane)| lane.has_ended()).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| boxes.retire(&who.of, id));
        let Boxes { of, kept } = &mut *boxes;
        let mailbox = of.entry(who.of.clone()).or_default();
        let Kept { topics, queue, dropped, .. } = change(kept, &mut mailbox.kept, mem::take);
        let instance = who.instance;
        let lane = Arc::new(Lane::new(who, topics, queue));
        lane.count_dropped(dropped);
        mailbox.lanes.insert(instance, lane.clone());
        lane
    }

    /// Ends a lane. A second time does nothing.
    pub(crate) fn leave(&self, lane: &Lane) {
        self.lock().retire(lane.of(), lane.instance());
    }

    /// Forgets the events and subscriptions of one user's app.
    pub(crate) fn forget(&self, of: &Namespace) {
        let mut boxes = self.lock();
        if let Some(mailbox) = boxes.of.get(of) {
            mailbox.lanes.values().for_each(|lane| lane.forget_events());
        }
        boxes.forget(of);
    }

    /// A release of the app has come that its user is to be asked about anew: nothing that was left or will be left by what
    /// runs is kept for its instances. What runs keeps what it has.
    pub(crate) fn asked_again(&self, of: &Namespace) {
        let mut boxes = self.lock();
        if let Some(mailbox) = boxes.of.get(of) {
            mailbox.lanes.values().for_each(|lane| lane.leave_nothing());
        }
        boxes.forget(of);
    }

    /// Forgets those of all users of an app.
    pub(crate) fn forget_app(&self, owner: &str) {
        let of: Vec<_> = self.lock().of.keys().filter(|of| of.owner == owner).cloned().collect();
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
        let mut boxes = self.lock();
        let Boxes { of: all, kept: sum } = &mut *boxes;
        let mut lost = Vec::new();
        for (of, mailbox) in all.iter_mut().filter(|(of, _)| to(of)) {
            let mut heard = false;
            for lane in mailbox.lanes.values() {
                let taken = lane.publish(&sending.event);
                heard |= taken.is_some();
                sending.count(of, taken);
            }
            // Nobody of this app and user listens now, but somebody did, and will be told.
            if !heard && mailbox.kept.topics.contains(topic) {
                let claim = mailbox.kept.claim();
                if claim == Claim::Lost {
                    lost.push(of.clone());
                    continue;
                }
                let event = sending.event.copy(None);
                let taken = change(sum, &mut mailbox.kept, |kept| kept.push(event));
                if taken || claim == Claim::Held {
                    sending.count(of, Some(taken));
                } else {
                    mailbox.kept.dropped += 1;
                }
            }
        }
        lost.iter().for_each(|of| boxes.forget(of));
        boxes.shed();
        drop(boxes);
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
        let event = Event::new(self.run.clone(), number, topic, data);
        Sending { event, receivers: 0, full: Vec::new() }
    }

    /// Tells the other instances of the same app and user which keys `by` has changed: the host if it is nobody, all
    /// keys if there are none.
    pub(crate) fn changed(&self, of: &Namespace, by: Option<u64>, keys: Option<&[String]>) {
        let boxes = self.lock();
        let Some(mailbox) = boxes.of.get(of) else { return };
        for (id, lane) in &mailbox.lanes {
            if Some(*id) != by {
                lane.changed(keys);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Boxes> {
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
    /// `taken`: nothing if it was not subscribed, else whether it was taken.
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
