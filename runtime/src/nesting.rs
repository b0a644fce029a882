//! Calls within calls: a bridge that an app calls may call an app, which calls a bridge.
//!
//! Each of them holds memory and a place in a queue until all within it are answered, and apps that call each other in a
//! circle would wait for each other. So each call knows which ones it is within, on whatever thread it is polled. What a
//! bridge spawns is within nothing: nobody has to wait for it.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use smallvec::SmallVec;

use crate::call::Shared;
use crate::life::Living;
use crate::limits::Limit;
use crate::rpc::{RpcError, code};

tokio::task_local! {
    static WITHIN: Within;
}

thread_local! {
    /// Whether there is a [`WITHIN`]. Every call asks, and is short enough for a look at that to show.
    static NESTED: Cell<bool> = const { Cell::new(false) };
}

/// Who waits for what is called now, outermost first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Within(SmallVec<[Waits; 4]>);

/// Who waits for a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// The instance with this id, which can do nothing else meanwhile.
    Instance(u64),
    /// The page of an instance. The instance itself is free.
    Page,
}

impl Within {
    /// Runs `work` as a part of this.
    pub(crate) fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        let work = WITHIN.scope(self, work);
        async move {
            let mut work = pin!(work);
            poll_fn(|cx| {
                let _nested = Marked::begin();
                work.as_mut().poll(cx)
            })
            .await
        }
    }
}

/// [`NESTED`] is set as long as this lives.
struct Marked {
    before: bool,
}

impl Marked {
    fn begin() -> Self {
        Self { before: NESTED.replace(true) }
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        NESTED.set(self.before);
    }
}

/// Whether that instance waits for what goes on here.
pub(crate) fn is_waiting(instance: u64) -> bool {
    WITHIN.try_with(|within| within.0.contains(&Waits::Instance(instance))).unwrap_or(false)
}

/// Carries out what a bridge does for who waits for it.
pub(crate) fn bridge<F: Future>(waits: Waits, work: F) -> impl Future<Output = F::Output> {
    let mut within = WITHIN.try_with(Clone::clone).unwrap_or_default();
    within.0.push(waits);
    within.scope(work)
}

/// How a call into an instance is nested. `waits` is kept as long as somebody waits for the call.
pub(crate) struct Nested {
    pub(crate) within: Within,
    pub(crate) waits: Option<WaitsFor>,
}

/// Which instances wait for which: those in whose calls a bridge calls an app, until that is done.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashMap<u64, Vec<u64>>>);

/// One instance waits for another one as long as this lives.
pub(crate) struct WaitsFor {
    living: Weak<Living>,
    who: u64,
    whom: u64,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Vec<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that `who` waits for `whom`. False if that one waits for `who`, itself or by others, and it `matters`: all
    /// would wait for good, in however many calls it came about.
    fn begin(&self, who: u64, whom: u64, matters: bool) -> bool {
        let mut waiting = self.lock();
        let (mut seen, mut next) = (BTreeSet::new(), vec![whom]);
        while let Some(one) = next.pop() {
            if matters && one == who {
                return false;
            }
            if seen.insert(one) {
                next.extend(waiting.get(&one).into_iter().flatten());
            }
        }
        waiting.entry(who).or_default().push(whom);
        true
    }

    fn end(&self, who: u64, whom: u64) {
        let mut waiting = self.lock();
        if let Some(those) = waiting.get_mut(&who) {
            if let Some(place) = those.iter().position(|&one| one == whom) {
                those.swap_remove(place);
            }
            if those.is_empty() {
                waiting.remove(&who);
            }
        }
    }
}

impl Drop for WaitsFor {
    fn drop(&mut self) {
        if let Some(living) = self.living.upgrade() {
            living.waiting.end(self.who, self.whom);
        }
    }
}

/// Whether anybody waits for what goes on here. Nearly always nobody does, and then a call needs to know no more.
#[inline]
pub(crate) fn is_nested() -> bool {
    NESTED.get()
}

/// Refuses a call that would wait for itself, and one that is nested more deeply than
/// [`Limits::call_depth`](crate::Limits::call_depth).
pub(crate) fn enter(shared: &Shared, from_outside: bool) -> Result<Nested, RpcError> {
    let within = WITHIN.try_with(Clone::clone).unwrap_or_default();
    let session = &shared.session;
    let refused = |message: String| {
        session.metrics.hit(Limit::CallDepth);
        Err(RpcError::new(code::REFUSED, message).with_limit(Limit::CallDepth))
    };
    let (depth, limit) = (within.0.len() + 1, session.limits.call_depth);
    // What the host itself has to say has to be said, and is waited for within bounds of its own.
    if from_outside && depth > usize::try_from(limit).unwrap_or(usize::MAX) {
        return refused(format!(
            "The call is nested {depth} deep, by bridges that call apps; the limit is {limit}."
        ));
    }
    let who = within.0.iter().rev().find_map(|waits| match waits {
        Waits::Instance(id) => Some(*id),
        Waits::Page => None,
    });
    let (Some(who), living) = (who, session.life.living()) else { return Ok(Nested { within, waits: None }) };
    let whom = session.life.id;
    match living.upgrade() {
        Some(here) if !here.waiting.begin(who, whom, from_outside) => refused(format!(
            "`{}` waits for the one that calls it, itself or by others, and both would wait for good.",
            session.life.app_id
        )),
        _ => Ok(Nested { within, waits: Some(WaitsFor { living, who, whom }) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_circle_is_closed_and_what_ended_is_forgotten() {
        let waiting = Waiting::default();
        let begin = |who, whom| waiting.begin(who, whom, true);
        assert!(!begin(1, 1));
        assert!(begin(1, 2) && begin(2, 3) && begin(2, 4) && begin(1, 2));
        assert!(!begin(4, 1) && !begin(3, 2));
        assert!(begin(3, 4));
        waiting.end(1, 2);
        assert!(!begin(4, 1), "it waits twice");
        waiting.end(1, 2);
        assert!(begin(4, 1));
        assert!(waiting.begin(4, 4, false), "what has to be said is, and remembered");
        for (who, whom) in [(2, 3), (2, 4), (3, 4), (4, 1), (4, 4)] {
            waiting.end(who, whom);
        }
        assert!(waiting.lock().is_empty());
    }
}
