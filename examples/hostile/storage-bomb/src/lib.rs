//! Stores more than anybody has room for.

use mpkg_sdk::storage::{self, Transaction, Usage};
use mpkg_sdk::{Error, log};
use serde::{Deserialize, Serialize};

/// Steps of one transaction, which is the most.
const STEPS: u64 = 256;

#[derive(Default)]
struct StorageBomb {
    keys: u64,
}

#[derive(Deserialize)]
struct Huge {
    bytes: usize,
}

#[derive(Deserialize)]
struct Steps {
    steps: usize,
    bytes: usize,
}

/// How far it came, and the error that ended it.
#[derive(Serialize)]
struct Outcome {
    count: u64,
    code: i32,
}

#[mpkg_sdk::app]
impl StorageBomb {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Writes and deletes without end, as fast as it is let.
    #[method("attack")]
    fn attack(&self) {
        for n in 0_u64.. {
            if storage::set("bomb", &n).and_then(|()| storage::delete("bomb")).is_err() {
                log::debug("refused");
            }
        }
    }

    /// Stores the smallest keys there are, until the host says no: what a key costs its host besides its text must not
    /// be free. Called again it goes on.
    #[method("keys")]
    fn keys(&mut self) -> Result<Outcome, Error> {
        loop {
            let mut transaction = Transaction::new();
            for n in self.keys..self.keys + STEPS {
                transaction = transaction.set(&format!("{n:x}"), &0)?;
            }
            match transaction.commit() {
                Ok(()) => self.keys += STEPS,
                Err(error) => return Ok(Outcome { count: self.keys, code: error.code() }),
            }
        }
    }

    #[method("value")]
    fn value(&self, huge: Huge) -> Result<(), Error> {
        storage::set("huge", &"x".repeat(huge.bytes))
    }

    #[method("transaction")]
    fn transaction(&self, huge: Steps) -> Result<(), Error> {
        let value = "x".repeat(huge.bytes);
        let steps = (0..huge.steps).try_fold(Transaction::new(), |t, n| t.set(&format!("step/{n}"), &value));
        steps?.commit()
    }

    /// Watches one prefix after the other until the host says no.
    #[method("watch")]
    fn watch(&self) -> Outcome {
        let mut count = 0;
        loop {
            match storage::watch(&format!("{count}/")) {
                Ok(()) => count += 1,
                Err(error) => return Outcome { count, code: error.code() },
            }
        }
    }

    #[method("usage")]
    fn usage(&self) -> Result<(u64, u64), Error> {
        storage::usage().map(|Usage { used_bytes, keys, .. }| (used_bytes, keys))
    }
}
