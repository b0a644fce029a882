//! The thread that moves the engines' epochs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

/// How often running guests are looked at. A kill does not wait for it; CPU budgets are exact to about this much.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// How many ticks without a call it takes for the ticker to go to sleep.
const IDLE_TICKS: u32 = 200;

/// Moves the engines' epochs while calls run, from a thread of its own: an async timer would starve together with the
/// workers that guests keep busy.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: thread::Thread,
}

struct Shared {
    engines: Vec<EngineWeak>,
    /// Set by every call, cleared by every tick.
    busy: AtomicBool,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("busy", &self.busy).field("asleep", &self.asleep).finish()
    }
}

impl Shared {
    /// False once all the engines are gone.
    fn bump(&self) -> bool {
        let engines = self.engines.iter().filter_map(EngineWeak::upgrade);
        engines.map(|engine| engine.increment_epoch()).count() > 0
    }
}

impl Ticker {
    pub(crate) fn start<'a>(engines: impl IntoIterator<Item = &'a Engine>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            engines: engines.into_iter().map(Engine::weak).collect(),
            busy: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        let handle = thread::Builder::new()
            .name("miniapp-epoch".into())
            .spawn(move || tick_until_stopped(&for_thread))?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Makes every running guest meet its check now, without waiting for a tick.
    pub(crate) fn bump(&self) {
        self.shared.bump();
    }

    /// Called at the start of every poll of a guest, so that a running guest always meets ticks.
    #[inline]
    pub(crate) fn keep_awake(&self) {
        if !self.shared.busy.load(Ordering::SeqCst) {
            self.shared.busy.store(true, Ordering::SeqCst);
        }
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick_until_stopped(shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if idle < IDLE_TICKS {
            thread::sleep(TICK);
        } else {
            shared.asleep.store(true, Ordering::SeqCst);
            // Looked at again after `asleep` is set: a call that began in between has either seen `asleep` and
            // unparks, or is seen here.
            if !shared.busy.load(Ordering::SeqCst) && !shared.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
        }
        if !shared.bump() {
            return;
        }
        // A guest that runs on within one poll does not set `busy` again, and so is given whole idle seconds; it
        // yields at every tick, and its next poll sets it.
        idle = if shared.busy.swap(false, Ordering::SeqCst) { 0 } else { idle + 1 };
    }
}
