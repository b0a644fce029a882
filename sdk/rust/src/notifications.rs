//! Shows notifications. Permission `notifications`.

use serde::{Deserialize, Serialize};

use crate::{Error, bridge};

/// Shows one; returns its id.
pub fn show(title: &str, body: &str) -> Result<String, Error> {
    #[derive(Serialize)]
    struct Show<'a> {
        title: &'a str,
        body: &'a str,
    }
    #[derive(Deserialize)]
    struct Shown {
        id: String,
    }
    bridge::request(bridge::notifications, "notifications.show", &Show { title, body })
        .map(|answer: Shown| answer.id)
}
