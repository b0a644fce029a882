//! Tries to be entered while it is inside.

use mpkg_sdk::{Error, events, host};
use serde::{Deserialize, Serialize};

const TOPIC: &str = "hostile.echo";

#[derive(Default)]
struct Reentrancy {
    depth: u32,
    deepest: u32,
    told: u64,
}

/// A method of the host's own that calls back.
#[derive(Deserialize)]
struct Way {
    method: String,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Report {
    /// How many calls were in here at the same time.
    deepest: u32,
    told: u64,
}

#[mpkg_sdk::app]
impl Reentrancy {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Listens to what it publishes, and begins: a host that passes events on to who listens tells it so for ever.
    #[method("attack")]
    fn attack(&mut self) -> Result<(), Error> {
        events::subscribe(TOPIC)?;
        self.inside(|| events::publish(TOPIC, "again").map(drop))
    }

    #[on("events.message")]
    fn message(&mut self) -> Result<(), Error> {
        self.told += 1;
        self.inside(|| events::publish(TOPIC, "again").map(drop))
    }

    /// Calls a host that calls it back before it answers.
    #[method("enter")]
    fn enter(&mut self, way: Way) -> Result<bool, Error> {
        self.inside(|| host::call(&way.method, &Nothing {}))
    }

    #[method("report")]
    fn report(&self) -> Report {
        Report { deepest: self.deepest, told: self.told }
    }
}

impl Reentrancy {
    fn inside<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let answer = call();
        self.depth -= 1;
        answer
    }
}
