//! The identifier of a Mini App.

use serde::{Deserialize, Serialize};

use crate::strings::checked_string;

/// Longest app id, in bytes.
pub const MAX_APP_ID_BYTES: usize = 255;

/// A Mini App's identifier: reverse DNS, at least two labels, lower case.
///
/// W3C allows capital letters and one label; both invite two apps whose ids people take for the same.
///
/// ```
/// use mpkg_manifest::AppId;
/// assert!("org.example.stock-alert".parse::<AppId>().is_ok());
/// for bad in ["example", "org..x", "Org.example", "org.example.", "org.-x", "org.1x"] {
///     assert!(bad.parse::<AppId>().is_err(), "{bad}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

/// Why a text is no app id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppIdError {
    /// Too many bytes.
    #[error("the app id has {length} bytes, more than {MAX_APP_ID_BYTES}")]
    TooLong {
        /// Bytes in the text.
        length: usize,
    },
    /// Only one label.
    #[error("the app id {} is a single label", crate::problem::quote(id))]
    OneLabel {
        /// The id.
        id: String,
    },
    /// A label outside `[a-z]([a-z0-9-]*[a-z0-9])?`, or longer than 63.
    #[error(
        "the label {} of the app id is not a letter followed by a-z, 0-9 or inner `-`",
        crate::problem::quote(label)
    )]
    BadLabel {
        /// The label.
        label: String,
    },
}

impl AppIdError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::APP_ID
    }
}

fn check(id: &str) -> Result<(), AppIdError> {
    if id.len() > MAX_APP_ID_BYTES {
        return Err(AppIdError::TooLong { length: id.len() });
    }
    if let Some(label) = id.split('.').find(|label| !is_label(label)) {
        return Err(AppIdError::BadLabel { label: label.to_owned() });
    }
    if !id.contains('.') {
        return Err(AppIdError::OneLabel { id: id.to_owned() });
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    label.len() <= 63
        && label.starts_with(|c: char| c.is_ascii_lowercase())
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

checked_string!(AppId, AppIdError, check, {
    "type": "string",
    "maxLength": MAX_APP_ID_BYTES,
    "pattern": "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,61}[a-z0-9])?)+$"
});

#[cfg(test)]
mod tests {
    use super::AppId;

    #[test]
    fn labels_and_length() {
        let long = format!("a.{}", ["b"; 127].join("."));
        assert_eq!(long.len(), 255);
        for good in ["a.b", "com.example", "org.w3c.mini-app2", &long] {
            assert!(good.parse::<AppId>().is_ok(), "{good}");
        }
        let label = "b".repeat(64);
        for bad in [
            "",
            "a",
            "a.",
            ".a",
            "a.b-",
            "a.é",
            "a.b_c",
            "a b.c",
            "a.B",
            &format!("{long}.c"),
            &format!("a.{label}"),
        ] {
            assert!(bad.parse::<AppId>().is_err(), "{bad}");
        }
    }
}
