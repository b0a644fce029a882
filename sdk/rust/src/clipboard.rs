//! The clipboard. Permission `clipboard`.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bridge::{self, Empty, Ignored};

#[derive(Serialize, Deserialize)]
struct Text {
    text: String,
}

/// What is on it.
pub fn read() -> Result<String, Error> {
    bridge::request(bridge::clipboard, "clipboard.read", &Empty {}).map(|answer: Text| answer.text)
}

/// Replaces what is on it.
pub fn write(text: &str) -> Result<(), Error> {
    bridge::request(bridge::clipboard, "clipboard.write", &Text { text: text.to_owned() })
        .map(|_: Ignored| ())
}
