//! The registry: the place that packages are published to, and the switchboard of platform staff.
//!
//! One process, one folder: SQLite for what changes, a content-addressed folder for packages, two signing keys.
//! [`Registry::open`] opens the folder, [`serve`] answers HTTP until it is told to stop. What hosts read is signed, so
//! a host that is lied to by whoever sits between can tell. `docs/registry.md` describes the API.

#![allow(clippy::result_large_err, reason = "refusals are made once per request")]

mod audit;
mod auth;
mod boots;
mod call;
mod callers;
mod change;
mod clock;
mod config;
mod encoding;
mod failure;
mod fold;
mod gates;
mod http;
mod intake;
mod keys;
mod linger;
mod listeners;
mod made;
mod metrics;
mod openapi;
mod publish;
mod range;
mod registry;
mod rollouts;
mod routes;
pub mod rules;
mod seats;
mod signing;
mod store;
mod stream;

pub use auth::Access;
pub use config::Config;
pub use failure::{Failure, Refusal};
pub use http::{Running, serve};
pub use mpkg_registry_client::wire::{self, *};
pub use registry::{Opened, Registry};
pub use routes::{Kind, Route, routes};
pub use rules::RULES;
pub use store::{BackupError, OpenError, backup, restore};
