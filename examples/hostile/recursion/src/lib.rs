//! Calls itself until the stack is full.

use std::hint::black_box;

use mpkg_sdk::Error;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Default)]
struct Recursion;

#[derive(Deserialize)]
struct Nested {
    depth: u32,
}

#[mpkg_sdk::app]
impl Recursion {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    #[method("attack")]
    fn attack(&self) -> u64 {
        deeper(u32::MAX)
    }

    /// Comes back, if the stack allows it.
    #[method("recurse")]
    fn recurse(&self, nested: Nested) -> u64 {
        deeper(nested.depth)
    }

    /// Answers with JSON nested as deep as that: reading it naively fills the *reader's* stack.
    #[method("nest")]
    fn nest(&self, nested: Nested) -> Result<Box<RawValue>, Error> {
        let depth = nested.depth as usize;
        let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        RawValue::from_string(text).map_err(|error| Error::Internal(error.to_string()))
    }
}

/// The result is used after the call, and `black_box` hides it: no compiler makes a loop of this.
fn deeper(left: u32) -> u64 {
    if left == 0 {
        return 0;
    }
    black_box(deeper(black_box(left) - 1)) + 1
}
