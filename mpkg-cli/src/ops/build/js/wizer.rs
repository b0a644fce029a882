//! Pre-initialization of a JavaScript guest: runs the engine until it has read the program, and keeps the memory it
//! then has as the guest's first state.
//!
//! What runs here ends up in the package, byte for byte. So it sees nothing that differs between two machines or two
//! days: fixed clocks, fixed random numbers, only the variables it is given, and its files under constant names.

use std::path::Path;
use std::time::Duration;

use wasmtime::error::Context as _;
use wasmtime::{Config, Engine, Instance, Linker, Module, OptLevel, Store, Val};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{FsPerms, HostMonotonicClock, HostWallClock, I32Exit, WasiCtxBuilder};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

/// Name and version of what does the work, for the list of tools that made a package.
pub(super) const TOOL: (&str, &str) = ("wasmtime-wizer", "48");

/// Where the engine finds the folder of the program.
const GUEST_FOLDER: &str = "/app";
/// The function that the engine is initialized by.
const INIT: &str = "componentize.wizer";
/// The function that tells afterwards whether the program fits its world; 0 is yes.
const CHECK: &str = "check_init";
/// More than any engine says before it gives up.
const MAX_OUTPUT: usize = 256 * 1024;

/// Why the program could not be started.
#[derive(Debug)]
pub(super) struct Failed {
    /// What it printed, which is the JavaScript error where there is one.
    pub(super) output: String,
    /// What stopped it.
    pub(super) reason: String,
}

/// The host's call that a program makes while it is being built, when there is no host.
#[derive(Debug, thiserror::Error)]
#[error(
    "the program calls the host ({interface}) while it is being built: do it in a handler, not at the top level \
     of a module"
)]
struct NoHostYet {
    interface: String,
}

/// Runs `module` with the files in `folder` (`initializer.js` and `app.js`) and returns it pre-initialized.
pub(super) fn preinitialize(
    module: &[u8],
    folder: &Path,
    environment: &[(String, String)],
) -> Result<Vec<u8>, Failed> {
    // A thread of its own, since the caller may be inside an async runtime already.
    let run = || -> Result<Vec<u8>, Failed> {
        let stderr = MemoryOutputPipe::new(MAX_OUTPUT);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let made = runtime
            .map_err(wasmtime::Error::from)
            .and_then(|runtime| runtime.block_on(snapshot(module, folder, environment, stderr.clone())));
        made.map_err(|error| Failed {
            output: String::from_utf8_lossy(&stderr.contents()).into_owned(),
            reason: reason(&error),
        })
    };
    let joined = std::thread::scope(|scope| scope.spawn(run).join());
    joined.unwrap_or_else(|_| {
        Err(Failed { output: String::new(), reason: "the pre-initialization panicked".into() })
    })
}

fn reason(error: &wasmtime::Error) -> String {
    if let Some(no_host) = error.downcast_ref::<NoHostYet>() {
        return no_host.to_string();
    }
    match error.downcast_ref::<I32Exit>() {
        Some(_) => "it threw an error at the top level of a module".into(),
        None => format!("{error:#}"),
    }
}

async fn snapshot(
    module: &[u8],
    folder: &Path,
    environment: &[(String, String)],
    stderr: MemoryOutputPipe,
) -> wasmtime::Result<Vec<u8>> {
    let engine = engine()?;
    let mut wizer = Wizer::new();
    wizer.init_func(INIT);
    let (context, instrumented) = wizer.instrument(module)?;
    let compiled = Module::new(&engine, &instrumented)?;

    let mut linker = Linker::<WasiP1Ctx>::new(&engine);
    p1::add_to_linker_async(&mut linker, |wasi| wasi)?;
    refuse_host_calls(&mut linker, &compiled)?;
    linker.define_unknown_imports_as_traps(&compiled)?;

    let mut store = Store::new(&engine, wasi(folder, environment, stderr)?);
    let instance = linker.instantiate_async(&mut store, &compiled).await?;
    for (name, required) in [("_initialize", false), (INIT, true)] {
        if instance.get_export(&mut store, name).is_none() && !required {
            continue;
        }
        let function = instance.get_typed_func::<(), ()>(&mut store, name)?;
        function.call_async(&mut store, ()).await?;
    }
    let mut state = Initialized { store: &mut store, instance };
    let snapshot = wizer.snapshot(&context, &mut state).await?;

    // After the snapshot: the check may allocate, and what it leaves behind belongs in no package.
    let check = instance.get_typed_func::<(), i32>(&mut store, CHECK)?;
    match check.call_async(&mut store, ()).await? {
        0 => Ok(snapshot),
        status => wasmtime::bail!("the program does not export what its world asks for (status {status})"),
    }
}

/// An engine whose results do not depend on the processor.
fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    // The bits of a NaN are the one thing that two processors may compute differently.
    config.cranelift_nan_canonicalization(true);
    // The code runs for milliseconds, so compiling it is nearly all of the time.
    config.cranelift_opt_level(OptLevel::None);
    config.max_wasm_stack(4 << 20);
    config.async_stack_size(8 << 20);
    Engine::new(&config)
}

fn wasi(
    folder: &Path,
    environment: &[(String, String)],
    stderr: MemoryOutputPipe,
) -> wasmtime::Result<WasiP1Ctx> {
    let arguments = format!(
        "--initializer-script-path {GUEST_FOLDER}/initializer.js --strip-path-prefix {GUEST_FOLDER}/ {GUEST_FOLDER}/app.js"
    );
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdin(MemoryInputPipe::new(arguments.into_bytes()))
        .stdout(MemoryOutputPipe::new(MAX_OUTPUT))
        .stderr(stderr)
        .envs(environment)
        .secure_random(fixed_random())
        .insecure_random(fixed_random())
        .insecure_random_seed(0)
        .wall_clock(FixedClock)
        .monotonic_clock(FixedClock);
    wasi.preopened_dir(folder, GUEST_FOLDER, FsPerms::ReadOnly)?;
    Ok(wasi.build_p1())
}

/// Fractional digits of the square roots of the first primes: bits with no pattern, and no secret.
fn fixed_random() -> Deterministic {
    let words: [u64; 8] = [
        0x6a09_e667_f3bc_c908,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
        0x510e_527f_ade6_82d1,
        0x9b05_688c_2b3e_6c1f,
        0x1f83_d9ab_fb41_bd6b,
        0x5be0_cd19_137e_2179,
    ];
    Deterministic::new(words.iter().flat_map(|word| word.to_be_bytes()).collect())
}

/// It is always the first second of 1980, as in the package's own headers, and no time passes.
struct FixedClock;

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(315_532_800)
    }
}

impl HostMonotonicClock for FixedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

/// A program that already calls the host at build time gets an answer that says what is wrong.
fn refuse_host_calls(linker: &mut Linker<WasiP1Ctx>, module: &Module) -> wasmtime::Result<()> {
    for import in module.imports().filter(|import| import.module().starts_with("mpkg:")) {
        let Some(ty) = import.ty().func().cloned() else { continue };
        let interface = import.module().to_owned();
        linker
            .func_new(import.module(), import.name(), ty, move |_, _, _| {
                Err(NoHostYet { interface: interface.clone() }.into())
            })
            .context("two imports of one name")?;
    }
    Ok(())
}

/// What the snapshot reads the state from.
struct Initialized<'a> {
    store: &'a mut Store<WasiP1Ctx>,
    instance: Instance,
}

impl InstanceState for Initialized<'_> {
    #[expect(
        clippy::panic,
        reason = "the trait asks for it; the names are those of the instrumentation's own exports"
    )]
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        let global = self.instance.get_global(&mut *self.store, name);
        match global.map(|global| global.get(&mut *self.store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(value)) => SnapshotVal::F32(value),
            Some(Val::F64(value)) => SnapshotVal::F64(value),
            Some(Val::V128(value)) => SnapshotVal::V128(value.as_u128()),
            other => panic!("{name} is not a global that can be kept: {other:?}"),
        }
    }

    #[expect(
        clippy::panic,
        reason = "the trait asks for it; the names are those of the instrumentation's own exports"
    )]
    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.instance.get_memory(&mut *self.store, name) {
            Some(memory) => contents(memory.data(&self.store)),
            None => panic!("{name} is not a memory"),
        }
    }
}
