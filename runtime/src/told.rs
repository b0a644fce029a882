//! What an app is told by its host and by nobody else.

/// An event of a topic that it subscribed to.
pub(crate) const EVENT: &str = "events.message";
/// Stored pairs that somebody else changed.
pub(crate) const CHANGED: &str = "storage.changed";
/// A timer that was due.
pub(crate) const TIMER: &str = "timers.fired";

/// Whether a method tells an app of its own life: `lifecycle.shown` and the like, those to come included.
pub(crate) fn is_lifecycle(method: &str) -> bool {
    method.starts_with("lifecycle.")
}

/// Whether an app may rely on its host having said this.
pub(crate) fn is_the_hosts(method: &str) -> bool {
    is_lifecycle(method) || matches!(method, EVENT | CHANGED | TIMER)
}
