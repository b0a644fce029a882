//! What apps are told of time and chance: by the system, unless their host has something else in mind.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The time that every app of a host sees, through `clock` and through WASI alike. Limits, timers and grants go by the
/// system's time whatever this tells, or an app would have longer than it may. An app that looks at a clock that stands
/// still until it goes on is ended by its limits.
pub trait Clock: Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// A time that never goes back, from any moment on. An app is told what has passed of it since its own launch.
    fn monotonic(&self) -> Duration;
}

/// Fills all of a buffer.
pub(crate) type Fill = dyn Fn(&mut [u8]) -> io::Result<()> + Send + Sync;

struct System(Instant);

impl Clock for System {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A host's part.
#[derive(Clone)]
pub(crate) struct Senses {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<Fill>,
}

impl Default for Senses {
    fn default() -> Self {
        Self {
            clock: Arc::new(System(Instant::now())),
            random: Arc::new(|bytes| getrandom::fill(bytes).map_err(io::Error::other)),
        }
    }
}

impl Senses {
    /// For an instance that is launched now.
    pub(crate) fn launched(&self) -> Sensed {
        Sensed { launched: self.clock.monotonic(), host: self.clone() }
    }
}

/// An instance's part.
pub(crate) struct Sensed {
    host: Senses,
    launched: Duration,
}

impl Sensed {
    /// Since 1970; nothing where the clock shows an earlier time.
    pub(crate) fn unix(&self) -> Duration {
        self.host.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    /// Since the launch: the host's own uptime is nobody's business.
    pub(crate) fn elapsed(&self) -> Duration {
        self.host.clock.monotonic().saturating_sub(self.launched)
    }

    /// Fills all of `bytes`, or tells its host why that failed.
    pub(crate) fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        (self.host.random)(bytes).inspect_err(|error| tracing::error!(%error, "there are no random bytes"))
    }
}
