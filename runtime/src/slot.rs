//! A thing that one has at a time, and those who wait for their turn with it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::atomic::AtomicCell;

/// The thing passes by one exchange between threads each way while nobody waits for it: a call into an app is short
/// enough for a lock to show.
///
/// Who waits says so and then looks once more whether the thing is there; who puts it back looks afterwards whether
/// anybody waits. Both exchange the same cell in between, so at least one of them sees the other.
pub(crate) struct Slot<T, W> {
    idle: AtomicCell<Option<Box<T>>>,
    /// Written by the one who has the thing.
    taken: AtomicBool,
    waiting: Mutex<VecDeque<W>>,
    /// How many wait, so that nobody has to lock in order to see that none does.
    waiters: AtomicUsize,
}

impl<T, W> Slot<T, W> {
    pub(crate) fn new(thing: T) -> Self {
        Self {
            idle: AtomicCell::new(Some(Box::new(thing))),
            taken: AtomicBool::new(false),
            waiting: Mutex::default(),
            waiters: AtomicUsize::new(0),
        }
    }

    /// The thing, if nobody has it.
    #[inline]
    pub(crate) fn take(&self) -> Option<Box<T>> {
        let thing = self.idle.take();
        if thing.is_some() {
            self.taken.store(true, Ordering::Relaxed);
        }
        thing
    }

    /// Puts the thing back. If anybody waits, it is given to the first of them instead.
    #[inline]
    pub(crate) fn put(&self, mut thing: Box<T>) -> Option<(Box<T>, W)> {
        loop {
            if self.waiters.load(Ordering::Acquire) == 0 {
                self.taken.store(false, Ordering::Relaxed);
                self.idle.store(Some(thing));
                if self.waiters.load(Ordering::Acquire) == 0 {
                    return None;
                }
                // Someone has begun to wait, and may have looked before it was there.
                thing = self.take()?;
            }
            if let Some(next) = self.pop() {
                return Some((thing, next));
            }
        }
    }

    /// Waits, unless `most` have the thing or wait already. Who does has to look once more whether it is there, and if it
    /// is, put it back.
    pub(crate) fn wait(&self, waiter: W, most: usize) -> Result<(), W> {
        self.change(|waiting| {
            if waiting.len() + 1 >= most {
                return Err(waiter);
            }
            waiting.push_back(waiter);
            Ok(())
        })
    }

    /// Nobody gets the thing any more: who waits, in order.
    pub(crate) fn lost(&self) -> VecDeque<W> {
        self.taken.store(false, Ordering::Relaxed);
        self.change(std::mem::take)
    }

    /// Keeps of those who wait the ones who still want to.
    pub(crate) fn retain(&self, keep: impl FnMut(&W) -> bool) {
        self.change(|waiting| waiting.retain(keep));
    }

    /// Whether nobody has the thing or waits for it, as of a moment ago.
    pub(crate) fn is_idle(&self) -> bool {
        !self.taken.load(Ordering::Relaxed) && self.waiters.load(Ordering::Acquire) == 0
    }

    #[cold]
    fn pop(&self) -> Option<W> {
        self.change(VecDeque::pop_front)
    }

    fn change<R>(&self, change: impl FnOnce(&mut VecDeque<W>) -> R) -> R {
        let mut waiting = self.lock();
        let changed = change(&mut waiting);
        self.waiters.store(waiting.len(), Ordering::Release);
        changed
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<W>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_gets_it_in_order_and_none_of_it_is_lost() {
        let slot = Slot::<_, u8>::new("thing");
        let thing = slot.take().unwrap();
        assert!(slot.take().is_none() && !slot.is_idle());
        assert_eq!((slot.wait(1, 2), slot.wait(2, 2), slot.wait(2, 3)), (Ok(()), Err(2), Ok(())));
        let (thing, first) = slot.put(thing).unwrap();
        assert_eq!((first, slot.is_idle()), (1, false));
        slot.retain(|&waiter| waiter != 2);
        assert!(slot.put(thing).is_none() && slot.is_idle());
        slot.take().unwrap();
        slot.wait(3, 9).unwrap();
        assert_eq!(slot.lost(), [3]);
        assert!(slot.is_idle() && slot.take().is_none());
    }

    #[test]
    fn one_has_it_at_a_time_and_everybody_comes_to_it() {
        const TURNS: u64 = 20_000;
        let slot = Slot::<AtomicU64, mpsc::Sender<Box<AtomicU64>>>::new(AtomicU64::new(0));
        let leave = |thing| {
            if let Some((thing, next)) = slot.put(thing) {
                next.send(thing).unwrap();
            }
        };
        let turn = || {
            let thing = slot.take().unwrap_or_else(|| {
                let (sender, turn) = mpsc::channel();
                slot.wait(sender, usize::MAX).unwrap();
                if let Some(thing) = slot.take() {
                    leave(thing);
                }
                turn.recv().unwrap()
            });
            // In two steps: two at a time would lose some.
            thing.store(thing.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            leave(thing);
        };
        thread::scope(|all| {
            for _ in 0..4 {
                all.spawn(|| (0..TURNS).for_each(|_| turn()));
            }
        });
        assert!(slot.is_idle());
        assert_eq!(slot.take().unwrap().load(Ordering::Relaxed), 4 * TURNS);
    }
}
