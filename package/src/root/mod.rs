//! Publisher roots: who a publisher is, and which keys may sign for it.

mod chain;
mod document;
mod draft;
mod error;
mod file;
mod trust;

pub use chain::{PAYLOAD_TYPE, Progress, RootChain, Tally};
pub use document::{PublisherId, RELEASE_ROLE, ROOT_ROLE, Revocation, Role, Root, STATE_ROLE, STOP_ROLE};
pub use draft::Draft;
pub use error::RootError;
pub use file::{Proposal, RootFile};
pub use trust::{Trust, TrustError};
