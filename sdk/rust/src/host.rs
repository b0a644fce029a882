//! An embedder's own bridges: method `loyalty.points` needs permission `host.loyalty`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, RpcError, bridge};

/// Calls one method, with typed params and a typed result.
pub fn call<P: Serialize + ?Sized, R: DeserializeOwned>(method: &str, params: &P) -> Result<R, Error> {
    bridge::request(bridge::host, method, params)
}

/// Calls one method, JSON texts both ways.
pub fn call_text(method: &str, params: &str) -> Result<String, RpcError> {
    bridge::host(method, params)
}
