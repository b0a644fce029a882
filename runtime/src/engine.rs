//! The WebAssembly engine: what guests may use, and the thread that moves its epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wasmtime::{Config, Engine, EngineWeak, Strategy};

/// How often running guests are looked at. A kill does not wait for it; CPU budgets are exact to about this much.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// How many ticks without a call it takes for the ticker to go to sleep.
const IDLE_TICKS: u32 = 200;

/// How guest code is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compiler {
    /// Optimized native code: slowest to compile, fastest to run.
    #[default]
    Cranelift,
    /// Native code in one pass: compiles several times faster, runs slower.
    Winch,
    /// Portable bytecode and an interpreter, for platforms that forbid making native code at run time.
    Pulley,
}

impl std::str::FromStr for Compiler {
    type Err = UnknownCompiler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "cranelift" => Ok(Self::Cranelift),
            "winch" => Ok(Self::Winch),
            "pulley" => Ok(Self::Pulley),
            other => Err(UnknownCompiler(other.to_owned())),
        }
    }
}

/// A name that is none of `cranelift`, `winch` and `pulley`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no engine; it is one of `cranelift`, `winch` and `pulley`.")]
pub struct UnknownCompiler(String);

/// The engine settings of a host. Public so that a benchmark can run plain wasmtime under the same ones.
pub fn config(compiler: Compiler) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    match compiler {
        Compiler::Cranelift => config.strategy(Strategy::Cranelift),
        Compiler::Winch => config.strategy(Strategy::Winch),
        Compiler::Pulley => config.target(PULLEY)?,
    };
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        // Off, as in package verification: most advisories of recent years sit in features like these. Others
        // (garbage collection, threads, component-model async) are not even compiled in.
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false);
    Ok(config)
}

#[cfg(target_pointer_width = "64")]
const PULLEY: &str = "pulley64";
#[cfg(target_pointer_width = "32")]
const PULLEY: &str = "pulley32";

/// Moves an engine's epoch while calls run, from a thread of its own: an async timer would starve together with the
/// workers that guests keep busy.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: thread::Thread,
}

#[derive(Debug, Default)]
struct Shared {
    /// Set by every call, cleared by every tick.
    busy: AtomicBool,
    asleep: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (for_thread, weak) = (shared.clone(), engine.weak());
        let handle = thread::Builder::new()
            .name("miniapp-epoch".into())
            .spawn(move || tick_until_stopped(&for_thread, &weak))?;
        Ok(Self { shared, thread: handle.thread().clone() })
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

fn tick_until_stopped(shared: &Shared, engine: &EngineWeak) {
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
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
        // A guest that runs on within one poll does not set `busy` again, and so is given whole idle seconds; it
        // yields at every tick, and its next poll sets it.
        idle = if shared.busy.swap(false, Ordering::SeqCst) { 0 } else { idle + 1 };
    }
}
