//! Asks the user to pay. Permission `payments.request`.

use serde::{Deserialize, Serialize};

use crate::{Error, bridge};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The user has paid.
    Approved,
    /// The user, or the bank, said no.
    Declined,
}

/// One payment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Payment {
    /// The Super App's name for it.
    pub payment_id: String,
    /// What became of it.
    pub status: Status,
}

/// Asks for `amount_minor` (in the currency's smallest unit); `reference` is shown to the user.
pub fn request(amount_minor: i64, currency: &str, reference: &str) -> Result<Payment, Error> {
    #[derive(Serialize)]
    struct Request<'a> {
        amount_minor: i64,
        currency: &'a str,
        reference: &'a str,
    }
    bridge::request(
        bridge::payments_request,
        "payments.request",
        &Request { amount_minor, currency, reference },
    )
}
