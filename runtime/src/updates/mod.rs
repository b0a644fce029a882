//! Updates over the air: which release each app runs, and what is switched off, as a registry's signed state says.

mod choose;
mod device;
mod force;
mod host;
mod orders;
mod starts;
mod tally;

pub use device::{Counted, Device, Offer, Shelf, Switch};
pub use host::HeldRelease;
pub use orders::{Clock, Orders};

pub(crate) use choose::{Gates, choose};
pub(crate) use force::InForce;
pub(crate) use starts::{Starts, Trial};
