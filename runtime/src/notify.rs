//! What an instance tells its host: published events, log lines, its end.
//!
//! Every listener has a queue of its own, bounded in number and in bytes. An event that finds one full is refused, and
//! the app is told so: what was acknowledged to the app reaches every listener. Log lines that find it full are dropped
//! and counted. The end is always told. What waits is charged to the app, once for all listeners, until the last of them has
//! read it: where its memory has no room, the queues are full.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::budget::{Hold, Ledger};
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
        /// `<instance>-<number>`: unique within this host's run; the number grows with every event of the instance.
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
    /// The receiver was too slow: so many log lines are lost to it here. Events are lost only to a host that had
    /// not asked for notifications yet.
    Missed {
        /// How many.
        count: u64,
    },
}

/// Bytes of texts that one listener's queue may hold, unless it holds one notification only.
const QUEUE_BYTES: usize = 4 << 20;
/// The same for the queue that nobody has asked for yet, and maybe nobody ever will.
const FIRST_BYTES: usize = 256 << 10;
/// What a notification is charged besides its texts.
const AROUND: usize = 128;

/// A listener's queue or the app's memory is full, so that the event was given to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// The sending side, held by the instance.
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    ledger: Arc<Ledger>,
    listeners: Mutex<Listeners>,
}

#[derive(Debug)]
struct Listeners {
    /// Listens from before the app starts, for whoever asks first: what an app says while it starts would be lost to
    /// a host that gets the instance only afterwards. As long as it is here nobody else listens.
    first: Option<Arc<Queue>>,
    taken: Vec<Arc<Queue>>,
    stopped: bool,
}

/// A notification in the queues of its listeners. The app is charged for it until the last of them lets go of it.
#[derive(Debug)]
struct Said {
    notification: Arc<Notification>,
    _hold: Option<Hold>,
}

impl Outbox {
    pub(crate) fn new(capacity: usize, ledger: Arc<Ledger>) -> Arc<Self> {
        let listeners = Listeners { first: Some(Arc::default()), taken: Vec::new(), stopped: false };
        Arc::new(Self { capacity: capacity.max(1), ledger, listeners: Mutex::new(listeners) })
    }

    /// Gives an event to every listener, or to none if one of them has no room or the app has no memory for it. Nobody
    /// listening is no error.
    pub(crate) fn publish(&self, event: Notification) -> Result<(), QueueFull> {
        let listeners = self.lock();
        if listeners.stopped {
            return Err(QueueFull);
        }
        if listeners.is_empty() {
            return Ok(());
        }
        let bytes = event.bytes();
        let mut taken: Vec<_> = listeners.taken.iter().map(|queue| (queue, queue.lock())).collect();
        if taken.iter().any(|(_, held)| !held.has_room(bytes, self.capacity, QUEUE_BYTES)) {
            return Err(QueueFull);
        }
        let event = self.charge(event, listeners.first.as_deref()).ok_or(QueueFull)?;
        for (queue, held) in &mut taken {
            held.push(event.clone());
            queue.wake.notify_one();
        }
        drop(taken);
        if let Some(first) = &listeners.first {
            first.lock().push(event);
        }
        Ok(())
    }

    /// Tells what may get lost (a log line), or is the last thing said.
    pub(crate) fn send(&self, notification: Notification) {
        let mut listeners = self.lock();
        if listeners.stopped {
            return;
        }
        let last = matches!(notification, Notification::Stopped { .. });
        listeners.stopped = last;
        let bytes = notification.bytes();
        let said = if last {
            // It costs nothing, and is told whatever happens.
            Some(Arc::new(Said { notification: Arc::new(notification), _hold: None }))
        } else if listeners.is_empty() {
            None
        } else {
            self.charge(notification, listeners.first.as_deref())
        };
        for queue in listeners.first.iter().chain(&listeners.taken) {
            let mut held = queue.lock();
            // The first has made room.
            let room = last || listeners.first.is_some() || held.has_room(bytes, self.capacity, QUEUE_BYTES);
            match &said {
                Some(said) if room => held.push(said.clone()),
                _ => held.miss(1),
            }
            queue.wake.notify_one();
        }
        if last {
            listeners.close();
        }
    }

    /// Charges the app for a notification. The queue that nobody has asked for makes room for it, in itself and in the
    /// app's memory: the newest are worth more there than the oldest, and an app must not be refused because its host never
    /// listens.
    fn charge(&self, notification: Notification, first: Option<&Queue>) -> Option<Arc<Said>> {
        let bytes = notification.bytes();
        let mut first = first.map(Queue::lock);
        if let Some(first) = &mut first {
            while !first.has_room(bytes, self.capacity, FIRST_BYTES) && first.drop_oldest() {}
        }
        let hold = loop {
            let hold = self.ledger.hold_aside(bytes + AROUND);
            if hold.is_some() || !first.as_mut().is_some_and(|first| first.drop_oldest()) {
                break hold?;
            }
        };
        Some(Arc::new(Said { notification: Arc::new(notification), _hold: Some(hold) }))
    }

    pub(crate) fn subscribe(self: &Arc<Self>) -> Notifications {
        let mut listeners = self.lock();
        let queue = listeners.first.take().unwrap_or_default();
        if listeners.stopped {
            queue.close();
        } else {
            listeners.taken.push(queue.clone());
        }
        Notifications { queue, outbox: Arc::downgrade(self) }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    fn is_empty(&self) -> bool {
        self.first.is_none() && self.taken.is_empty()
    }

    fn close(&mut self) {
        for queue in self.taken.drain(..).chain(self.first.clone()) {
            queue.close();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.lock().close();
    }
}

/// What one listener has not read yet.
#[derive(Debug, Default)]
struct Queue {
    held: Mutex<Held>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Held {
    entries: VecDeque<Entry>,
    said: usize,
    bytes: usize,
    closed: bool,
}

#[derive(Debug)]
enum Entry {
    Said(Arc<Said>),
    /// So many are missing at this place. Two of them never follow each other.
    Missed(u64),
}

impl Held {
    fn has_room(&self, bytes: usize, capacity: usize, most: usize) -> bool {
        self.said == 0 || (self.said < capacity && self.bytes.saturating_add(bytes) <= most)
    }

    fn push(&mut self, said: Arc<Said>) {
        self.said += 1;
        self.bytes += said.notification.bytes();
        self.entries.push_back(Entry::Said(said));
    }

    /// Counts what was not pushed.
    fn miss(&mut self, more: u64) {
        match self.entries.back_mut() {
            Some(Entry::Missed(count)) => *count += more,
            _ => self.entries.push_back(Entry::Missed(more)),
        }
    }

    fn pop(&mut self) -> Option<Arc<Notification>> {
        match self.entries.pop_front()? {
            Entry::Missed(count) => Some(Arc::new(Notification::Missed { count })),
            Entry::Said(said) => {
                self.said -= 1;
                self.bytes -= said.notification.bytes();
                Some(said.notification.clone())
            }
        }
    }

    /// Counts the oldest as missed; false if there is none.
    fn drop_oldest(&mut self) -> bool {
        if self.said == 0 {
            return false;
        }
        let (mut missed, mut dropped) = (0, false);
        while !dropped || matches!(self.entries.front(), Some(Entry::Missed(_))) {
            match self.pop().as_deref() {
                Some(Notification::Missed { count }) => missed += count,
                Some(_) => (missed, dropped) = (missed + 1, true),
                None => break,
            }
        }
        self.entries.push_front(Entry::Missed(missed));
        true
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }
}

impl Notification {
    /// What it costs to keep it.
    fn bytes(&self) -> usize {
        match self {
            Self::Event { topic, data, id } => topic.len() + data.get().len() + id.len(),
            Self::Log { message, .. } => message.len(),
            Self::Stopped { .. } | Self::Missed { .. } => 0,
        }
    }
}

/// A stream of an instance's notifications: from the launch on for the first one that is asked for, else from then.
///
/// The queue is bounded ([`Policy::notification_queue`](crate::Policy::notification_queue), and 4 MiB), and what is in it
/// counts as the app's memory. While it is full, or the app's memory is, the app's `events.publish` is refused as busy, for
/// all listeners, and its log lines are dropped and counted as [`Notification::Missed`]: so read it, or drop it.
#[derive(Debug)]
pub struct Notifications {
    queue: Arc<Queue>,
    outbox: std::sync::Weak<Outbox>,
}

impl Notifications {
    /// The next notification; `None` once the instance is gone and everything was read. Nothing is lost when the
    /// future is dropped.
    pub async fn recv(&mut self) -> Option<Arc<Notification>> {
        loop {
            let mut woken = pin!(self.queue.wake.notified());
            woken.as_mut().enable();
            {
                let mut held = self.queue.lock();
                let next = held.pop();
                if next.is_some() || held.closed {
                    return next;
                }
            }
            woken.await;
        }
    }

    /// The next notification if one is waiting.
    pub fn try_recv(&mut self) -> Option<Arc<Notification>> {
        self.queue.lock().pop()
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        if let Some(outbox) = self.outbox.upgrade() {
            outbox.lock().taken.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        }
    }
}

#[cfg(test)]
mod tests;
