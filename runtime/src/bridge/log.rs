//! `log`: lines of the app's own log, bounded in length and rate. Needs no permission.

use serde::{Deserialize, Serialize};

use super::Bridge;
use crate::limits::Limit;
use crate::notify::{Level, Notification};

/// Longer messages are cut here, at a character's edge.
const LINE: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Write {
    level: Level,
    message: String,
}

#[derive(Serialize)]
struct Null;

pub(super) fn bridge() -> Bridge {
    Bridge::new("log").immediate("log.write", |caller, Write { level, mut message }: Write| {
        caller.session.log(level, {
            message.truncate(message.floor_char_boundary(LINE));
            message
        });
        Ok(Null)
    })
}

impl crate::session::Session {
    /// Writes one line to the app's log, unless it wrote too many: a guest that logs in a loop must not fill the
    /// host's disk.
    pub(crate) fn log(&self, level: Level, message: String) {
        if self.log_rate.check().is_err() {
            self.metrics.hit(Limit::LogLines);
            self.metrics.log_dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return;
        }
        self.metrics.log_lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // `?message` escapes what could drive a terminal.
        tracing::debug!(target: "miniapp", app = %self.identity.app_id, ?level, ?message);
        self.notifications.send(Notification::Log { level, message });
    }
}
