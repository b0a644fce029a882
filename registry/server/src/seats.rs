//! Places of streams: a few for each token, and never all connections.
//!
//! A stream holds its connection for hours. Without bounds one host's token could take every connection there is, and
//! nobody would get through to stop anything.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Streams of one token: a host has one, and perhaps some that it lost and that nobody has found out about yet.
const EACH: usize = 4;
/// Of so many connections one is kept for requests that are no streams.
const RESERVE: usize = 8;

pub(crate) struct Seats(Mutex<Inner>);

struct Inner {
    free: usize,
    next: u64,
    /// Those that are taken, by token, the oldest first. No token without one.
    taken: HashMap<Arc<str>, VecDeque<(u64, CancellationToken)>>,
}

/// A place, until it is dropped.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    number: u64,
    pub(crate) token: Arc<str>,
    /// Another stream of the token has it now, so this one ends.
    pub(crate) ended: CancellationToken,
}

impl Seats {
    /// Of a registry that has so many connections.
    pub(crate) fn new(connections: usize) -> Self {
        let free = connections.saturating_sub(connections.div_ceil(RESERVE)).max(1);
        Self(Mutex::new(Inner { free, next: 0, taken: HashMap::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a stream of a token, and whether an older one of the token ends for it: a host that comes back is
    /// never kept out by what is left of its own connection. None when all are taken by others.
    pub(crate) fn take(self: &Arc<Self>, token: &str) -> Option<(Seat, bool)> {
        let mut inner = self.lock();
        let Inner { free, next, taken } = &mut *inner;
        let mut own = taken.get_mut(token);
        let full = *free == 0 || own.as_ref().is_some_and(|own| own.len() >= EACH);
        if full {
            let (_, oldest) = own.as_mut()?.pop_front()?;
            oldest.cancel();
        } else {
            *free -= 1;
        }
        *next += 1;
        let (number, ended) = (*next, CancellationToken::new());
        let token = match taken.get_key_value(token) {
            Some((token, _)) => Arc::clone(token),
            None => token.into(),
        };
        taken
            .entry(Arc::clone(&token))
            .or_insert_with(|| VecDeque::with_capacity(1))
            .push_back((number, ended.clone()));
        drop(inner);
        Some((Seat { seats: Arc::clone(self), number, token, ended }, full))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.seats.lock();
        let Some(own) = inner.taken.get_mut(&self.token) else { return };
        let before = own.len();
        own.retain(|(number, _)| *number != self.number);
        // One that another stream has taken over is not free.
        let freed = before - own.len();
        if own.is_empty() {
            inner.taken.remove(&self.token);
        }
        inner.free += freed;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seats(connections: usize) -> Arc<Seats> {
        Arc::new(Seats::new(connections))
    }

    #[test]
    fn the_fifth_stream_of_a_token_ends_its_first() {
        let seats = seats(100);
        let mut own: Vec<_> = (0..EACH).map(|_| seats.take("a").unwrap()).collect();
        let (other, _) = seats.take("b").unwrap();
        assert!(own.iter().all(|(_, full)| !full));
        let (_fifth, full) = seats.take("a").unwrap();
        assert!(full && own[0].0.ended.is_cancelled());
        assert!(!own[1].0.ended.is_cancelled() && !other.ended.is_cancelled());
        // What ended leaves nothing, and what left makes room.
        drop(own.remove(0));
        own.remove(0);
        let (_, full) = seats.take("a").unwrap();
        assert!(!full && !own[0].0.ended.is_cancelled());
    }

    #[test]
    fn streams_leave_connections_and_nobody_is_kept_out_by_their_own() {
        let seats = seats(16);
        let mut taken: Vec<_> = (0..14).map(|token| seats.take(&token.to_string()).unwrap().0).collect();
        assert!(seats.take("late").is_none());
        let (again, full) = seats.take("3").unwrap();
        assert!(full && taken[3].ended.is_cancelled());
        // The one that it took over frees nothing.
        taken.remove(3);
        assert!(seats.take("late").is_none());
        drop(again);
        assert!(seats.take("late").is_some());
    }

    proptest! {
        #[test]
        fn no_order_of_coming_and_going_loses_or_makes_places(
            steps in prop::collection::vec((0_usize..6, any::<prop::sample::Index>(), any::<bool>()), 0..200),
        ) {
            let seats = seats(16);
            let mut held: Vec<Seat> = Vec::new();
            for (token, index, comes) in steps {
                if comes {
                    held.extend(seats.take(&token.to_string()).map(|(seat, _)| seat));
                } else if !held.is_empty() {
                    held.remove(index.index(held.len()));
                }
                let alive: Vec<_> = held.iter().filter(|seat| !seat.ended.is_cancelled()).collect();
                prop_assert_eq!(seats.lock().free + alive.len(), 14);
                for token in 0..6 {
                    let own = alive.iter().filter(|seat| *seat.token == *token.to_string()).count();
                    prop_assert!(own <= EACH);
                }
            }
            drop(held);
            prop_assert!(seats.lock().taken.is_empty());
        }
    }
}
