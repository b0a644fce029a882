//! Stock Alert: warns a shop before it runs out of what sells.
//!
//! Orders, deliveries and view counts come in, as calls or as events of the host. For each product the app keeps three
//! days of sales by the hour, and after every change tells how long the stock lasts. When a product's level changes,
//! it publishes `stock.alert` and remembers the alert.

mod forecast;
mod history;
mod product;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use mpkg_sdk::{Error, clock, events, lifecycle, log, notifications, storage};
use serde::{Deserialize, Serialize};

use forecast::Level;
use history::{Alert, History};
use product::{Product, Status};

/// Orders from a clock that runs ahead of ours by more than this are somebody's mistake.
const MAX_AHEAD_MS: u64 = 300_000;
const MAX_SKU: usize = 64;
const MAX_ORDER_ID: usize = 64;

/// Error code: the app has not heard of this product.
const UNKNOWN_SKU: i32 = 1;

#[derive(Default)]
struct StockAlert {
    products: BTreeMap<String, Product>,
    history: History,
}

/// Something was sold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Counted once, however often it is reported.
    order_id: String,
    sku: String,
    quantity: u64,
    /// When; now, if absent.
    #[serde(default)]
    at_ms: Option<u64>,
    /// The same for tills that know only how long ago it was.
    #[serde(default)]
    minutes_ago: Option<u64>,
}

/// What is on the shelf was counted, or a delivery came.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory {
    sku: String,
    stock: u64,
    /// Ordered from the supplier and not here yet.
    #[serde(default)]
    on_order: u64,
    #[serde(default)]
    lead_time_hours: Option<u64>,
    #[serde(default)]
    cover_hours: Option<u64>,
    #[serde(default)]
    pack_size: Option<u64>,
}

/// How much a product is looked at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    sku: String,
    views_per_hour: u64,
    /// Of a thousand views, how many led to a like, a share, a comment or a cart.
    engagement_permille: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    sku: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    #[serde(default)]
    sku: Option<String>,
    #[serde(default = "twenty")]
    limit: usize,
}

fn twenty() -> usize {
    20
}

#[derive(Serialize)]
struct Overview {
    products: Vec<Status>,
}

#[derive(Serialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

#[mpkg_sdk::app(log_panics)]
impl StockAlert {
    #[on("lifecycle.launched")]
    fn launched(&mut self, event: lifecycle::Launched) -> Result<(), Error> {
        for key in storage::keys("product/")? {
            if let Some(product) = storage::get::<Product>(&key)? {
                self.products.insert(product.sku.clone(), product);
            }
        }
        self.history = History::open()?;
        for topic in ["orders.placed", "inventory.changed", "metrics.reported"] {
            events::subscribe(topic)?;
        }
        log::info(&format!("watching {} products for {}", self.products.len(), event.user));
        Ok(())
    }

    #[on("events.message")]
    fn message(&mut self, message: events::Message) -> Result<(), Error> {
        let read = |error: serde_json::Error| Error::invalid_params("data", error);
        let result = match message.topic.as_str() {
            "orders.placed" => serde_json::from_value(message.data).map_err(read).and_then(|o| self.order(o)),
            "inventory.changed" => {
                serde_json::from_value(message.data).map_err(read).and_then(|i| self.inventory(i))
            }
            "metrics.reported" => {
                serde_json::from_value(message.data).map_err(read).and_then(|m| self.metrics(m))
            }
            _ => return Ok(()),
        };
        // Nobody waits for an answer to an event, so the log is the place to complain.
        if let Err(error) = &result {
            log::warn(&format!("ignored a message of {}: {error}", message.topic));
        }
        result.map(|_| ())
    }

    #[method("orders.add")]
    fn order(&mut self, order: Order) -> Result<Status, Error> {
        check_sku(&order.sku)?;
        if order.order_id.is_empty() || order.order_id.len() > MAX_ORDER_ID {
            return Err(Error::invalid_params("order_id", format!("must be 1 to {MAX_ORDER_ID} bytes long")));
        }
        if order.quantity == 0 {
            return Err(Error::invalid_params("quantity", "must be at least 1"));
        }
        let now = now_ms()?;
        let at = match (order.at_ms, order.minutes_ago) {
            (Some(_), Some(_)) => return Err(Error::invalid_params("minutes_ago", "cannot go with `at_ms`")),
            (Some(at), None) => at,
            (None, ago) => now.saturating_sub(ago.unwrap_or(0).saturating_mul(60_000)),
        };
        if at > now + MAX_AHEAD_MS {
            return Err(Error::invalid_params("at_ms", "is in the future"));
        }
        self.change(&order.sku, now, |product| {
            if !product.sell(&order.order_id, order.quantity, at, now) {
                log::debug(&format!("order {} was counted before", order.order_id));
            }
        })
    }

    #[method("inventory.set")]
    fn inventory(&mut self, inventory: Inventory) -> Result<Status, Error> {
        check_sku(&inventory.sku)?;
        if inventory.pack_size == Some(0) {
            return Err(Error::invalid_params("pack_size", "must be at least 1"));
        }
        let now = now_ms()?;
        let product = self.products.entry(inventory.sku.clone());
        product.or_insert_with(|| Product::new(&inventory.sku, now));
        self.change(&inventory.sku, now, |product| {
            product.stock = inventory.stock;
            product.on_order = inventory.on_order;
            let policy = &mut product.policy;
            policy.lead_time_hours = inventory.lead_time_hours.unwrap_or(policy.lead_time_hours);
            policy.cover_hours = inventory.cover_hours.unwrap_or(policy.cover_hours);
            policy.pack_size = inventory.pack_size.unwrap_or(policy.pack_size);
        })
    }

    #[method("metrics.report")]
    fn metrics(&mut self, metrics: Metrics) -> Result<Status, Error> {
        if metrics.engagement_permille > 1000 {
            return Err(Error::invalid_params("engagement_permille", "cannot be more than 1000"));
        }
        let now = now_ms()?;
        self.change(&metrics.sku, now, |product| {
            product.look(metrics.views_per_hour, metrics.engagement_permille, now);
        })
    }

    #[method("stock.status")]
    fn status(&self, which: Which) -> Result<Status, Error> {
        Ok(self.products.get(&which.sku).ok_or_else(|| unknown(&which.sku))?.status(now_ms()?))
    }

    /// Every product, the most urgent first.
    #[method("stock.overview")]
    fn overview(&self) -> Result<Overview, Error> {
        let now = now_ms()?;
        let mut products: Vec<Status> = self.products.values().map(|product| product.status(now)).collect();
        products
            .sort_by_key(|status| (std::cmp::Reverse(status.level), status.minutes_left.unwrap_or(u64::MAX)));
        Ok(Overview { products })
    }

    /// Past alerts, newest first.
    #[method("alerts.history")]
    fn alerts(&self, past: Past) -> Result<Alerts, Error> {
        if past.limit == 0 || past.limit > 100 {
            return Err(Error::invalid_params("limit", "must be 1 to 100"));
        }
        Ok(Alerts { alerts: History::latest(past.sku.as_deref(), past.limit)? })
    }

    /// Changes a product, stores it, and raises an alert when its level is another than before.
    fn change(&mut self, sku: &str, now: u64, change: impl FnOnce(&mut Product)) -> Result<Status, Error> {
        let product = self.products.get_mut(sku).ok_or_else(|| unknown(sku))?;
        let mut changed = product.clone();
        change(&mut changed);
        let status = changed.status(now);
        let before = std::mem::replace(&mut changed.level, status.level);
        // Stored first: when storage is full, the caller hears of it and memory still agrees with the disk.
        storage::set(&format!("product/{sku}"), &changed)?;
        *product = changed;
        if before != status.level {
            let alert = self.history.add(now, before, &status)?;
            // The change is stored: a host that does not take the message must not make the caller send it again.
            if let Err(error) = events::publish("stock.alert", &alert) {
                log::warn(&format!("the alert for {sku} was remembered but not published: {error}"));
            }
            if status.level >= Level::Critical {
                notify(&status);
            }
            log::info(&format!("{sku}: {before:?} -> {:?}, {} left", status.level, status.stock));
        }
        Ok(status)
    }
}

/// A note for whoever runs the shop. They may not want any: then the event and the history have to do.
fn notify(status: &Status) {
    let title = format!("{} is running out", status.sku);
    let body = format!("{} left. Order {} now.", status.stock, status.reorder_units);
    if let Err(error) = notifications::show(&title, &body) {
        log::debug(&format!("no note was shown: {error}"));
    }
}

fn now_ms() -> Result<u64, Error> {
    Ok(u64::try_from(clock::now_ms()?).unwrap_or(0))
}

fn check_sku(sku: &str) -> Result<(), Error> {
    if sku.is_empty() || sku.len() > MAX_SKU || sku.chars().any(char::is_control) {
        return Err(Error::invalid_params("sku", format!("must be 1 to {MAX_SKU} bytes of plain text")));
    }
    Ok(())
}

fn unknown(sku: &str) -> Error {
    Error::app(UNKNOWN_SKU, format!("no product `{sku}`: send `inventory.set` for it first"))
}
