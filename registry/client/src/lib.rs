//! What hosts and the command line use to talk to a registry.
//!
//! [`Client`] has a function for each route, [`Follower`] keeps a stream open, [`delta`] makes a package from the one
//! before. What comes back signed is given as bytes: it counts once `mpkg_fleet::Fleet` or `mpkg_package::verify` has
//! judged it, whatever the connection was.
//!
//! Without the feature `http` there are only patches and the types of the wire, which the registry itself needs.

pub mod delta;
pub mod rules;
pub mod wire;

#[cfg(feature = "http")]
mod download;
#[cfg(feature = "http")]
mod error;
#[cfg(feature = "http")]
mod follow;
#[cfg(feature = "http")]
mod request;
#[cfg(feature = "http")]
mod verbs;

#[cfg(feature = "http")]
pub use error::ClientError;
#[cfg(feature = "http")]
pub use follow::{Backoff, Follower};
#[cfg(feature = "http")]
pub use request::{Client, Versioned};
pub use rules::RULES;
