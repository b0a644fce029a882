//! What the host tells an app about its life.

use serde::Deserialize;

/// `lifecycle.launched`: the first thing that an instance hears.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Launched {
    /// For whom. An opaque name, stable for this app and user.
    #[serde(default)]
    pub user: String,
    /// What led to the launch, such as `user`, `deep_link` or `event`.
    #[serde(default)]
    pub reason: String,
}

/// `lifecycle.error`: something failed outside the app's own code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Failure {
    /// What happened.
    #[serde(default)]
    pub message: String,
}
