//! Sends the host, and its callers, messages of many megabytes.

use mpkg_sdk::{Error, events, log};
use serde::Deserialize;

const MEBIBYTE: usize = 1 << 20;

#[derive(Default)]
struct HugeMessage;

#[derive(Deserialize)]
struct Size {
    bytes: usize,
}

#[mpkg_sdk::app]
impl HugeMessage {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// To the host: 24 MiB at once, as a topic's message.
    #[method("attack")]
    fn attack(&self) -> Result<String, Error> {
        events::publish("hostile.huge", &"x".repeat(24 * MEBIBYTE))
    }

    /// To the host, of any size.
    #[method("send")]
    fn send(&self, size: Size) -> Result<String, Error> {
        events::publish("hostile.huge", &"x".repeat(size.bytes))
    }

    /// To the host's log, of any size. The log takes no answer, so neither does this.
    #[method("log")]
    fn log(&self, size: Size) {
        log::info(&"x".repeat(size.bytes));
    }

    /// To the caller, of any size.
    #[method("answer")]
    fn answer(&self, size: Size) -> String {
        "x".repeat(size.bytes)
    }

    /// To the caller, as an error's message.
    #[method("fail")]
    fn fail(&self, size: Size) -> Result<(), Error> {
        Err(Error::app(1, "x".repeat(size.bytes)))
    }
}
