//! `log`: lines of the app's own log, bounded in length and rate. Needs no permission.

use std::sync::Mutex;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Bridge;
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

/// A token bucket over log lines: a guest that logs in a loop must not fill the host's disk.
#[derive(Debug)]
pub(crate) struct LogLimiter {
    per_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl LogLimiter {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), state: Mutex::new((per_second.into(), Instant::now())) }
    }

    /// True if one more line may be written now.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (tokens, last) = *state;
        let tokens = (tokens + now.saturating_duration_since(last).as_secs_f64() * self.per_second)
            .min(self.per_second);
        let admitted = tokens >= 1.0;
        *state = (if admitted { tokens - 1.0 } else { tokens }, now);
        admitted
    }
}

impl crate::session::Session {
    /// Writes one line to the app's log, unless it wrote too many.
    pub(crate) fn log(&self, level: Level, message: String) {
        if !self.log_limiter.admit(Instant::now()) {
            self.metrics.log_dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            return;
        }
        self.metrics.log_lines.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // `?message` escapes what could drive a terminal.
        tracing::debug!(target: "miniapp", app = %self.identity.app_id, ?level, ?message);
        self.notifications.send(Notification::Log { level, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn refills_with_time_and_no_further_than_a_second() {
        let start = Instant::now();
        let limiter = LogLimiter::new(10);
        let admitted = |at: Instant, n: usize| (0..n).filter(|_| limiter.admit(at)).count();
        assert_eq!(admitted(start, 100), 10);
        assert_eq!(admitted(start + Duration::from_millis(500), 100), 5);
        assert_eq!(admitted(start + Duration::from_secs(60), 100), 10);
    }
}
