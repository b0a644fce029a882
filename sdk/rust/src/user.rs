//! The user's profile. Permission `user.profile`.

use serde::Deserialize;

use crate::Error;
use crate::bridge::{self, Empty};

/// Who is using the app.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// An opaque name: the same at every launch, and another in every other app.
    pub id: String,
    /// As the user wants to be called, if the host tells.
    #[serde(default)]
    pub display_name: Option<String>,
    /// A BCP 47 tag, such as `de-CH`, if the host tells.
    #[serde(default)]
    pub locale: Option<String>,
}

/// Who is using the app.
pub fn profile() -> Result<Profile, Error> {
    bridge::request(bridge::user_profile, "user.profile", &Empty {})
}
