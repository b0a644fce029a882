//! Why a key cannot be used.

use thiserror::Error;

use crate::limits;
use crate::text::Shown;

/// Why a key cannot be used. No variant carries bytes of a secret.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Not PEM.
    #[error("this is not a key file: it has no PEM block that begins with -----BEGIN")]
    NotPem,
    /// PEM, but of something else.
    #[error("this is a {}, but a {wanted} is needed", Shown(.found))]
    WrongKind {
        /// The label found.
        found: String,
        /// The label needed.
        wanted: &'static str,
    },
    /// Encrypted.
    #[error("this secret key is encrypted, so its passphrase is needed")]
    Encrypted,
    /// Decryption gave no key.
    #[error("the passphrase does not open this secret key")]
    Passphrase,
    /// Nothing to encrypt with.
    #[error("an empty passphrase protects nothing")]
    EmptyPassphrase,
    /// Encrypted in a way that is too weak, too costly or unknown.
    #[error("this secret key is encrypted in a way that is not supported: {reason}")]
    Scheme {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not the DER of a key.
    #[error("the key file is damaged: {reason}")]
    Damaged {
        /// What the decoder said.
        reason: String,
    },
    /// A key for another algorithm.
    #[error("this is a key for another algorithm, only Ed25519 is supported")]
    Algorithm,
    /// The public half does not belong to the secret one.
    #[error("the public half in the key file does not belong to the secret one")]
    Mismatch,
    /// Not a point, or not its one encoding.
    #[error("these 32 bytes are not the encoding of an Ed25519 public key")]
    NotAPoint,
    /// A small-order point.
    #[error("this public key has small order: signatures that anyone can write would verify under it")]
    SmallOrder,
    /// A point with a torsion component.
    #[error("this public key has a torsion component: verifiers would disagree about its signatures")]
    Torsion,
    /// Too many bytes.
    #[error("{size} bytes are too many for a key file, the limit is {}", limits::KEY_FILE)]
    TooLarge {
        /// Their number.
        size: usize,
    },
    /// The system has no randomness.
    #[error("the operating system gave no random bytes: {reason}")]
    Random {
        /// What it said.
        reason: String,
    },
}

impl KeyError {
    /// The rule's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotPem => "MPKG-K01",
            Self::WrongKind { .. } => "MPKG-K02",
            Self::Encrypted => "MPKG-K03",
            Self::Damaged { .. } => "MPKG-K04",
            Self::Algorithm => "MPKG-K05",
            Self::Mismatch => "MPKG-K06",
            Self::NotAPoint => "MPKG-K07",
            Self::SmallOrder => "MPKG-K08",
            Self::Torsion => "MPKG-K09",
            Self::TooLarge { .. } => "MPKG-K10",
            Self::Random { .. } => "MPKG-K11",
            Self::Passphrase => "MPKG-K12",
            Self::Scheme { .. } => "MPKG-K13",
            Self::EmptyPassphrase => "MPKG-K14",
        }
    }
}
