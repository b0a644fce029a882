//! Never comes back when the host calls it with a message.

use std::hint::black_box;

use mpkg_sdk::{Error, events};

const TOPIC: &str = "hostile.spin";

#[derive(Default)]
struct CallbackSpin {
    turns: u64,
}

#[mpkg_sdk::app]
impl CallbackSpin {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Answers at once; the trap is set.
    #[method("arm")]
    fn arm(&self) -> Result<(), Error> {
        events::subscribe(TOPIC)
    }

    /// Publishes what it listens to itself, so that the host calls it back while, or right after, it is called.
    #[method("attack")]
    fn attack(&self) -> Result<String, Error> {
        events::subscribe(TOPIC)?;
        events::publish(TOPIC, "spin")
    }

    #[on("events.message")]
    fn message(&mut self) {
        loop {
            self.turns = black_box(self.turns).wrapping_add(1);
        }
    }

    /// A host that tells an app to go must not wait for it.
    #[on("lifecycle.hidden")]
    fn hidden(&mut self) {
        self.message();
    }
}
