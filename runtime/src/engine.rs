//! The WebAssembly engines of a host: what guests may use, and who compiles them.

use std::thread;

use wasmtime::component::Component;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, ModuleVersionStrategy};
#[cfg(feature = "compile")]
use wasmtime::{OptLevel, RegallocAlgorithm, Strategy};

use crate::data::Data;
use crate::error::HostError;
use crate::heavy::lower_priority;
use crate::native::{Making, NativeCache};
use crate::policy::Policy;
use crate::pool;
use crate::precompiled::{CodeError, Vouched};

/// Whether this build makes code, or runs only what it is given.
pub(crate) const COMPILES: bool = cfg!(feature = "compile");

/// What code is for, and the only thing it is loaded by. The engine itself would take code of another minor version, which
/// may be what a flaw of its compiler was mended by.
pub(crate) const VERSION: &str = concat!("miniapp-runtime ", env!("CARGO_PKG_VERSION"), ", wasmtime 48.0.8");

/// Stack for the host's own functions, above what a guest may use.
const HOST_STACK: usize = 1536 << 10;

/// How guest code is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compiler {
    /// Winch for an app that was never seen, so that it starts at once; Cranelift in the background, from the next
    /// launch on.
    #[cfg(feature = "compile")]
    #[default]
    Tiered,
    /// Optimized native code: slowest to compile, fastest to run.
    #[cfg(feature = "compile")]
    Cranelift,
    /// Native code in one pass: compiles several times faster, runs slower.
    #[cfg(feature = "compile")]
    Winch,
    /// Portable bytecode and an interpreter, for platforms that forbid making native code at run time. Without the
    /// feature `compile` there is nothing else, and the bytecode comes from [`Host::add_code`](crate::Host::add_code).
    #[cfg_attr(not(feature = "compile"), default)]
    Pulley,
}

impl Compiler {
    /// What the environment variable `MPKG_ENGINE` names, or else the default: so that one build of a program, or of its
    /// tests, runs on each.
    ///
    /// # Errors
    /// If it names none.
    ///
    /// ```
    /// use miniapp_runtime::Compiler;
    /// assert_eq!("pulley".parse::<Compiler>().unwrap(), Compiler::Pulley);
    /// println!("{:?}", Compiler::from_environment().unwrap());
    /// ```
    pub fn from_environment() -> Result<Self, UnknownCompiler> {
        match std::env::var_os("MPKG_ENGINE") {
            Some(name) => name.to_string_lossy().parse(),
            None => Ok(Self::default()),
        }
    }
}

impl std::str::FromStr for Compiler {
    type Err = UnknownCompiler;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            #[cfg(feature = "compile")]
            "tiered" => Ok(Self::Tiered),
            #[cfg(feature = "compile")]
            "cranelift" => Ok(Self::Cranelift),
            #[cfg(feature = "compile")]
            "winch" => Ok(Self::Winch),
            "pulley" => Ok(Self::Pulley),
            other => Err(UnknownCompiler(other.to_owned())),
        }
    }
}

/// A name of no engine: none of `tiered`, `cranelift`, `winch` and `pulley`, or without the feature `compile` not `pulley`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no engine of this build; it has {ENGINES}.")]
pub struct UnknownCompiler(String);

#[cfg(feature = "compile")]
const ENGINES: &str = "`tiered`, `cranelift`, `winch` and `pulley`";
#[cfg(not(feature = "compile"))]
const ENGINES: &str = "`pulley`";

/// The engine of a host; for [`Compiler::Tiered`], that of its optimizing tier. Its instances come from a pool where
/// there is address space for one. Public so that a benchmark can run plain wasmtime with the same settings.
///
/// # Errors
/// If this machine is not one that the engine knows.
pub fn engine(compiler: Compiler, policy: &Policy) -> wasmtime::Result<Engine> {
    let mut config = config(compiler, policy)?;
    if let Some(pool) = pool::of(policy) {
        config.allocation_strategy(pool);
        match Engine::new(&config) {
            Ok(engine) => return Ok(engine),
            Err(error) => tracing::info!(%error, "no address space for a pool; instances start more slowly"),
        }
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    Engine::new(&config)
}

pub(crate) fn config(compiler: Compiler, policy: &Policy) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    match compiler {
        #[cfg(feature = "compile")]
        Compiler::Cranelift | Compiler::Tiered => config.strategy(Strategy::Cranelift),
        #[cfg(feature = "compile")]
        Compiler::Winch => in_one_pass(&mut config),
        Compiler::Pulley => config.target(PULLEY)?,
    };
    config
        .wasm_component_model(true)
        .epoch_interruption(true)
        .max_wasm_stack(policy.stack_bytes)
        .async_stack_size(policy.stack_bytes + HOST_STACK)
        // Off, as in package verification: most advisories of recent years sit in features like these. Others
        // (garbage collection, threads, component-model async) are not even compiled in.
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .module_version(ModuleVersionStrategy::Custom(VERSION.to_owned()))?;
    Ok(config)
}

/// Winch, and nothing made that starting does not need: its code is replaced by better code before long.
///
/// It leaves the stubs through which functions are entered to Cranelift, of which a JavaScript engine has thousands:
/// allocating their registers in one pass too takes a tenth off the whole.
/// Tables that map code back to the module are for those who look at it in a debugger or profiler: traps have their
/// own, and kills and stack walks need none.
#[cfg(feature = "compile")]
fn in_one_pass(config: &mut Config) -> &mut Config {
    config
        .strategy(Strategy::Winch)
        .cranelift_opt_level(OptLevel::None)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass)
        .generate_address_map(false);
    // Windows cannot do without.
    if !cfg!(windows) {
        config.native_unwind_info(false);
    }
    config
}

/// One compiler, and the code it has made.
#[derive(Debug)]
pub(crate) struct Tier {
    engine: Engine,
    native: NativeCache,
}

impl Tier {
    fn open(engine: Engine, data: &Data) -> Result<Self, HostError> {
        let native = NativeCache::open(data, &engine)?;
        Ok(Self { engine, native })
    }

    /// The code of the package with this digest, if it was compiled before and is intact.
    fn cached(&self, digest: &str) -> Option<Component> {
        self.native.cached(&self.engine, digest)
    }

    #[cfg(feature = "compile")]
    fn compile(&self, component: &[u8]) -> wasmtime::Result<Component> {
        Component::new(&self.engine, component)
    }

    /// Nobody asks for it: see [`COMPILES`].
    #[cfg(not(feature = "compile"))]
    fn compile(&self, _component: &[u8]) -> wasmtime::Result<Component> {
        Err(wasmtime::Error::msg("this build has no compiler"))
    }
}

/// Code, and whether there is none better to come.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) component: Component,
    pub(crate) best: bool,
}

/// The compilers of a host.
#[derive(Debug)]
pub(crate) struct Tiers {
    /// Compiles in one pass what has to start now.
    fast: Option<Tier>,
    best: Tier,
}

impl Tiers {
    pub(crate) fn open(compiler: Compiler, policy: &Policy, data: &Data) -> Result<Self, HostError> {
        let fast = match compiler {
            // There are processors that it has no code for; their apps start later.
            #[cfg(feature = "compile")]
            Compiler::Tiered => engine(Compiler::Winch, policy)
                .inspect_err(|error| tracing::warn!(%error, "apps that were never seen start slowly here"))
                .ok(),
            #[cfg(feature = "compile")]
            Compiler::Cranelift | Compiler::Winch => None,
            Compiler::Pulley => None,
        };
        let best = engine(compiler, policy).map_err(HostError::Engine)?;
        let fast = fast.map(|fast| Tier::open(fast, data)).transpose()?;
        Ok(Self { fast, best: Tier::open(best, data)? })
    }

    fn all(&self) -> impl Iterator<Item = &Tier> {
        self.fast.iter().chain([&self.best])
    }

    pub(crate) fn engines(&self) -> impl Iterator<Item = &Engine> {
        self.all().map(|tier| &tier.engine)
    }

    /// The best code that is here for the package with this digest.
    pub(crate) fn cached(&self, digest: &str) -> Option<Code> {
        self.cached_best(digest).map(|component| Code { component, best: true }).or_else(|| {
            let component = self.fast.as_ref()?.cached(digest)?;
            Some(Code { component, best: false })
        })
    }

    pub(crate) fn cached_best(&self, digest: &str) -> Option<Component> {
        self.best.cached(digest)
    }

    /// Code for somebody who waits, as soon as it can be had. Blocks for as long as a compile takes, on all cores.
    ///
    /// What the fast compiler cannot do (it knows vectors on few processors) is no fault of the app's.
    pub(crate) fn compile_now(&self, component: &[u8]) -> wasmtime::Result<Code> {
        on_threads(
            cores(),
            || {},
            || {
                if let Some(fast) = &self.fast {
                    match fast.compile(component) {
                        Ok(component) => return Ok(Code { component, best: false }),
                        Err(error) => tracing::debug!(%error, "an app is beyond the fast compiler"),
                    }
                }
                self.best.compile(component).map(|component| Code { component, best: true })
            },
        )
    }

    /// The best code, for later: on half of the cores, behind everything that somebody waits for.
    pub(crate) fn compile_best(&self, component: &[u8]) -> wasmtime::Result<Component> {
        on_threads(cores().div_ceil(2), lower_priority, || self.best.compile(component))
    }

    /// Announces that code for a package is being made, so that a removal meanwhile is not undone by keeping it.
    pub(crate) fn making(&self, digest: &str) -> Vec<Making<'_>> {
        self.all().map(|tier| tier.native.making(digest)).collect()
    }

    /// Waits until nothing is being made for a package, nor written to disk.
    pub(crate) async fn settled(&self, digest: &str) {
        self.best.native.settled(digest).await;
    }

    /// Writes code to disk for when the host starts again. The best makes the other superfluous.
    pub(crate) fn keep(&self, digest: &str, code: &Code) {
        match (&self.fast, code.best) {
            (Some(fast), false) => {
                fast.native.keep(digest, &code.component);
            }
            (fast, _) => {
                if self.best.native.keep(digest, &code.component) {
                    fast.iter().for_each(|fast| fast.native.remove(digest));
                }
            }
        }
    }

    /// Keeps code that was made elsewhere.
    pub(crate) fn adopt(&self, code: &Vouched<'_>) -> Result<(), CodeError> {
        self.best.native.adopt(&self.best.engine, code)?;
        self.fast.iter().for_each(|fast| fast.native.remove(&code.digest()));
        Ok(())
    }

    /// Whether a release can be started: with code that is here, or that is made now.
    pub(crate) fn can_run(&self, digest: &str) -> bool {
        COMPILES || self.best.native.has(digest)
    }

    /// Removes the code of a package that is no longer installed.
    pub(crate) fn forget(&self, digest: &str) {
        self.all().for_each(|tier| tier.native.forget(digest));
    }

    /// Whether a file in the cache is code for one of these compilers; else nobody will ever load it.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        self.all().any(|tier| tier.native.is_ours(name))
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Runs a compile on threads of its own: the process's may be busy with another one, and who waits for this one would
/// wait for that too.
fn on_threads<T: Send>(
    threads: usize,
    start: impl Fn() + Send + Sync + 'static,
    work: impl FnOnce() -> T + Send,
) -> T {
    let builder = rayon::ThreadPoolBuilder::new().num_threads(threads).start_handler(move |_| start());
    match builder.thread_name(|n| format!("miniapp-code-{n}")).build() {
        Ok(threads) => threads.install(work),
        Err(error) => {
            tracing::warn!(%error, "no threads of their own for a compile");
            work()
        }
    }
}

#[cfg(target_pointer_width = "64")]
const PULLEY: &str = "pulley64";
#[cfg(target_pointer_width = "32")]
const PULLEY: &str = "pulley32";

#[cfg(all(test, feature = "compile"))]
mod tests {
    use super::*;

    #[test]
    fn code_is_for_the_engine_that_is_built_in() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
        let (_, wasmtime) = lock.split_once("name = \"wasmtime\"\nversion = \"").unwrap();
        let version = wasmtime.split_once('"').unwrap().0;
        assert!(VERSION.ends_with(&format!("wasmtime {version}")), "{VERSION}, and {version} is built in");
    }

    /// An app with a vector in it, which a fast compiler does not know that knows no vectors.
    #[test]
    fn what_the_fast_compiler_cannot_do_the_other_does() {
        let folder = tempfile::tempdir().unwrap();
        let data = Data::open(folder.path()).unwrap();
        let mut tiers = Tiers::open(Compiler::Tiered, &Policy::default(), &data).unwrap();
        let vector = br#"(component (core module (func (drop (v128.const i64x2 1 2)))))"#;
        assert!(!tiers.compile_now(b"(component)").unwrap().best);
        let mut scalar = config(Compiler::Winch, &Policy::default()).unwrap();
        scalar.wasm_simd(false);
        tiers.fast = Some(Tier::open(Engine::new(&scalar).unwrap(), &data).unwrap());
        assert!(!tiers.compile_now(b"(component)").unwrap().best);
        assert!(tiers.compile_now(vector).unwrap().best);
        assert!(
            tiers.compile_now(b"(component (core module (func (drop))))").is_err(),
            "neither can do that"
        );
    }
}
