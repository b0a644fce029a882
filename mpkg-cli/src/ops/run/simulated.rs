//! The parts of a Super App that only a Super App can supply, simulated: enough to try a Mini App, and the same in
//! every run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use miniapp_runtime::rpc::RpcError;
use miniapp_runtime::{Bridge, UserProfile};
use serde::Deserialize;
use serde_json::{Value, json};

use super::cart::{self, Cart};
use crate::output::Printer;

/// Parameters of a method that takes none.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// Every simulated bridge. What reaches a user is shown on standard error.
pub(super) fn bridges(printer: Printer) -> Vec<Bridge> {
    let cart = Arc::new(Mutex::new(Cart::default()));
    vec![
        cart::read_bridge(cart.clone()),
        cart::write_bridge(cart, printer),
        payments(printer),
        notifications(printer),
        clipboard(),
        location(),
    ]
}

#[derive(Deserialize)]
struct Payment {
    amount_minor: i64,
    currency: String,
    reference: String,
}

/// Approves what could be paid; a reference that begins with `decline` is declined, to try that too.
fn payments(printer: Printer) -> Bridge {
    let count = AtomicU64::new(0);
    Bridge::new("payments.request").immediate("payments.request", move |_, payment: Payment| {
        if payment.amount_minor <= 0 {
            return Err(RpcError::invalid_params("`amount_minor` must be more than 0."));
        }
        check_currency(&payment.currency)?;
        let status = if payment.reference.starts_with("decline") { "declined" } else { "approved" };
        let id = format!("pay-{}", count.fetch_add(1, Ordering::Relaxed) + 1);
        let Payment { amount_minor, currency, reference } = payment;
        printer.note("payment", &format!("{} {currency} for \"{reference}\" {status}", money(amount_minor)));
        Ok(json!({ "payment_id": id, "status": status }))
    })
}

#[derive(Deserialize)]
struct Notification {
    title: String,
    body: String,
}

fn notifications(printer: Printer) -> Bridge {
    let count = AtomicU64::new(0);
    Bridge::new("notifications").immediate("notifications.show", move |_, shown: Notification| {
        let id = format!("notification-{}", count.fetch_add(1, Ordering::Relaxed) + 1);
        printer.note("shows", &format!("{}: {}", shown.title, shown.body));
        Ok(json!({ "id": id }))
    })
}

#[derive(Deserialize)]
struct Copied {
    text: String,
}

/// A clipboard of its own: an app under test must not see the developer's.
fn clipboard() -> Bridge {
    let text = Arc::new(Mutex::new(String::new()));
    let read = text.clone();
    Bridge::new("clipboard")
        .immediate("clipboard.read", move |_, _: Nothing| {
            Ok(json!({ "text": *read.lock().unwrap_or_else(PoisonError::into_inner) }))
        })
        .immediate("clipboard.write", move |_, copied: Copied| {
            *text.lock().unwrap_or_else(PoisonError::into_inner) = copied.text;
            Ok(json!({}))
        })
}

/// What the runtime's own `user.profile` tells of whoever uses the app, beside the id that it makes for the app: one
/// that is a name here and a pseudonym in a Super App would be found out late.
pub(super) fn profile() -> UserProfile {
    UserProfile { display_name: Some("Ada Example".into()), locale: Some("en-GB".into()) }
}

#[derive(Deserialize)]
struct Accuracy {
    accuracy: Option<String>,
}

/// The prime meridian at Greenwich; coarse is rounded to a hundredth of a degree.
fn location() -> Bridge {
    Bridge::new("device.location").immediate(
        "device.location",
        |_, wanted: Accuracy| -> Result<Value, RpcError> {
            match wanted.accuracy.as_deref() {
                Some("fine") => {
                    Ok(json!({ "latitude_e7": 514_778_890, "longitude_e7": -14_750, "accuracy_m": 10 }))
                }
                None | Some("coarse") => {
                    Ok(json!({ "latitude_e7": 514_800_000, "longitude_e7": 0, "accuracy_m": 2000 }))
                }
                Some(_) => Err(RpcError::invalid_params("`accuracy` must be \"coarse\" or \"fine\".")),
            }
        },
    )
}

/// Three capital letters, as ISO 4217 has them.
pub(super) fn check_currency(currency: &str) -> Result<(), RpcError> {
    if currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(RpcError::invalid_params("`currency` must be three capital letters, such as EUR."))
}

/// `1234` as `12.34`.
pub(super) fn money(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", minor.unsigned_abs() / 100, minor.unsigned_abs() % 100)
}
