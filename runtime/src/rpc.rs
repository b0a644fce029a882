//! JSON-RPC 2.0 errors and envelopes, as both sides of the bridge speak them.
//!
//! Source: the [JSON-RPC 2.0 specification](https://www.jsonrpc.org/specification).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::limits::Limit;

/// The codes a host answers with. Codes outside −32768..=−32000 belong to apps.
pub mod code {
    /// The text is not JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The JSON is not a JSON-RPC request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method behind this interface.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// The parameters do not have the method's type.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The host failed; its log says why.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// The permission is not effective; `data.reason` says which part is missing.
    pub const PERMISSION_DENIED: i32 = -32001;
    /// This host has no such bridge.
    pub const UNAVAILABLE: i32 = -32002;
    /// A storage quota is used up.
    pub const QUOTA_EXCEEDED: i32 = -32003;
    /// A message or value is longer than allowed.
    pub const TOO_LARGE: i32 = -32004;
    /// Too many calls or too much output in a short time.
    pub const BUSY: i32 = -32005;
    /// The call was abandoned before it finished.
    pub const CANCELLED: i32 = -32006;
    /// The call took longer than its limit.
    pub const TIMED_OUT: i32 = -32007;
    /// The request is well-formed and permitted in general, but not this one (such as an egress rule).
    pub const REFUSED: i32 = -32008;
    /// The other side of a network request could not be reached, or did not keep to its protocol.
    pub const UNREACHABLE: i32 = -32009;
    /// The stored data is not as the transaction supposes; `data.key` says which.
    pub const CONFLICT: i32 = -32010;
}

/// The longest error that crosses the bridge, in bytes: it is for a person to read.
pub(crate) const LONGEST_ERROR: usize = 64 << 10;

/// The start of a name that the other side made up, fit to be read.
pub(crate) fn shown(name: &str) -> impl fmt::Display {
    const SHOWN: usize = 128;
    name.get(..name.floor_char_boundary(SHOWN)).unwrap_or_default().escape_debug()
}

/// A JSON-RPC error object.
///
/// ```
/// use miniapp_runtime::rpc::{RpcError, code};
/// let error = RpcError::invalid_params("`quantity` must be at least 1, not 0.");
/// assert_eq!(error.code, code::INVALID_PARAMS);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub struct RpcError {
    /// One of [`code`], or an app's own.
    pub code: i32,
    /// One sentence for a developer.
    pub message: String,
    /// Structured detail; its shape depends on the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl RpcError {
    /// An error without data.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same error with `data`.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    /// The same error, naming the limit that was met.
    #[must_use]
    pub fn with_limit(self, limit: Limit) -> Self {
        self.with_data(json!({ "limit": limit.label() }))
    }

    /// [`code::INVALID_PARAMS`].
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(code::INVALID_PARAMS, message)
    }

    /// [`code::INTERNAL_ERROR`]. The cause goes to the host's log, not to the guest.
    pub fn internal() -> Self {
        Self::new(code::INTERNAL_ERROR, "The host failed to carry out the call.")
    }

    /// [`code::METHOD_NOT_FOUND`].
    pub fn method_not_found(method: &str) -> Self {
        Self::new(code::METHOD_NOT_FOUND, format!("There is no method `{}` here.", shown(method)))
    }

    /// [`code::TOO_LARGE`].
    pub fn too_large(what: &str, bytes: usize, limit: usize) -> Self {
        Self::new(code::TOO_LARGE, format!("{what} has {bytes} bytes; the limit is {limit}."))
            .with_data(json!({ "bytes": bytes, "limit": limit }))
    }

    /// The same error, within `limit` bytes: texts of the other side's own may be in it. Of one that is longer, the code
    /// and the beginning of its message are left.
    pub(crate) fn bounded(mut self, limit: usize) -> Self {
        /// The most that is left of a message that is cut, in bytes.
        const CUT: usize = 1024;
        /// What a byte may take written as JSON.
        const WRITTEN: usize = 6;
        /// What is written besides message and data.
        const REST: usize = 64;
        let limit = limit.min(LONGEST_ERROR);
        // Most are short, and seen to be without being written.
        if self.data.is_none() && REST + self.message.len() * WRITTEN <= limit {
            return self;
        }
        let bytes = serde_json::to_string(&self).map_or(usize::MAX, |text| text.len());
        if bytes > limit {
            self.data = None;
            let most = CUT.min(limit / (2 * WRITTEN));
            if self.message.len() > most {
                self.message.truncate(self.message.floor_char_boundary(most));
                self.message.push('…');
            }
        }
        self
    }

    /// [`code::PERMISSION_DENIED`] for `permission`.
    pub fn permission_denied(permission: &str, reason: Denial) -> Self {
        Self::new(code::PERMISSION_DENIED, format!("Permission `{permission}` {}.", reason.phrase()))
            .with_data(json!({ "permission": permission, "reason": reason }))
    }
}

/// Why a permission is not effective.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denial {
    /// The signed manifest does not ask for it.
    NotDeclared,
    /// Nobody has decided: the question was not answered, or the answer could not be recorded.
    NotGranted,
    /// The user said no; the app may ask again.
    Denied,
    /// The user said no for good.
    Blocked,
    /// It was granted, and has been taken back.
    Revoked,
    /// It is allowed while the app is in use, and the app is hidden.
    NotInUse,
    /// The host's policy does not allow it to this app.
    Policy,
    /// The operator of the fleet has taken it from this release: a kill of level 3.
    Killed,
    /// The host has had no news of its fleet for longer than this permission may go without.
    Stale,
}

impl Denial {
    fn phrase(self) -> &'static str {
        match self {
            Self::NotDeclared => "is not declared in the app's manifest",
            Self::NotGranted => "has not been granted",
            Self::Denied => "was denied by the user",
            Self::Blocked => "is blocked by the user",
            Self::Revoked => "was revoked",
            Self::NotInUse => "is allowed only while the app is in use",
            Self::Policy => "is not allowed by this host's policy",
            Self::Killed => "was switched off by the operator",
            Self::Stale => "is withdrawn until the host hears from its registry again",
        }
    }
}

/// A request or notification, borrowed from its text.
#[derive(Debug, Deserialize)]
pub(crate) struct Request<'a> {
    #[serde(borrow)]
    jsonrpc: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) method: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) id: Option<&'a RawValue>,
}

impl<'a> Request<'a> {
    /// Parses one request; the error is ready to be sent back with a `null` id.
    pub(crate) fn parse(text: &'a str) -> Result<Self, RpcError> {
        let raw: &RawValue = serde_json::from_str(text)
            .map_err(|e| RpcError::new(code::PARSE_ERROR, format!("The request is not JSON: {e}.")))?;
        let invalid = |why: String| RpcError::new(code::INVALID_REQUEST, why);
        if raw.get().starts_with('[') {
            return Err(invalid("Batches are not supported; send one request a line.".into()));
        }
        let request: Self = serde_json::from_str(raw.get())
            .map_err(|e| invalid(format!("The text is JSON but not a JSON-RPC request: {e}.")))?;
        if request.jsonrpc != "2.0" {
            return Err(invalid(format!("`jsonrpc` is {:?}; it must be \"2.0\".", request.jsonrpc)));
        }
        if request.id.is_some_and(|id| id.get().starts_with(['{', '['])) {
            return Err(invalid("`id` must be a string, a number or null.".into()));
        }
        if request.params.is_some_and(|p| !p.get().starts_with(['{', '['])) {
            return Err(invalid("`params` must be an object or an array.".into()));
        }
        Ok(request)
    }
}

/// Writes a response envelope around `outcome`, whose success is JSON text.
pub(crate) fn response(id: Option<&RawValue>, outcome: Result<&str, &RpcError>) -> String {
    let id = id.map_or("null", RawValue::get);
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(error) => {
            let error = serde_json::to_string(error).unwrap_or_else(|_| "null".into());
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> i32 {
        Request::parse(text).unwrap_err().code
    }

    #[test]
    fn refuses_what_is_not_a_request() {
        assert_eq!(refusal("{"), code::PARSE_ERROR);
        assert_eq!(refusal(r#"{"method":"a"}"#), code::INVALID_REQUEST);
        assert_eq!(refusal(r#"{"jsonrpc":"1.0","method":"a"}"#), code::INVALID_REQUEST);
        assert_eq!(refusal(r#"[{"jsonrpc":"2.0","method":"a"}]"#), code::INVALID_REQUEST);
        assert_eq!(refusal(r#"{"jsonrpc":"2.0","method":"a","id":{}}"#), code::INVALID_REQUEST);
        assert_eq!(refusal(r#"{"jsonrpc":"2.0","method":"a","params":1}"#), code::INVALID_REQUEST);
    }

    #[test]
    fn a_null_id_counts_as_none() {
        let with_null = Request::parse(r#"{"jsonrpc":"2.0","method":"a","id":null}"#).unwrap();
        // serde reads `null` as an absent option; JSON-RPC discourages null ids, and so it is a notification here.
        assert!(with_null.id.is_none());
    }

    #[test]
    fn responses_are_json() {
        let request = Request::parse(r#"{"jsonrpc":"2.0","method":"a","id":"x"}"#).unwrap();
        let good: Value = serde_json::from_str(&response(request.id, Ok("[1]"))).unwrap();
        assert_eq!(good, json!({"jsonrpc": "2.0", "id": "x", "result": [1]}));
        let bad: Value = serde_json::from_str(&response(None, Err(&RpcError::internal()))).unwrap();
        assert_eq!(bad["error"]["code"], code::INTERNAL_ERROR);
    }
}
