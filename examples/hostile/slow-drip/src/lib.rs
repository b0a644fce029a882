//! Waits for a server that sends a byte at a time.

use mpkg_sdk::Error;
use mpkg_sdk::network::{Request, Stream};
use serde::{Deserialize, Serialize};

#[derive(Default)]
struct SlowDrip {
    /// Kept open, and never read from.
    held: Vec<Stream>,
}

#[derive(Deserialize)]
struct At {
    url: String,
}

/// What there was, and the error that ended it.
#[derive(Serialize)]
struct Outcome {
    count: usize,
    code: i32,
}

#[mpkg_sdk::app]
impl SlowDrip {
    #[method("ping")]
    fn ping(&self) -> &str {
        "pong"
    }

    /// Waits for a whole answer.
    #[method("attack")]
    fn attack(&self, at: At) -> Result<usize, Error> {
        Request::get(&at.url).send().map(|answer| answer.body.len())
    }

    /// Reads a body as it comes, to its end.
    #[method("sip")]
    fn sip(&self, at: At) -> Result<Outcome, Error> {
        let mut stream = Request::get(&at.url).open()?;
        let mut count = 0;
        loop {
            match stream.read() {
                Ok(Some(piece)) => count += piece.len(),
                Ok(None) => return Ok(Outcome { count, code: 0 }),
                Err(error) => return Ok(Outcome { count, code: error.code() }),
            }
        }
    }

    /// Opens one stream after the other until the host says no.
    #[method("hold")]
    fn hold(&mut self, at: At) -> Outcome {
        loop {
            match Request::get(&at.url).open() {
                Ok(stream) => self.held.push(stream),
                Err(error) => return Outcome { count: self.held.len(), code: error.code() },
            }
        }
    }
}
