//! Which hosts an app may talk to.

use serde::{Deserialize, Serialize};

use crate::strings::checked_string;

/// A host name, or `*.` and a host name: `api.example.com`, `*.example.com`.
///
/// A wildcard stands for one or more labels and does not match the bare name. Internet addresses are refused:
/// a permission dialog cannot say whose they are, and the runtime checks addresses after resolving anyway.
///
/// ```
/// use mpkg_manifest::HostPattern;
/// let hosts: HostPattern = "*.example.com".parse().unwrap();
/// assert!(hosts.matches("api.EXAMPLE.com"));
/// assert!(!hosts.matches("example.com"));
/// assert!(!hosts.matches("badexample.com"));
/// for bad in ["localhost", "*.com", "127.0.0.1", "[::1]", "a.b:80", "https://a.b", "u@a.b", "A.b", "a.*.b"] {
///     assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

/// Why a text is no host pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// Nothing, or more bytes than a DNS name can have.
    #[error("a host name has 1 to 253 bytes, this has {length}")]
    Length {
        /// Bytes in the text.
        length: usize,
    },
    /// `https://…`
    #[error("this is a URL, only the host name goes here")]
    Url,
    /// `user@host`, `host:port`, `host/path`.
    #[error("the host name holds `{character}`: no user, port, path or query goes here")]
    MoreThanHost {
        /// The character that gives it away.
        character: char,
    },
    /// `127.0.0.1`, `[::1]`, `0x7f.1`.
    #[error("this is an internet address, not a host name")]
    Address,
    /// `localhost`, `*.com`.
    #[error("the host name needs two labels or more, such as `example.com`")]
    OneLabel,
    /// A `*` other than as the first label.
    #[error("`*` stands for the whole first label only, as in `*.example.com`")]
    Wildcard,
    /// Anything else that is no DNS label.
    #[error("the label {} is not made of a-z, 0-9 and inner `-`", crate::problem::quote(label))]
    BadLabel {
        /// The label.
        label: String,
    },
}

impl HostPatternError {
    /// The rule that was broken.
    #[must_use]
    pub fn code(&self) -> &'static str {
        crate::codes::HOST_PATTERN
    }
}

impl HostPattern {
    /// Whether the pattern allows this host name (any case of ASCII letters, no port).
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        match self.0.strip_prefix('*') {
            None => self.0.eq_ignore_ascii_case(host),
            Some(suffix) => {
                let at = host.len().saturating_sub(suffix.len());
                at > 0
                    && !host.starts_with('.')
                    && host.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
            }
        }
    }

    /// Whether every host that `other` allows is allowed by this pattern too.
    ///
    /// ```
    /// use mpkg_manifest::HostPattern;
    /// let wide: HostPattern = "*.example.com".parse().unwrap();
    /// assert!(wide.covers(&"*.eu.example.com".parse().unwrap()));
    /// assert!(!wide.covers(&"*.com.example".parse().unwrap()));
    /// ```
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match other.0.strip_prefix("*.") {
            None => self.matches(&other.0),
            Some(rest) => self == other || self.is_wildcard() && self.matches(rest),
        }
    }

    /// Whether it begins with `*.`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }
}

fn check(pattern: &str) -> Result<(), HostPatternError> {
    if pattern.is_empty() || pattern.len() > 253 {
        return Err(HostPatternError::Length { length: pattern.len() });
    }
    if pattern.contains("://") {
        return Err(HostPatternError::Url);
    }
    if pattern.starts_with('[') || pattern.matches(':').count() > 1 {
        return Err(HostPatternError::Address);
    }
    if let Some(character) = pattern.chars().find(|c| matches!(c, '@' | ':' | '/' | '?' | '#' | '\\')) {
        return Err(HostPatternError::MoreThanHost { character });
    }
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    if name.contains('*') {
        return Err(HostPatternError::Wildcard);
    }
    if let Some(label) = name.split('.').find(|label| !is_label(label)) {
        return Err(HostPatternError::BadLabel { label: label.to_owned() });
    }
    // URL parsers read a name whose last label is a number as an IPv4 address, in hexadecimal too.
    let last = name.rsplit('.').next().unwrap_or_default();
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostPatternError::Address);
    }
    if !name.contains('.') {
        return Err(HostPatternError::OneLabel);
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

checked_string!(HostPattern, HostPatternError, check, {
    "type": "string",
    "description": "A host name in lower case, or `*.` and a host name. No address, port, user or path.",
    "maxLength": 253,
    "pattern": "^(\\*\\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
});

#[cfg(test)]
mod tests {
    use super::{HostPattern, HostPatternError};

    #[test]
    fn each_trick_has_its_own_refusal() {
        let check = |text: &str| text.parse::<HostPattern>().unwrap_err();
        assert_eq!(check(""), HostPatternError::Length { length: 0 });
        assert_eq!(check("https://a.example"), HostPatternError::Url);
        assert_eq!(check("a.example:443"), HostPatternError::MoreThanHost { character: ':' });
        assert_eq!(check("user@a.example"), HostPatternError::MoreThanHost { character: '@' });
        assert_eq!(check("a.example/x"), HostPatternError::MoreThanHost { character: '/' });
        for address in ["127.0.0.1", "1", "2130706433", "0x7f.0x1", "10.0x", "[::1]", "::1", "a.1"] {
            assert_eq!(check(address), HostPatternError::Address, "{address}");
        }
        assert_eq!(check("localhost"), HostPatternError::OneLabel);
        assert_eq!(check("*.com"), HostPatternError::OneLabel);
        assert_eq!(check("*"), HostPatternError::Wildcard);
        assert_eq!(check("*.*.com"), HostPatternError::Wildcard);
        assert_eq!(check("a*.example.com"), HostPatternError::Wildcard);
        for label in ["a..b", "a.b.", "-a.b", "A.b", "bücher.example", "a_b.example", "a b.c"] {
            assert!(matches!(check(label), HostPatternError::BadLabel { .. }), "{label}");
        }
    }

    #[test]
    fn a_wildcard_is_whole_labels() {
        let wide: HostPattern = "*.b.example".parse().unwrap();
        assert!(wide.matches("a.b.example") && wide.matches("x.a.b.example"));
        assert!(!wide.matches("b.example") && !wide.matches(".b.example") && !wide.matches("ab.example"));
        assert!(!wide.matches("é") && !wide.matches(""));
        let exact: HostPattern = "b.example".parse().unwrap();
        assert!(!exact.covers(&wide) && !wide.covers(&exact) && exact.covers(&exact) && wide.covers(&wide));
    }
}
