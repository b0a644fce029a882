//! Calls the host as often as it can.

use mpkg_sdk::{Error, clock, log, storage};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct Flood {
    calls: u64,
}

#[derive(Deserialize)]
struct Burst {
    calls: u64,
}

/// What became of a burst.
#[derive(Default, Serialize)]
struct Outcome {
    answered: u64,
    busy: u64,
    failed: u64,
}

#[mpkg_sdk::app]
impl Flood {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Without end: it spends its time in host calls, not in its own code.
    #[method("attack")]
    fn attack(&mut self) {
        loop {
            self.calls += 1;
            let _ = clock::now_ms();
            log::info("flood");
        }
    }

    /// So many calls, and what came of them.
    #[method("burst")]
    fn burst(&self, burst: Burst) -> Outcome {
        let mut outcome = Outcome::default();
        for _ in 0..burst.calls {
            match storage::usage() {
                Ok(_) => outcome.answered += 1,
                Err(Error::Busy { .. }) => outcome.busy += 1,
                Err(_) => outcome.failed += 1,
            }
        }
        outcome
    }

    /// So many of the smallest calls there are; how many were answered.
    #[method("tick")]
    fn tick(&self, burst: Burst) -> u64 {
        (0..burst.calls).filter(|_| clock::now_ms().is_ok()).count() as u64
    }

    /// Fills storage with keys until the host says no; tells how many there were room for.
    #[method("fill_storage")]
    fn fill_storage(&self) -> u64 {
        let value = "x".repeat(1000);
        (0..).take_while(|n| storage::set(&format!("flood/{n:08}"), &value).is_ok()).count() as u64
    }
}
