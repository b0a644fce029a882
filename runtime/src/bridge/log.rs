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
    Bridge::new("log").immediate("log.write", |caller, Write { level, message }: Write| {
        caller.session.log(level, &message);
        Ok(Null)
    })
}

/// As much of a line as is kept.
fn cut(line: &str) -> &str {
    line.get(..line.floor_char_boundary(LINE)).unwrap_or(line)
}

impl crate::session::Session {
    /// Writes one line to the app's log, wherever it comes from, unless it wrote too many: a guest that logs in a loop
    /// must not fill the host's disk.
    pub(crate) fn log(&self, level: Level, line: &str) {
        if self.log_rate.check().is_err() {
            self.metrics.hit(Limit::LogLines);
            self.metrics.log_dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return;
        }
        self.metrics.log_lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let message = cut(line).to_owned();
        // `?message` escapes what could drive a terminal.
        tracing::debug!(target: "miniapp", app = %self.identity.app_id, ?level, ?message);
        self.notifications.send(Notification::Log { level, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_at_a_characters_edge() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(LINE + 1)).len(), LINE);
        assert_eq!(cut(&["x", &"ü".repeat(LINE)].concat()).len(), LINE - 1);
    }
}
