//! Parameters and answers that several bridges share.

use serde::{Deserialize, Serialize};

/// No parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// What begins with this; all if it is left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Prefix {
    #[serde(default)]
    pub(super) prefix: String,
}

/// Nothing to tell.
#[derive(Serialize)]
pub(super) struct Done {}

#[derive(Serialize)]
pub(super) struct Deleted {
    pub(super) existed: bool,
}
