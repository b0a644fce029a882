//! Updates over the air: which release each app runs, and what is switched off, as a registry's signed state says.
//!
//! A host starts an [`Agent`] with the registry's address and pinned id, and needs no code of its own for updates, rollouts
//! and kills. `docs/updates.md` tells how it goes about it.

mod actor;
mod agent;
mod choose;
mod device;
mod event;
mod fetch;
mod force;
mod host;
mod installs;
mod orders;
mod settings;
mod starts;
mod tally;
mod unreported;
mod vault;

pub use agent::{Agent, AgentError};
pub use device::{Counted, Device, Offer, Shelf, Switch};
pub use event::{AppStatus, Event, Paper, Status, Way};
pub use host::HeldRelease;
pub use orders::{Clock, Orders};
pub use settings::Settings;

pub(crate) use choose::{Gates, choose};
pub(crate) use force::InForce;
pub(crate) use starts::{Starts, Trial};
