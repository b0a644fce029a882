//! What waits for one instance.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ATTEMPTS;
use super::events::{Event, Queue, TOPICS};
use super::pump::pump;
use super::timers::{TimerState, Timers};
use super::watch::{Changes, WATCHES, Watch};
use crate::budget::{Hold, Ledger};
use crate::data::Namespace;
use crate::instance::Shared;
use crate::stop::StopReason;
use crate::supervisor::KillSwitch;

/// The pause before a delivery is tried again; each further one is `GROWTH` times as long.
const PAUSE: Duration = Duration::from_millis(100);
const GROWTH: u32 = 5;

/// How a delivery is getting on.
#[derive(Debug, Default)]
pub(super) struct Retry {
    attempts: u32,
    pub(super) not_before: Option<Instant>,
}

impl Retry {
    pub(super) fn begin(&mut self) {
        self.attempts += 1;
        self.not_before = None;
    }

    fn ready(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// True if this was the last attempt.
    fn failed(&mut self, now: Instant) -> bool {
        self.not_before = Some(now + pause(self.attempts));
        self.attempts >= ATTEMPTS
    }

    /// The guest could not be asked: that is no attempt.
    fn postponed(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_sub(1);
        self.not_before = Some(now + PAUSE);
    }
}

fn pause(attempts: u32) -> Duration {
    PAUSE.saturating_mul(GROWTH.saturating_pow(attempts.saturating_sub(1)))
}

/// One thing to tell a guest.
#[derive(Debug)]
pub(super) enum Delivery {
    Event { number: u64, topic: Arc<str>, data: Arc<RawValue>, redelivered: bool },
    Changed(Changes),
    Timer { id: String, number: u64 },
}

/// How telling it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Failed,
    /// The guest had no room for it just now.
    Busy,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Next {
    Deliver(Delivery),
    /// Something is due then, unless the lane wakes before.
    At(Instant),
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Lane {
    of: Namespace,
    instance: u64,
    switch: Arc<KillSwitch>,
    ledger: Arc<Ledger>,
    state: Mutex<State>,
    pub(super) wake: Notify,
    /// There was something to do.
    roused: AtomicBool,
    /// The task that does it has begun. Most instances never need one.
    pumping: AtomicBool,
    pump: OnceLock<Pump>,
    delivered: AtomicU64,
    dropped: AtomicU64,
}

/// What the task of a lane is made from.
struct Pump {
    runtime: Handle,
    instance: Weak<Shared>,
}

impl std::fmt::Debug for Pump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pump")
    }
}

#[derive(Debug, Default)]
struct State {
    topics: BTreeSet<String>,
    queue: Queue,
    events: Retry,
    watch: Watch,
    timers: Timers,
    /// Whose turn it is: none of the three kinds may starve the others.
    turn: u8,
    closed: bool,
    /// Charged for everything but the events.
    names: Option<Hold>,
}

impl Lane {
    pub(super) fn new(
        of: Namespace,
        instance: u64,
        switch: Arc<KillSwitch>,
        ledger: Arc<Ledger>,
        topics: BTreeSet<String>,
        queue: Queue,
    ) -> Self {
        Self {
            of,
            instance,
            switch,
            ledger,
            roused: AtomicBool::new(!queue.is_empty()),
            pumping: AtomicBool::new(false),
            pump: OnceLock::new(),
            state: Mutex::new(State { topics, queue, ..State::default() }),
            wake: Notify::new(),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    pub(crate) fn of(&self) -> &Namespace {
        &self.of
    }

    pub(crate) fn instance(&self) -> u64 {
        self.instance
    }

    /// From now on the instance may be told what waits for it.
    pub(crate) fn start(self: &Arc<Self>, instance: Weak<Shared>, runtime: Handle) {
        let mut state = self.lock();
        let dropped = state.queue.charge(|bytes| self.ledger.hold_aside(bytes));
        self.charge_names(&mut state);
        drop(state);
        self.count_dropped(dropped);
        // Set once, by the launch.
        let _ = self.pump.set(Pump { runtime, instance });
        if self.roused.load(Ordering::SeqCst) {
            self.begin();
        }
    }

    /// There is something to do. Before the start it waits; either this or the start sees that both have happened.
    fn rouse(self: &Arc<Self>) {
        self.roused.store(true, Ordering::SeqCst);
        self.wake.notify_one();
        self.begin();
    }

    fn begin(self: &Arc<Self>) {
        if let Some(Pump { runtime, instance }) = self.pump.get()
            && !self.pumping.swap(true, Ordering::SeqCst)
        {
            runtime.spawn(pump(self.clone(), instance.clone()));
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.switch.reason().is_some()
    }

    pub(super) async fn ended(&self) {
        self.switch.gone.cancelled().await;
    }

    /// Deliveries that the guest took, and those that were given up.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.delivered.load(Ordering::Relaxed), self.dropped.load(Ordering::Relaxed))
    }

    /// False if there are too many.
    pub(crate) fn subscribe(self: &Arc<Self>, topic: String) -> bool {
        let mut state = self.lock();
        if state.topics.len() >= TOPICS && !state.topics.contains(&topic) {
            return false;
        }
        if !state.closed && state.topics.insert(topic.clone()) && !self.charge_names(&mut state) {
            state.topics.remove(&topic);
            return false;
        }
        drop(state);
        // Somebody who may subscribe may also hear what was kept for it.
        self.rouse();
        true
    }

    /// What waits of that topic goes with it.
    pub(crate) fn unsubscribe(&self, topic: &str) {
        let mut state = self.lock();
        state.topics.remove(topic);
        state.queue.forget_topic(topic);
        self.charge_names(&mut state);
    }

    pub(super) fn forget_events(&self) {
        let mut state = self.lock();
        state.topics.clear();
        state.queue = Queue::default();
        self.charge_names(&mut state);
    }

    /// Nothing if it is not subscribed, else whether there was room.
    pub(super) fn publish(self: &Arc<Self>, event: &Event) -> Option<bool> {
        let mut state = self.lock();
        if !state.topics.contains(&*event.topic) {
            return None;
        }
        let hold = self.ledger.hold_aside(event.charged());
        let taken = hold.is_some_and(|hold| state.queue.push(event.copy(Some(hold))));
        drop(state);
        self.rouse();
        Some(taken)
    }

    /// False if there are too many.
    pub(crate) fn watch(&self, prefix: String) -> bool {
        let mut state = self.lock();
        let prefixes = &mut state.watch.prefixes;
        if prefixes.len() >= WATCHES && !prefixes.contains(&prefix) {
            return false;
        }
        if prefixes.insert(prefix.clone()) && !self.charge_names(&mut state) {
            state.watch.unwatch(&prefix);
            return false;
        }
        true
    }

    pub(crate) fn unwatch(&self, prefix: &str) -> bool {
        let mut state = self.lock();
        let was = state.watch.unwatch(prefix);
        self.charge_names(&mut state);
        was
    }

    pub(super) fn changed(self: &Arc<Self>, keys: Option<&[String]>) {
        let mut state = self.lock();
        if state.watch.changed(keys) {
            self.charge_changes(&mut state);
            drop(state);
            self.rouse();
        }
    }

    /// The timer's id; nothing if there are too many.
    pub(crate) fn set_timer(
        self: &Arc<Self>,
        id: Option<String>,
        after: Duration,
        every: Option<Duration>,
    ) -> Option<String> {
        let mut state = self.lock();
        let id = id.unwrap_or_else(|| state.timers.free_id());
        let mut set = state.timers.set(&id, Instant::now() + after, every);
        if set && !self.charge_names(&mut state) {
            state.timers.clear(&id);
            set = false;
        }
        drop(state);
        self.rouse();
        set.then_some(id)
    }

    pub(crate) fn clear_timer(&self, id: &str) -> bool {
        let mut state = self.lock();
        let was = state.timers.clear(id);
        self.charge_names(&mut state);
        was
    }

    pub(crate) fn timers(&self) -> Vec<TimerState> {
        self.lock().timers.states(Instant::now())
    }

    /// Ends the lane: what its successor shall hear, unless there is to be nothing, or it was taken already.
    pub(super) fn close(&self) -> Option<(BTreeSet<String>, Queue)> {
        let mut state = self.lock();
        let State { topics, mut queue, .. } = std::mem::take(&mut *state);
        queue.discharge();
        let again = std::mem::replace(&mut state.closed, true);
        // Who was killed did something wrong; what it had asked for is not carried on.
        let killed = matches!(self.switch.reason(), Some(StopReason::Killed { .. }));
        (!again && !killed).then_some((topics, queue))
    }

    /// Begins the next delivery. `allowed` tells which permissions are effective: what needs one that is not waits.
    pub(super) fn next(&self, now: Instant, allowed: impl Fn(&str) -> bool) -> Next {
        let mut state = self.lock();
        for _ in 0..3 {
            state.turn = (state.turn + 1) % 3;
            let delivery = match state.turn {
                0 => state.next_event(now, &allowed),
                1 => state.next_changes(now, &allowed),
                _ => state.timers.take_due(now).map(|(id, number)| Delivery::Timer { id, number }),
            };
            if let Some(delivery) = delivery {
                return Next::Deliver(delivery);
            }
        }
        let paused = [
            state.events.not_before.filter(|_| !state.queue.is_empty() && allowed("events")),
            state.watch.retry.not_before.filter(|_| state.watch.pending() && allowed("storage")),
            state.timers.next(),
        ];
        paused.into_iter().flatten().min().map_or(Next::Nothing, Next::At)
    }

    pub(super) fn ended_with(&self, delivery: Delivery, outcome: Outcome, now: Instant) {
        let mut state = self.lock();
        let given_up = match delivery {
            Delivery::Event { number, .. } => {
                let given_up = state.event_ended(number, outcome, now);
                state.queue.charge_again(number, |bytes| self.ledger.hold_aside(bytes));
                given_up
            }
            Delivery::Changed(changes) => state.changes_ended(changes, outcome, now),
            Delivery::Timer { id, number } => state.timer_ended(&id, number, outcome, now),
        };
        self.charge_changes(&mut state);
        drop(state);
        if outcome == Outcome::Done {
            self.delivered.fetch_add(1, Ordering::Relaxed);
        }
        self.count_dropped(given_up.into());
    }

    pub(super) fn count_dropped(&self, dropped: u64) {
        if dropped > 0 {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
            tracing::warn!(owner = %self.of.owner, dropped, "an app did not take what it was told");
        }
    }

    /// Charges the app for what is kept of it by name. False if its memory has no room: then nothing is charged anew.
    fn charge_names(&self, state: &mut State) -> bool {
        let bytes =
            state.topics.iter().map(String::len).sum::<usize>() + state.watch.bytes() + state.timers.bytes();
        match &mut state.names {
            Some(names) => names.resize(bytes),
            none => {
                *none = self.ledger.hold_aside(bytes);
                none.is_some()
            }
        }
    }

    /// The same where something can be left out.
    fn charge_changes(&self, state: &mut State) {
        if !self.charge_names(state) {
            state.watch.forget_names();
            self.charge_names(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_event(&mut self, now: Instant, allowed: &impl Fn(&str) -> bool) -> Option<Delivery> {
        if self.queue.is_empty() || !self.events.ready(now) || !allowed("events") {
            return None;
        }
        let event = self.queue.front()?;
        event.attempts += 1;
        event.release();
        self.events.attempts = event.attempts;
        self.events.not_before = None;
        Some(Delivery::Event {
            number: event.number,
            topic: event.topic.clone(),
            data: event.data.clone(),
            redelivered: event.redelivered || event.attempts > 1,
        })
    }

    fn next_changes(&mut self, now: Instant, allowed: &impl Fn(&str) -> bool) -> Option<Delivery> {
        if !self.watch.pending() || !self.watch.retry.ready(now) || !allowed("storage") {
            return None;
        }
        self.watch.retry.begin();
        Some(Delivery::Changed(self.watch.take()))
    }

    /// Each of these tells whether the delivery was given up.
    fn event_ended(&mut self, number: u64, outcome: Outcome, now: Instant) -> bool {
        let give_up = match outcome {
            Outcome::Done => true,
            Outcome::Failed => self.events.failed(now),
            Outcome::Busy => {
                self.events.postponed(now);
                let attempts = self.events.attempts;
                // It may be gone: the guest may have unsubscribed in its handler.
                if let Some(event) = self.queue.get_mut(number) {
                    event.attempts = attempts;
                }
                false
            }
        };
        if give_up {
            self.queue.remove(number);
            self.events = Retry::default();
        }
        give_up && outcome == Outcome::Failed
    }

    fn changes_ended(&mut self, changes: Changes, outcome: Outcome, now: Instant) -> bool {
        let give_up = match outcome {
            Outcome::Done => true,
            Outcome::Failed => self.watch.retry.failed(now),
            Outcome::Busy => {
                self.watch.retry.postponed(now);
                false
            }
        };
        if give_up {
            self.watch.retry = Retry::default();
        } else {
            self.watch.put_back(changes);
        }
        give_up && outcome == Outcome::Failed
    }

    fn timer_ended(&mut self, id: &str, number: u64, outcome: Outcome, now: Instant) -> bool {
        // It may be gone, or another: the guest may have set or cleared it in its handler.
        let Some(retry) = self.timers.retry(id, number) else { return false };
        let give_up = match outcome {
            Outcome::Done => true,
            Outcome::Failed => retry.failed(now),
            Outcome::Busy => {
                retry.postponed(now);
                false
            }
        };
        if give_up {
            self.timers.done(id, number, now);
        }
        give_up && outcome == Outcome::Failed
    }
}
