//! Why a gateway does not listen, or a door does not open.

use std::net::SocketAddr;

use hyper::header::HeaderValue;
use url::Url;

/// Why a gateway was not made, or a way into an instance not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Others than this device could connect.
    #[error("{address} is no loopback address, and a gateway's connections are not encrypted.")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// No page has such an origin, or others than the app's own have it too.
    #[error("{origin:?} is no origin of an app's page: {problem}.")]
    BadOrigin {
        /// The origin.
        origin: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The address cannot be listened at.
    #[error("Nothing can listen at {address}: {source}.")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A token that can be guessed would be no secret.
    #[error("The operating system gave no random bytes for a token.")]
    NoRandomness,
}

impl GatewayError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotLoopback { .. } => "MPKG-H60",
            Self::BadOrigin { .. } => "MPKG-H61",
            Self::Listen { .. } | Self::NoRandomness => "MPKG-H62",
        }
    }
}

/// An origin as browsers write it, and of which there is only one.
pub(super) fn check_origin(origin: String) -> Result<HeaderValue, GatewayError> {
    let problem = match (problem(&origin), HeaderValue::from_str(&origin)) {
        (None, Ok(header)) => return Ok(header),
        (Some(problem), _) => problem,
        (None, Err(_)) => "no header can hold it",
    };
    Err(GatewayError::BadOrigin { origin, problem })
}

fn problem(origin: &str) -> Option<&'static str> {
    let Some((scheme, host)) = origin.split_once("://") else {
        // `null`, above all: what sandboxed frames and local files have in common.
        return Some("it is not of the form `scheme://host`");
    };
    let in_scheme = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(in_scheme) {
        return Some("its scheme is not a small letter, followed by a-z, 0-9, `+`, `-` and `.`");
    }
    if host.contains(['/', '?', '#']) {
        return Some("it has a path, which no browser sends");
    }
    let in_host = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']')
    };
    if host.is_empty() || !host.chars().all(in_host) {
        return Some("its host is not made of a-z, 0-9, `-`, `.` and `_`");
    }
    let written = |url: Url| url.origin().ascii_serialization();
    if matches!(scheme, "http" | "https") && Url::parse(origin).ok().map(written).as_deref() != Some(origin) {
        return Some("browsers write it differently");
    }
    None
}
