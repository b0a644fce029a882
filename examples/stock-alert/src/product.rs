//! What the app remembers of one product.

use serde::{Deserialize, Serialize};

use crate::forecast::{self, Attention, Level, Policy, Sales};

const HOUR_MS: u64 = 3_600_000;
/// How many order numbers are remembered, to count an order that is reported twice only once.
const REMEMBERED_ORDERS: usize = 256;

/// One product, as stored under `product/<sku>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Product {
    pub(crate) sku: String,
    pub(crate) stock: u64,
    pub(crate) on_order: u64,
    pub(crate) policy: Policy,
    pub(crate) level: Level,
    since_hour: u64,
    sales: Vec<Sales>,
    orders: Vec<String>,
    attention: Option<Attention>,
}

/// What a shop wants to know of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Status {
    pub(crate) sku: String,
    pub(crate) level: Level,
    pub(crate) stock: u64,
    pub(crate) on_order: u64,
    /// Thousandths of a unit per hour, without the boost.
    pub(crate) velocity_milli: u64,
    /// Thousandths: 1000 is no boost.
    pub(crate) boost_milli: u64,
    /// With the boost. Absent when nothing is being sold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hours_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minutes_left: Option<u64>,
    pub(crate) reorder_units: u64,
}

impl Product {
    pub(crate) fn new(sku: &str, now_ms: u64) -> Self {
        Self {
            sku: sku.to_owned(),
            stock: 0,
            on_order: 0,
            policy: Policy::default(),
            level: Level::Ok,
            since_hour: now_ms / HOUR_MS,
            sales: Vec::new(),
            orders: Vec::new(),
            attention: None,
        }
    }

    /// Counts an order. `false` when it was counted before.
    pub(crate) fn sell(&mut self, order_id: &str, units: u64, at_ms: u64, now_ms: u64) -> bool {
        if self.orders.iter().any(|known| known == order_id) {
            return false;
        }
        if self.orders.len() >= REMEMBERED_ORDERS {
            self.orders.remove(0);
        }
        self.orders.push(order_id.to_owned());

        self.stock = self.stock.saturating_sub(units);
        let hour = at_ms / HOUR_MS;
        self.since_hour = self.since_hour.min(hour);
        match self.sales.iter_mut().find(|sales| sales.hour == hour) {
            Some(sales) => sales.units = sales.units.saturating_add(units),
            None => self.sales.push(Sales { hour, units }),
        }
        let oldest = (now_ms / HOUR_MS).saturating_sub(forecast::WINDOW_HOURS);
        self.sales.retain(|sales| sales.hour > oldest);
        true
    }

    /// Takes a reading of views and engagement. The first one is the usual; a spike does not become it at once.
    pub(crate) fn look(&mut self, views_per_hour: u64, engagement_permille: u64, now_ms: u64) {
        let usual = match &self.attention {
            None => views_per_hour,
            Some(before) => {
                (before.usual_views_per_hour.saturating_mul(9)).saturating_add(before.views_per_hour) / 10
            }
        };
        self.attention = Some(Attention {
            usual_views_per_hour: usual,
            views_per_hour,
            engagement_permille,
            at_ms: now_ms,
        });
    }

    pub(crate) fn status(&self, now_ms: u64) -> Status {
        let velocity = forecast::velocity_milli(&self.sales, self.since_hour, now_ms / HOUR_MS);
        let boost = forecast::boost_milli(self.attention.as_ref(), now_ms);
        let boosted = velocity.saturating_mul(boost) / 1000;
        let minutes_left = forecast::minutes_left(self.stock, boosted);
        let level = forecast::level(self.stock, minutes_left, &self.policy);
        let reorder_units = match level {
            Level::Ok => 0,
            _ => forecast::reorder_units(self.stock, self.on_order, velocity, boosted, &self.policy),
        };
        Status {
            sku: self.sku.clone(),
            level,
            stock: self.stock,
            on_order: self.on_order,
            velocity_milli: velocity,
            boost_milli: boost,
            hours_left: minutes_left.map(|minutes| minutes / 60),
            minutes_left,
            reorder_units,
        }
    }
}
