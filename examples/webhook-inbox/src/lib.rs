//! Webhook Inbox: takes signed webhooks, refuses forged, late and repeated ones, and queues the orders in them.
//!
//! The host, or a relay that it trusts for delivery and nothing else, passes on each webhook as it came. The app
//! believes a sender's signature only, within five minutes, and once.

mod queue;
mod replay;
mod report;
mod signature;
#[cfg(test)]
mod tests;

use data_encoding::BASE64;
use mpkg_sdk::{Error, clock, lifecycle, log, storage};
use serde::{Deserialize, Serialize};

use queue::{Order, Priority, Queue};
use replay::Seen;
use report::{Fate, Stats, Throughput};

/// How far a webhook's timestamp may be from our clock, either way.
const WINDOW_MS: i64 = 300_000;
const MAX_BODY: usize = 64 * 1024;
const MAX_QUEUE: usize = 2_000;
const MAX_SOURCE: usize = 40;
const MAX_ID: usize = 128;
/// Orders of this much are more urgent than others.
const LARGE_ORDER_MINOR: i64 = 50_000;

/// Error code: nobody gave a secret for this source.
const UNKNOWN_SOURCE: i32 = 1;
/// Error code: no signature on it was made with the source's secret.
const FORGED: i32 = 2;
/// Error code: its timestamp is more than five minutes off.
const LATE: i32 = 3;
/// Error code: it was taken before.
const REPLAYED: i32 = 4;
/// Error code: the signature is right and the body is no order.
const MALFORMED: i32 = 5;
/// Error code: the queue is full; the sender will try again.
const FULL: i32 = 6;
/// Error code: no such order waits.
const UNKNOWN_ORDER: i32 = 7;

#[derive(Default)]
struct Inbox {
    queue: Queue,
    seen: Seen,
    stats: Stats,
}

/// What is stored under `source/<name>`: the newest secret first.
#[derive(Default, Serialize, Deserialize)]
struct Secrets {
    base64: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    source: String,
    /// As the sender shows it: `whsec_…`.
    secret: String,
}

/// A webhook as it came: the three headers of the specification, and the body untouched.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    source: String,
    id: String,
    /// Seconds since 1970.
    timestamp: i64,
    signature: String,
    body: String,
}

/// What the senders send. They may send more; what we do not know does not matter.
#[derive(Deserialize)]
struct Body {
    order_id: String,
    total_minor: i64,
    currency: String,
    #[serde(default)]
    express: bool,
    #[serde(default)]
    priority: Option<Priority>,
}

#[derive(Serialize)]
struct Accepted {
    key: String,
    priority: Priority,
    /// How many orders come before it.
    ahead: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Take {
    #[serde(default = "one")]
    limit: usize,
    #[serde(default = "a_minute")]
    lease_seconds: i64,
}

fn one() -> usize {
    1
}

fn a_minute() -> i64 {
    60
}

#[derive(Serialize)]
struct Taken {
    orders: Vec<Order>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Done {
    key: String,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    throughput: Throughput,
    waiting: usize,
    waiting_urgent: usize,
    waiting_high: usize,
    waiting_normal: usize,
    waiting_low: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_waiting_ms: Option<i64>,
}

#[mpkg_sdk::app(log_panics)]
impl Inbox {
    #[on("lifecycle.launched")]
    fn launched(&mut self, _event: lifecycle::Launched) -> Result<(), Error> {
        self.queue = Queue::open()?;
        self.seen = Seen::open()?;
        self.stats = storage::get("stats")?.unwrap_or_default();
        log::info(&format!("{} orders are waiting", self.queue.len()));
        Ok(())
    }

    #[on("lifecycle.unloaded")]
    fn unloaded(&mut self) -> Result<(), Error> {
        storage::set("stats", &self.stats)
    }

    /// Gives a source its secret. The one before it stays valid, so that a sender can change over.
    #[method("sources.set")]
    fn set_secret(&mut self, new: NewSecret) -> Result<(), Error> {
        check_name("source", &new.source, MAX_SOURCE)?;
        let secret = signature::read_secret(&new.secret)
            .map_err(|problem| Error::invalid_params("secret", problem))?;
        let key = format!("source/{}", new.source);
        let mut secrets = storage::get::<Secrets>(&key)?.unwrap_or_default();
        let secret = BASE64.encode(&secret);
        secrets.base64.retain(|known| *known != secret);
        secrets.base64.insert(0, secret);
        secrets.base64.truncate(2);
        storage::set(&key, &secrets)
    }

    /// Takes a webhook.
    #[method("webhook.receive")]
    fn receive(&mut self, webhook: Webhook) -> Result<Accepted, Error> {
        let now = clock::now_ms()?;
        match self.accept(&webhook, now) {
            Ok(accepted) => {
                self.stats.count(Fate::Accepted, now);
                Ok(accepted)
            }
            Err((fate, error)) => {
                if let Some(fate) = fate {
                    // Not stored at once: whoever forges must not be able to make us write.
                    self.stats.count(fate, now);
                    log::warn(&format!("refused {}/{}: {error}", webhook.source, webhook.id));
                }
                Err(error)
            }
        }
    }

    /// Hands out the most urgent orders, on lease.
    #[method("queue.take")]
    fn take(&mut self, take: Take) -> Result<Taken, Error> {
        if !(1..=100).contains(&take.limit) {
            return Err(Error::invalid_params("limit", "must be 1 to 100"));
        }
        if !(1..=3600).contains(&take.lease_seconds) {
            return Err(Error::invalid_params("lease_seconds", "must be 1 to 3600"));
        }
        let now = clock::now_ms()?;
        Ok(Taken { orders: self.queue.take(take.limit, now, now + take.lease_seconds * 1000) })
    }

    /// Says that an order was worked on.
    #[method("queue.done")]
    fn done(&mut self, done: Done) -> Result<(), Error> {
        let order = self.queue.done(&done.key)?;
        let order =
            order.ok_or_else(|| Error::app(UNKNOWN_ORDER, format!("no order `{}` waits", done.key)))?;
        self.stats.done(order.received_ms, clock::now_ms()?);
        Ok(())
    }

    /// What came through in the last hour, and what waits.
    #[method("report.throughput")]
    fn report(&self) -> Result<Report, Error> {
        let now = clock::now_ms()?;
        Ok(Report {
            throughput: self.stats.throughput(now),
            waiting: self.queue.len(),
            waiting_urgent: self.queue.count(Priority::Urgent),
            waiting_high: self.queue.count(Priority::High),
            waiting_normal: self.queue.count(Priority::Normal),
            waiting_low: self.queue.count(Priority::Low),
            oldest_waiting_ms: self.queue.oldest_ms().map(|received| now - received),
        })
    }

    /// The checks, in this order: nothing of a webhook is believed, and nothing is stored, before its signature is
    /// right.
    fn accept(&mut self, webhook: &Webhook, now: i64) -> Result<Accepted, (Option<Fate>, Error)> {
        let ours = |error: Error| (None, error);
        check_name("source", &webhook.source, MAX_SOURCE).map_err(ours)?;
        check_name("id", &webhook.id, MAX_ID).map_err(ours)?;
        if webhook.body.len() > MAX_BODY {
            return Err(ours(Error::invalid_params(
                "body",
                format!("must be at most {MAX_BODY} bytes long"),
            )));
        }
        let secrets = secrets(&webhook.source).map_err(ours)?;
        let Webhook { id, timestamp, signature, body, .. } = webhook;
        if !signature::is_genuine(&secrets, signature, id, *timestamp, body) {
            let error = Error::app(FORGED, "no signature on it was made with the source's secret");
            return Err((Some(Fate::Forged), error));
        }
        let sent_ms = timestamp.saturating_mul(1000);
        if sent_ms.saturating_sub(now).saturating_abs() > WINDOW_MS {
            let error = Error::app(LATE, "its timestamp is more than five minutes off");
            return Err((Some(Fate::Late), error));
        }
        let key = format!("{}/{id}", webhook.source);
        self.seen.sweep(now).map_err(ours)?;
        if self.seen.contains(&key) {
            return Err((Some(Fate::Replayed), Error::app(REPLAYED, "it was taken before")));
        }
        let order: Body = serde_json::from_str(body).map_err(|error| {
            (Some(Fate::Malformed), Error::app(MALFORMED, format!("the body is no order: {error}")))
        })?;
        if self.queue.len() >= MAX_QUEUE {
            return Err(ours(Error::app(FULL, format!("{MAX_QUEUE} orders are waiting: try again later"))));
        }

        let priority = order.priority.unwrap_or(match order {
            Body { express: true, .. } => Priority::High,
            Body { total_minor: LARGE_ORDER_MINOR.., .. } => Priority::High,
            _ => Priority::Normal,
        });
        let order = Order {
            key: key.clone(),
            order_id: order.order_id,
            priority,
            total_minor: order.total_minor,
            currency: order.currency,
            received_ms: now,
        };
        // The order first, under a key that is the webhook's own. If we are stopped in between, the sender tries
        // again and the same key is written again: neither lost nor doubled.
        let ahead = self.queue.add(order).map_err(ours)?;
        self.seen.add(&key, sent_ms.saturating_add(WINDOW_MS)).map_err(ours)?;
        Ok(Accepted { key, priority, ahead })
    }
}

fn secrets(source: &str) -> Result<Vec<Vec<u8>>, Error> {
    let secrets: Option<Secrets> = storage::get(&format!("source/{source}"))?;
    let secrets = secrets.ok_or_else(|| {
        Error::app(UNKNOWN_SOURCE, format!("there is no secret for `{source}`: send `sources.set` first"))
    })?;
    Ok(secrets.base64.iter().filter_map(|secret| BASE64.decode(secret.as_bytes()).ok()).collect())
}

/// Names become parts of storage keys, with a slash between them.
fn check_name(field: &str, name: &str, max: usize) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
    if (1..=max).contains(&name.len()) && name.chars().all(fits) {
        Ok(())
    } else {
        Err(Error::invalid_params(field, format!("must be 1 to {max} letters, digits, `_`, `-` or `.`")))
    }
}
