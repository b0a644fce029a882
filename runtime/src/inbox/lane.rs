//! What waits for one instance.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::PERMISSION;
use super::events::{Event, Queue, TOPICS};
use super::pump::pump;
use super::state::{Delivery, Outcome, State};
use super::timers::TimerState;
use super::watch::WATCHES;
use crate::broker::{Claim, Permissions};
use crate::budget::{Hold, Ledger};
use crate::data::Namespace;
use crate::instance::Shared;
use crate::stop::StopReason;
use crate::supervisor::KillSwitch;

/// An instance that is told what waits for it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) of: Namespace,
    pub(crate) instance: u64,
    pub(crate) switch: Arc<KillSwitch>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) permissions: Arc<Permissions>,
    /// The longest message that it takes.
    pub(crate) message_bytes: usize,
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
    who: Listener,
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

impl Lane {
    pub(super) fn new(who: Listener, topics: BTreeSet<String>, queue: Queue) -> Self {
        Self {
            who,
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
        &self.who.of
    }

    pub(crate) fn instance(&self) -> u64 {
        self.who.instance
    }

    pub(super) fn permissions(&self) -> &Arc<Permissions> {
        &self.who.permissions
    }

    pub(super) fn message_bytes(&self) -> usize {
        self.who.message_bytes
    }

    /// From now on the instance may be told what waits for it.
    pub(crate) fn start(self: &Arc<Self>, instance: Weak<Shared>, runtime: Handle) {
        let mut state = self.lock();
        let dropped = state.queue.charge(|bytes| self.hold_event(bytes));
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
        self.who.switch.reason().is_some()
    }

    pub(super) async fn ended(&self) {
        self.who.switch.gone.cancelled().await;
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
        self.forget_in(&mut self.lock());
    }

    fn forget_in(&self, state: &mut State) {
        state.topics.clear();
        state.queue = Queue::default();
        self.charge_names(state);
    }

    /// From now on nothing is kept for its successor, which asks its user anew.
    pub(super) fn leave_nothing(&self) {
        self.lock().heirless = true;
    }

    /// Charges the app for an event. Nothing if its memory has no room, or if the event could never be told.
    fn hold_event(&self, charged: usize) -> Option<Hold> {
        if charged > self.who.message_bytes {
            return None;
        }
        self.who.ledger.hold_aside(charged)
    }

    /// Nothing if it does not hear of it, else whether it was taken. Who may not hear of events is no reason to refuse
    /// one: what it had subscribed to is forgotten once the permission is lost, however that came about, and what does not
    /// fit while nobody has decided is dropped.
    pub(super) fn publish(self: &Arc<Self>, event: &Event) -> Option<bool> {
        let mut state = self.lock();
        if !state.topics.contains(&*event.topic) {
            return None;
        }
        let claim = self.who.permissions.claim(PERMISSION);
        if claim == Claim::Lost {
            self.forget_in(&mut state);
            return None;
        }
        let hold = self.hold_event(event.charged());
        let taken = hold.is_some_and(|hold| state.queue.push(event.copy(Some(hold))));
        drop(state);
        if !taken && claim == Claim::Open {
            self.count_dropped(1);
            return None;
        }
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
        let State { topics, mut queue, heirless, closed, .. } = std::mem::take(&mut *state);
        state.closed = true;
        queue.discharge();
        // Who was killed did something wrong; what it had asked for is not carried on. Nor is what was asked for under a
        // permission that is lost.
        let killed = matches!(
            self.who.switch.reason(),
            Some(StopReason::Killed { .. } | StopReason::SwitchedOff { .. })
        );
        let lost = self.who.permissions.claim(PERMISSION) == Claim::Lost;
        (!closed && !killed && !heirless && !lost).then_some((topics, queue))
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
            state.events.not_before.filter(|_| !state.queue.is_empty() && allowed(PERMISSION)),
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
                state.queue.charge_again(number, |bytes| self.who.ledger.hold_aside(bytes));
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
            tracing::warn!(owner = %self.who.of.owner, dropped, "an app did not take what it was told");
        }
    }

    /// Charges the app for what is kept of it by name. False if its memory has no room: then nothing is charged anew.
    fn charge_names(&self, state: &mut State) -> bool {
        let bytes =
            state.topics.iter().map(String::len).sum::<usize>() + state.watch.bytes() + state.timers.bytes();
        match &mut state.names {
            Some(names) => names.resize(bytes),
            none => {
                *none = self.who.ledger.hold_aside(bytes);
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
