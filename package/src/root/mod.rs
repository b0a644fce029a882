//! Publisher roots: who a publisher is, and which keys may sign for it.

mod chain;
mod document;
mod error;
mod trust;

pub use chain::{PAYLOAD_TYPE, RootChain};
pub use document::{PublisherId, Revocation, Role, Root};
pub use error::RootError;
pub use trust::{Trust, TrustError};

pub(crate) use document::RELEASE_ROLE;
