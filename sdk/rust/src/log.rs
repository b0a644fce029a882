//! The app's log. Needs no permission.
//!
//! The host keeps a budget of lines per app; what is beyond it is dropped, and so are failures: a log line is no
//! reason for an app to stop.

use serde::Serialize;

use crate::bridge::{self, Ignored};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the developer.
    Debug,
    /// Something happened.
    Info,
    /// Something happened that should not happen often.
    Warn,
    /// Something failed.
    Error,
}

/// Writes one line.
pub fn write(level: Level, message: &str) {
    #[derive(Serialize)]
    struct Line<'a> {
        level: Level,
        message: &'a str,
    }
    let _: Result<Ignored, _> = bridge::request(bridge::log, "log.write", &Line { level, message });
}

/// Writes one line for the developer.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Writes one line.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Writes a warning.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Writes an error.
pub fn error(message: &str) {
    write(Level::Error, message);
}

/// From now on the message of a panic goes to the log before the app is stopped. `#[app(log_panics)]` calls it.
pub fn panics() {
    #[cfg(target_family = "wasm")]
    std::panic::set_hook(Box::new(|info| error(&info.to_string())));
}
