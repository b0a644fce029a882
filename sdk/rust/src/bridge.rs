//! The one way out: a JSON-RPC request through one interface of the bridge.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, RpcError};

/// A `call` of one interface. One function per interface, never one that chooses among them: what is not called must
/// not be imported.
pub(crate) type Call = fn(&str, &str) -> Result<String, RpcError>;

macro_rules! interfaces {
    ($($module:ident $name:literal)*) => {$(
        pub(crate) fn $module(method: &str, params: &str) -> Result<String, RpcError> {
            #[cfg(target_family = "wasm")]
            return crate::bindings::mpkg::bridge::$module::call(method, params).map_err(RpcError::from);
            #[cfg(not(target_family = "wasm"))]
            return crate::testing::dispatch($name, method, params);
        }
    )*};
}

interfaces! {
    log "log"
    clock "clock"
    random "random"
    timers "timers"
    storage "storage"
    network "network"
    events "events"
    user_profile "user-profile"
    device_location "device-location"
    cart_read "cart-read"
    cart_write "cart-write"
    payments_request "payments-request"
    notifications "notifications"
    clipboard "clipboard"
    files "files"
    host "host"
}

/// No params: `{}`.
#[derive(Serialize)]
pub(crate) struct Empty {}

/// An answer that says nothing but that it worked.
pub(crate) use serde::de::IgnoredAny as Ignored;

/// Sends a typed request and reads its typed answer.
pub(crate) fn request<P: Serialize + ?Sized, R: DeserializeOwned>(
    call: Call,
    method: &str,
    params: &P,
) -> Result<R, Error> {
    let params = serde_json::to_string(params).map_err(|error| {
        Error::Internal(format!("the params of `{method}` cannot be written as JSON: {error}"))
    })?;
    let answer = call(method, &params).map_err(Error::from)?;
    serde_json::from_str(&answer).map_err(|error| {
        Error::Internal(format!("the host's answer to `{method}` is not what this SDK expects: {error}"))
    })
}
