//! Where the device is. Permission `device.location`.

use serde::{Deserialize, Serialize};

use crate::{Error, bridge};

/// How exactly the app needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accuracy {
    /// The part of town.
    Coarse,
    /// The house.
    Fine,
}

/// A place. Degrees times ten million, since JSON on the bridge has no fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Location {
    /// North is positive.
    pub latitude_e7: i64,
    /// East is positive.
    pub longitude_e7: i64,
    /// Radius around the place.
    pub accuracy_m: u32,
}

/// Where the device is.
pub fn locate(accuracy: Accuracy) -> Result<Location, Error> {
    #[derive(Serialize)]
    struct Locate {
        accuracy: Accuracy,
    }
    bridge::request(bridge::device_location, "device.location", &Locate { accuracy })
}
