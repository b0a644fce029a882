//! Uses a permission while it is taken away and given back.

use mpkg_sdk::{Error, host};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct GrantRace;

#[derive(Deserialize)]
struct Rounds {
    rounds: u32,
}

/// What the host had decided when a call began.
#[derive(Serialize, Deserialize)]
struct Beat {
    turn: u64,
}

#[derive(Serialize)]
struct Nothing {}

/// What became of the calls.
#[derive(Default, Serialize)]
struct Outcome {
    answered: u32,
    denied: u32,
    failed: u32,
}

#[mpkg_sdk::app]
impl GrantRace {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Looks at what the host has decided, and calls: by a method that answers at once and by one that waits.
    #[method("attack")]
    fn attack(&self, rounds: Rounds) -> Result<Outcome, Error> {
        let mut outcome = Outcome::default();
        for round in 0..rounds.rounds {
            let beat: Beat = host::call("beat.now", &Nothing {})?;
            let method = if round % 2 == 0 { "race.quick" } else { "race.slow" };
            match host::call::<_, bool>(method, &beat) {
                Ok(_) => outcome.answered += 1,
                Err(Error::PermissionDenied { .. }) => outcome.denied += 1,
                Err(_) => outcome.failed += 1,
            }
        }
        Ok(outcome)
    }
}
