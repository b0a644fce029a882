use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A JSON-RPC error object as it crosses the bridge. `data` is a JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// The code; the host's own are listed with [`Error`].
    pub code: i32,
    /// One sentence for people.
    pub message: String,
    /// More about it, as JSON text.
    pub data: Option<String>,
}

/// Why a permission was denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Denied {
    /// The manifest does not ask for it.
    NotDeclared,
    /// Nobody has granted it yet.
    NotGranted,
    /// The user said no; the app may ask again.
    Denied,
    /// The user said no for good.
    Blocked,
    /// It was granted and has been taken back.
    Revoked,
    /// It is granted while the app is in use, and the app is hidden.
    NotInUse,
    /// The host's policy forbids it.
    Policy,
    /// Its operator has switched it off for this release.
    Killed,
    /// The host has not heard from its operator for too long.
    Stale,
    /// A reason that a newer host knows and this SDK does not.
    #[serde(other)]
    Unknown,
}

/// What can go wrong between an app and its host, in both directions.
///
/// An app's own errors are [`Error::App`]; every other variant is one row of the host's code table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The app may not do this (-32001). Nothing happened.
    PermissionDenied {
        /// The permission, as the manifest names it.
        permission: String,
        /// Why.
        reason: Denied,
        /// The host's words.
        message: String,
    },
    /// This host has no such bridge (-32002).
    Unavailable(String),
    /// No room left (-32003). Nothing was written.
    QuotaExceeded {
        /// What is in use.
        used_bytes: u64,
        /// What is allowed.
        quota_bytes: u64,
        /// The host's words.
        message: String,
    },
    /// One value is larger than the bridge takes (-32004).
    TooLarge(String),
    /// Too many calls for now; later will do (-32005).
    Busy {
        /// From when on it will do, if the host can tell.
        retry_after: Option<Duration>,
        /// The limit that was met, as the host names it, such as `rate`.
        limit: Option<String>,
        /// The host's words.
        message: String,
    },
    /// The call was cancelled (-32006).
    Cancelled(String),
    /// It took too long (-32007).
    TimedOut(String),
    /// The host refused this very request, for example a URL outside the manifest's list (-32008).
    Refused(String),
    /// The other side of a network request does not answer, or not as it should (-32009). The user may be offline.
    Unreachable(String),
    /// Stored data is not as a transaction supposes (-32010). Nothing was changed.
    Conflict {
        /// The key.
        key: String,
        /// The host's words.
        message: String,
    },
    /// No such method (-32601).
    MethodNotFound(String),
    /// The params do not fit (-32602).
    InvalidParams {
        /// The path of the field, such as `lines[0].quantity`.
        field: Option<String>,
        /// What is wrong with it.
        message: String,
    },
    /// Somebody broke a promise (-32603).
    Internal(String),
    /// An error of the app's own making. JSON-RPC keeps the codes -32768 to -32000 for itself.
    App {
        /// The app's code.
        code: i32,
        /// One sentence for people.
        message: String,
        /// More about it, as JSON text.
        data: Option<String>,
    },
    /// A code that this SDK does not know.
    Other(RpcError),
}

impl Error {
    /// An error of the app's own making.
    pub fn app(code: i32, message: impl Into<String>) -> Self {
        Self::App { code, message: message.into(), data: None }
    }

    /// Params that do not fit for a reason of the app's own: `field` is the path of the field.
    pub fn invalid_params(field: impl Into<String>, problem: impl fmt::Display) -> Self {
        let field = field.into();
        Self::InvalidParams { message: format!("`{field}`: {problem}"), field: Some(field) }
    }

    /// The JSON-RPC code.
    pub fn code(&self) -> i32 {
        match self {
            Self::PermissionDenied { .. } => -32001,
            Self::Unavailable(_) => -32002,
            Self::QuotaExceeded { .. } => -32003,
            Self::TooLarge(_) => -32004,
            Self::Busy { .. } => -32005,
            Self::Cancelled(_) => -32006,
            Self::TimedOut(_) => -32007,
            Self::Refused(_) => -32008,
            Self::Unreachable(_) => -32009,
            Self::Conflict { .. } => -32010,
            Self::MethodNotFound(_) => -32601,
            Self::InvalidParams { .. } => -32602,
            Self::Internal(_) => -32603,
            Self::App { code, .. } => *code,
            Self::Other(error) => error.code,
        }
    }

    /// One sentence for people.
    pub fn message(&self) -> &str {
        match self {
            Self::PermissionDenied { message, .. }
            | Self::QuotaExceeded { message, .. }
            | Self::InvalidParams { message, .. }
            | Self::Conflict { message, .. }
            | Self::Busy { message, .. }
            | Self::App { message, .. }
            | Self::Unavailable(message)
            | Self::TooLarge(message)
            | Self::Cancelled(message)
            | Self::TimedOut(message)
            | Self::Refused(message)
            | Self::Unreachable(message)
            | Self::MethodNotFound(message)
            | Self::Internal(message) => message,
            Self::Other(error) => &error.message,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.code())
    }
}

impl std::error::Error for Error {}

#[derive(Serialize, Deserialize)]
struct PermissionData {
    permission: String,
    reason: Denied,
}

#[derive(Serialize, Deserialize)]
struct QuotaData {
    used_bytes: u64,
    quota_bytes: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct KeyData {
    key: String,
}

#[derive(Default, Serialize, Deserialize)]
struct BusyData {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct FieldData {
    field: String,
}

impl From<RpcError> for Error {
    fn from(error: RpcError) -> Self {
        let RpcError { code, message, data } = error;
        fn read<T: serde::de::DeserializeOwned>(data: &Option<String>) -> Option<T> {
            serde_json::from_str(data.as_deref()?).ok()
        }
        match code {
            -32001 => match read::<PermissionData>(&data) {
                Some(PermissionData { permission, reason }) => {
                    Self::PermissionDenied { permission, reason, message }
                }
                None => {
                    Self::PermissionDenied { permission: String::new(), reason: Denied::Unknown, message }
                }
            },
            -32002 => Self::Unavailable(message),
            -32003 => match read::<QuotaData>(&data) {
                Some(QuotaData { used_bytes, quota_bytes }) => {
                    Self::QuotaExceeded { used_bytes, quota_bytes, message }
                }
                None => Self::Other(RpcError { code, message, data }),
            },
            -32004 => Self::TooLarge(message),
            -32005 => {
                let BusyData { limit, retry_after_ms } = read(&data).unwrap_or_default();
                Self::Busy { retry_after: retry_after_ms.map(Duration::from_millis), limit, message }
            }
            -32006 => Self::Cancelled(message),
            -32007 => Self::TimedOut(message),
            -32008 => Self::Refused(message),
            -32009 => Self::Unreachable(message),
            -32010 => Self::Conflict { key: read::<KeyData>(&data).unwrap_or_default().key, message },
            -32601 => Self::MethodNotFound(message),
            -32602 => Self::InvalidParams { field: read::<FieldData>(&data).map(|data| data.field), message },
            -32603 => Self::Internal(message),
            code if !(-32768..=-32000).contains(&code) => Self::App { code, message, data },
            code => Self::Other(RpcError { code, message, data }),
        }
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        fn text<T: Serialize>(data: &T) -> Option<String> {
            serde_json::to_string(data).ok()
        }
        let code = error.code();
        let data = match &error {
            Error::PermissionDenied { permission, reason, .. } => {
                text(&PermissionData { permission: permission.clone(), reason: *reason })
            }
            Error::QuotaExceeded { used_bytes, quota_bytes, .. } => {
                text(&QuotaData { used_bytes: *used_bytes, quota_bytes: *quota_bytes })
            }
            Error::Busy { retry_after: None, limit: None, .. } => None,
            Error::Busy { retry_after, limit, .. } => {
                let retry_after_ms =
                    retry_after.map(|after| after.as_millis().try_into().unwrap_or(u64::MAX));
                text(&BusyData { limit: limit.clone(), retry_after_ms })
            }
            Error::InvalidParams { field: Some(field), .. } => text(&FieldData { field: field.clone() }),
            Error::Conflict { key, .. } => text(&KeyData { key: key.clone() }),
            Error::App { data, .. } => data.clone(),
            Error::Other(error) => error.data.clone(),
            _ => None,
        };
        Self { code, message: error.message().to_owned(), data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_survives_the_bridge() {
        let text = || "why".to_owned();
        let errors = [
            Error::PermissionDenied {
                permission: "storage".into(),
                reason: Denied::NotGranted,
                message: text(),
            },
            Error::Unavailable(text()),
            Error::QuotaExceeded { used_bytes: 9, quota_bytes: 10, message: text() },
            Error::TooLarge(text()),
            Error::Busy { retry_after: None, limit: None, message: text() },
            Error::Busy {
                retry_after: Some(Duration::from_millis(20)),
                limit: Some("rate".into()),
                message: text(),
            },
            Error::Cancelled(text()),
            Error::TimedOut(text()),
            Error::Refused(text()),
            Error::Unreachable(text()),
            Error::Conflict { key: "k".into(), message: text() },
            Error::MethodNotFound(text()),
            Error::InvalidParams { field: None, message: text() },
            Error::invalid_params("lines[0]", "too long"),
            Error::Internal(text()),
            Error::app(7, "why"),
            Error::Other(RpcError { code: -32099, message: text(), data: Some("1".into()) }),
        ];
        for error in errors {
            assert_eq!(Error::from(RpcError::from(error.clone())), error);
        }
    }

    #[test]
    fn who_is_too_fast_learns_when_to_go_on() {
        let data = Some(r#"{"limit":"rate","retry_after_ms":250,"method":"storage.set"}"#.to_owned());
        let error = Error::from(RpcError { code: -32005, message: "later".into(), data });
        let Error::Busy { retry_after, limit, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*retry_after, limit.as_deref()), (Some(Duration::from_millis(250)), Some("rate")));
    }

    #[test]
    fn an_unknown_reason_is_still_a_denial() {
        let data = Some(r#"{"permission":"cart.read","reason":"moon_phase"}"#.to_owned());
        let error = Error::from(RpcError { code: -32001, message: String::new(), data });
        assert!(matches!(error, Error::PermissionDenied { reason: Denied::Unknown, .. }), "{error:?}");
    }
}
