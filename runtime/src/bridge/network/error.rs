//! Why a request came to nothing.

use serde_json::json;

use super::egress::Refusal;
use crate::rpc::{RpcError, code};

/// Why `network.fetch`, `network.open` or `network.read` gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Rpc(#[from] RpcError),
    #[error("`{host}` has no address that can be found.")]
    Unresolved { host: String },
    #[error("`{host}` cannot be connected to.")]
    Unconnected { host: String },
    #[error("`{host}` has no certificate that this device trusts, or does not speak TLS.")]
    Tls { host: String },
    #[error("`{host}` does not keep to HTTP/1.1 or its limits, or broke the connection.")]
    Protocol { host: String },
    #[error("The body of the answer is longer than {limit} bytes.")]
    LongBody { limit: u64 },
    #[error(
        "The body of the answer is longer than {limit} bytes, which is what a message holds; use `network.open`."
    )]
    LongMessage { limit: u64 },
    #[error("The app's memory budget has no room for this.")]
    NoMemory,
    #[error("{what} {limit} requests and streams open, which is the most.")]
    Busy { what: &'static str, limit: usize },
    #[error("There was no answer in time.")]
    TimedOut,
    #[error("The server sent nothing for too long.")]
    Idle,
}

impl From<FetchError> for RpcError {
    fn from(error: FetchError) -> Self {
        let message = error.to_string();
        let (code, data) = match error {
            FetchError::Rpc(error) => return error,
            FetchError::Refused(refusal) => (code::REFUSED, json!({ "reason": refusal.reason() })),
            FetchError::Unresolved { .. } => (code::UNREACHABLE, json!({ "reason": "dns" })),
            FetchError::Unconnected { .. } => (code::UNREACHABLE, json!({ "reason": "connect" })),
            FetchError::Tls { .. } => (code::UNREACHABLE, json!({ "reason": "tls" })),
            FetchError::Protocol { .. } => (code::UNREACHABLE, json!({ "reason": "protocol" })),
            FetchError::LongBody { limit } | FetchError::LongMessage { limit } => {
                (code::TOO_LARGE, json!({ "limit": limit }))
            }
            FetchError::NoMemory => return Self::new(code::TOO_LARGE, message),
            FetchError::Busy { limit, .. } => (code::BUSY, json!({ "limit": limit })),
            FetchError::TimedOut => (code::TIMED_OUT, json!({ "reason": "deadline" })),
            FetchError::Idle => (code::TIMED_OUT, json!({ "reason": "idle" })),
        };
        Self::new(code, message).with_data(data)
    }
}
