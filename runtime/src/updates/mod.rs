//! Updates over the air: which release each app runs, and what is switched off, as a registry's signed state says.

mod device;
mod orders;

pub use device::{Counted, Device, Offer, Shelf, Switch};
pub use orders::Orders;
