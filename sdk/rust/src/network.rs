//! HTTP requests to the hosts in the signed manifest. Permission `network`.
//!
//! ```no_run
//! # fn main() -> Result<(), mpkg_sdk::Error> {
//! let answer = mpkg_sdk::network::Request::get("https://api.example.com/prices").header("accept", "text/plain").send()?;
//! if answer.status == 200 { mpkg_sdk::log::info(&String::from_utf8_lossy(&answer.body)); }
//! # Ok(()) }
//! ```
//!
//! What is too long for one message, or for the app's memory, is read piece by piece:
//!
//! ```no_run
//! # fn main() -> Result<(), mpkg_sdk::Error> {
//! let mut answer = mpkg_sdk::network::Request::get("https://api.example.com/all-prices.csv").open()?;
//! while let Some(piece) = answer.read()? { mpkg_sdk::log::info(&format!("{} bytes more", piece.len())); }
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bridge::Ignored;
use crate::{Error, base64, bridge};

/// A request to be sent.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    url: String,
    method: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_ms: Option<u64>,
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header names are in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Request {
    /// A request with any method.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: method.to_owned(),
            headers: BTreeMap::new(),
            body_base64: None,
            timeout_ms: None,
        }
    }

    /// A GET request.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// A POST request.
    pub fn post(url: &str) -> Self {
        Self::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body_base64 = Some(base64::encode(body));
        self
    }

    /// Sets the body to JSON, and the content type with it.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Result<Self, Error> {
        let text = serde_json::to_vec(body)
            .map_err(|error| Error::Internal(format!("the body cannot be written as JSON: {error}")))?;
        Ok(self.header("content-type", "application/json").body(&text))
    }

    /// How long to wait for the answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Sends it. A status such as 404 is an answer, not an error.
    pub fn send(&self) -> Result<Response, Error> {
        #[derive(Deserialize)]
        struct Answer {
            status: u16,
            #[serde(default)]
            headers: BTreeMap<String, String>,
            #[serde(default)]
            body_base64: String,
        }
        let answer: Answer = bridge::request(bridge::network, "network.fetch", self)?;
        let body = base64::decode("network.fetch", &answer.body_base64)?;
        Ok(Response { status: answer.status, headers: answer.headers, body })
    }

    /// Sends it, and leaves the body to be read piece by piece.
    pub fn open(&self) -> Result<Stream, Error> {
        #[derive(Deserialize)]
        struct Answer {
            status: u16,
            #[serde(default)]
            headers: BTreeMap<String, String>,
            stream: u64,
        }
        let answer: Answer = bridge::request(bridge::network, "network.open", self)?;
        Ok(Stream { status: answer.status, headers: answer.headers, id: answer.stream, done: false })
    }
}

/// An answer whose body is read piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub struct Stream {
    /// The HTTP status.
    pub status: u16,
    /// Header names are in lower case.
    pub headers: BTreeMap<String, String>,
    id: u64,
    done: bool,
}

#[derive(Serialize)]
struct Id {
    stream: u64,
}

impl Stream {
    /// The next piece of the body; `None` at its end. Waits while nothing is there.
    pub fn read(&mut self) -> Result<Option<Vec<u8>>, Error> {
        #[derive(Deserialize)]
        struct Piece {
            body_base64: String,
            done: bool,
        }
        if self.done {
            return Ok(None);
        }
        // The host closes a stream that fails.
        self.done = true;
        let piece: Piece = bridge::request(bridge::network, "network.read", &Id { stream: self.id })?;
        self.done = piece.done;
        let body = base64::decode("network.read", &piece.body_base64)?;
        Ok(Some(body).filter(|body| !body.is_empty()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.done {
            let _ = bridge::request::<_, Ignored>(bridge::network, "network.close", &Id { stream: self.id });
        }
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use serde_json::json;

    use super::*;
    use crate::testing::FakeHost;

    fn host(pieces: u32) -> (FakeHost, Rc<Cell<u32>>) {
        let (host, closed, read) = (FakeHost::new(), Rc::new(Cell::new(0)), Cell::new(0));
        host.on("network.open", |_| Ok(json!({ "status": 200, "headers": {}, "stream": 3 })));
        host.on("network.read", move |params| {
            assert_eq!(params, &json!({ "stream": 3 }));
            read.set(read.get() + 1);
            if read.get() > pieces {
                return Err(Error::Unreachable("it broke off".into()));
            }
            Ok(json!({ "body_base64": "YWI=", "done": read.get() == 2 }))
        });
        let counted = closed.clone();
        host.on("network.close", move |_| {
            counted.set(counted.get() + 1);
            Ok(json!({ "existed": true }))
        });
        (host, closed)
    }

    #[test]
    fn a_stream_is_closed_by_whoever_ends_it() {
        let open = || Request::get("https://api.example.com/x").open().unwrap();
        let (_host, closed) = host(2);
        let mut stream = open();
        assert_eq!(stream.read(), Ok(Some(b"ab".to_vec())));
        assert_eq!(stream.read(), Ok(Some(b"ab".to_vec())));
        assert_eq!(stream.read(), Ok(None));
        drop(stream);
        assert_eq!(closed.get(), 0, "the host closes what is read to its end");
        drop(_host);

        let (_host, closed) = host(1);
        let mut stream = open();
        stream.read().unwrap();
        assert!(matches!(stream.read(), Err(Error::Unreachable(_))));
        drop(stream);
        assert_eq!(closed.get(), 0, "the host closes what fails");
        drop(open());
        assert_eq!(closed.get(), 1);
    }
}
