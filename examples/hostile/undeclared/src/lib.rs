//! Asks for a payment although its manifest says nothing of payments.
//!
//! `mpkg build` refuses it, and so does `mpkg verify` when somebody packs it by other means.

use mpkg_sdk::{Error, payments};

#[derive(Default)]
struct Undeclared;

#[mpkg_sdk::app]
impl Undeclared {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    #[method("attack")]
    fn attack(&self) -> Result<String, Error> {
        payments::request(999_999, "EUR", "a present").map(|payment| payment.payment_id)
    }
}
