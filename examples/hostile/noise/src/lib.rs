//! Notifies, publishes and logs without end.

use mpkg_sdk::{Error, events, log, notifications};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Noise;

#[derive(Deserialize)]
struct Count {
    count: u32,
}

/// What became of a burst.
#[derive(Default, Serialize)]
struct Outcome {
    answered: u32,
    busy: u32,
    failed: u32,
}

impl Outcome {
    fn of(count: u32, call: impl Fn() -> Result<String, Error>) -> Self {
        let mut outcome = Self::default();
        for _ in 0..count {
            match call() {
                Ok(_) => outcome.answered += 1,
                Err(Error::Busy { .. }) => outcome.busy += 1,
                Err(_) => outcome.failed += 1,
            }
        }
        outcome
    }
}

fn show() -> Result<String, Error> {
    notifications::show("You have won", "Open me")
}

fn publish() -> Result<String, Error> {
    events::publish("hostile.noise", "noise")
}

#[mpkg_sdk::app]
impl Noise {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// All of it, without end.
    #[method("attack")]
    fn attack(&self) {
        loop {
            let _ = show();
            let _ = publish();
            log::info("noise");
        }
    }

    #[method("show")]
    fn show(&self, burst: Count) -> Outcome {
        Outcome::of(burst.count, show)
    }

    #[method("publish")]
    fn publish(&self, burst: Count) -> Outcome {
        Outcome::of(burst.count, publish)
    }

    #[method("log")]
    fn log(&self, burst: Count) {
        (0..burst.count).for_each(|_| log::info("noise"));
    }
}
