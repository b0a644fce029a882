//! Orders that wait, the most urgent first, then the oldest.
//!
//! An order is handed out on lease: whoever takes it says when it is done, and if nothing is heard, the next one gets
//! it. So each order is worked on at least once, whatever happens to the worker.

use std::collections::BTreeMap;

use mpkg_sdk::{Error, storage};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "order/";

/// How urgent an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Priority {
    Urgent,
    High,
    Normal,
    Low,
}

/// One order, as stored under `order/<source>/<webhook id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// `<source>/<webhook id>`.
    pub(crate) key: String,
    pub(crate) order_id: String,
    pub(crate) priority: Priority,
    pub(crate) total_minor: i64,
    pub(crate) currency: String,
    pub(crate) received_ms: i64,
}

/// The order of work.
type Place = (Priority, i64, String);

#[derive(Debug)]
struct Waiting {
    order: Order,
    leased_until_ms: i64,
}

/// The queue: on disk, and in memory in the order of work.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<Place, Waiting>,
}

impl Queue {
    /// Reads what an earlier run left. Leases do not survive: nobody knows whether the worker did.
    pub(crate) fn open() -> Result<Self, Error> {
        let mut queue = Self::default();
        for key in storage::keys(PREFIX)? {
            if let Some(order) = storage::get::<Order>(&key)? {
                queue.insert(order);
            }
        }
        Ok(queue)
    }

    fn insert(&mut self, order: Order) {
        let place = (order.priority, order.received_ms, order.key.clone());
        self.waiting.insert(place, Waiting { order, leased_until_ms: 0 });
    }

    /// Stores an order; returns how many are to be worked on before it.
    pub(crate) fn add(&mut self, order: Order) -> Result<usize, Error> {
        storage::set(&format!("{PREFIX}{}", order.key), &order)?;
        let place = (order.priority, order.received_ms, order.key.clone());
        self.insert(order);
        Ok(self.waiting.range(..place).count())
    }

    /// Hands out up to `limit` orders until `until_ms`.
    pub(crate) fn take(&mut self, limit: usize, now_ms: i64, until_ms: i64) -> Vec<Order> {
        let free = self.waiting.values_mut().filter(|waiting| waiting.leased_until_ms <= now_ms);
        free.take(limit)
            .map(|waiting| {
                waiting.leased_until_ms = until_ms;
                waiting.order.clone()
            })
            .collect()
    }

    /// Forgets an order that was worked on. `None` when there is no such order, or not any more.
    pub(crate) fn done(&mut self, key: &str) -> Result<Option<Order>, Error> {
        let place = self.waiting.keys().find(|(_, _, known)| known == key).cloned();
        let Some(place) = place else { return Ok(None) };
        storage::delete(&format!("{PREFIX}{key}"))?;
        Ok(self.waiting.remove(&place).map(|waiting| waiting.order))
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn count(&self, priority: Priority) -> usize {
        self.waiting.keys().filter(|(other, _, _)| *other == priority).count()
    }

    /// When the order that waits longest came in.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.waiting.keys().map(|(_, received_ms, _)| *received_ms).min()
    }
}
