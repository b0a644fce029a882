//! Why something was not done.

use thiserror::Error;

/// Why a registry did not do what it was asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The address cannot be used.
    #[error("{address} is no address of a registry: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The token cannot be sent.
    #[error("the token holds characters that a token cannot have")]
    Token,
    /// No answer, or half of one.
    #[error("the registry was not reached: {0}")]
    Network(#[source] reqwest::Error),
    /// It refused, and said why.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The rule's code.
        code: String,
        /// A sentence.
        message: String,
        /// What to do; perhaps nothing.
        hint: String,
    },
    /// An answer that no registry gives.
    #[error("the answer is not that of a registry: {0}")]
    Answer(String),
    /// More than was agreed.
    #[error("the answer has more than {limit} bytes")]
    TooLarge {
        /// The most.
        limit: usize,
    },
    /// Something in between answers in its place.
    #[error("the registry is not there: status {status} without a reason")]
    Away {
        /// The HTTP status.
        status: u16,
    },
    /// Less than was announced.
    #[error("the answer ended after {found} of {wanted} bytes")]
    Short {
        /// Bytes that are there.
        found: u64,
        /// Bytes that there are to be.
        wanted: u64,
    },
    /// The disk.
    #[error("the package cannot be stored: {0}")]
    Disk(#[source] std::io::Error),
    /// A compressed package that is none.
    #[error("the package cannot be unpacked: {0}")]
    Damaged(#[source] std::io::Error),
    /// Other bytes than were asked for.
    #[error("the package is not the one that was asked for: it is {found}")]
    Package {
        /// What came.
        found: mpkg_package::Digest,
    },
}

impl ClientError {
    /// The rule's code, where there is one.
    pub fn code(&self) -> Option<&str> {
        if let Self::Refused { code, .. } = self { Some(code) } else { None }
    }

    /// Whether the same request may do better in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Network(_) | Self::Away { .. } | Self::Short { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 503),
            _ => false,
        }
    }
}

impl From<reqwest::Error> for ClientError {
    fn from(error: reqwest::Error) -> Self {
        // Addresses hold nothing secret, but what is printed is shorter without.
        Self::Network(error.without_url())
    }
}
