//! From an installed package to code that can be started: mapped or compiled, linked.
//!
//! Where the host compiles in two tiers, an app that was never seen is compiled by the fast compiler first; the
//! optimizing one follows in the background, for the next launch. What is sealed in the cache is bound to the package's
//! digest, so the package itself is read again only to be compiled.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use mpkg_manifest::Manifest;
use mpkg_package::{container, digest};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::app::{self, App};
use crate::data::Installed;
use crate::engine::{COMPILES, Code, Tiers};
use crate::error::LaunchError;
use crate::host::{Host, Inner};
use crate::limits::Limits;
use crate::link::Registry;
use crate::metrics::Phase;
use crate::policy::{PAGE, Policy};

/// What every app exports, up to its minor version.
const APP_EXPORT: &str = "mpkg:bridge/app@1.";

/// A release, being prepared or ready.
#[derive(Default)]
pub(crate) struct Prepared {
    first: OnceCell<Arc<App>>,
    /// With the best code there will be.
    best: OnceCell<Arc<App>>,
}

impl Prepared {
    fn app(&self) -> Option<&Arc<App>> {
        self.best.get().or_else(|| self.first.get())
    }

    fn ready(app: Arc<App>) -> Self {
        Self { first: OnceCell::new_with(Some(app.clone())), best: OnceCell::new_with(Some(app)) }
    }
}

/// Who may compile. What somebody waits for never waits for what is made for later.
pub(crate) struct Compiles {
    most: usize,
    now: Arc<Semaphore>,
    later: Arc<Semaphore>,
}

impl Compiles {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, now: Arc::new(Semaphore::new(most)), later: Arc::new(Semaphore::new(1)) }
    }

    /// How many run.
    pub(crate) fn running(&self) -> usize {
        let now = self.most.saturating_sub(self.now.available_permits());
        now + 1_usize.saturating_sub(self.later.available_permits())
    }
}

impl Host {
    /// Compiles an installed app ahead of its first launch, with the optimizing compiler, unless that is done already.
    /// A host calls this after an install and when it starts, so that launches find everything in place.
    ///
    /// ```
    /// # async fn example(host: miniapp_runtime::Host) -> Result<(), Box<dyn std::error::Error>> {
    /// for app in host.installed()? {
    ///     host.prepare(&app.app_id).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`LaunchError`], as for [`Host::launch`].
    pub async fn prepare(&self, app_id: &str) -> Result<(), LaunchError> {
        prepare_fully(&self.inner, ahead(&self.inner, app_id)?).await
    }
}

/// The release of an app that its next launch is likely to run.
pub(crate) fn ahead(inner: &Inner, app_id: &str) -> Result<Arc<Installed>, LaunchError> {
    let not_installed = || LaunchError::NotInstalled { app_id: app_id.to_owned() };
    let here = inner.data.on_hand(app_id)?.ok_or_else(not_installed)?;
    if let Some(next) = &here.next
        && inner.tiers.can_run(next)
        && let Some(held) = inner.data.held(app_id, next)?
    {
        return Ok(Arc::new(held));
    }
    here.current.as_ref().map(|current| current.installed.clone()).ok_or_else(not_installed)
}

/// Makes a release ready, with the best code there will be.
pub(crate) async fn prepare_fully(inner: &Arc<Inner>, installed: Arc<Installed>) -> Result<(), LaunchError> {
    let prepared = inner.prepared(&installed.digest);
    let app = prepare(inner, installed).await?;
    if app.optimized {
        // A launch does not wait for the disk. Who prepares wants it to be there when the host starts again.
        inner.tiers.settled(&app.installed.digest).await;
        return Ok(());
    }
    let better = inner.runtime.spawn(optimize(Arc::downgrade(inner), prepared, app));
    better.await.unwrap_or(Err(LaunchError::Interrupted))
}

/// A release, ready to be started; made once for each, however many ask.
pub(crate) async fn prepare(inner: &Arc<Inner>, installed: Arc<Installed>) -> Result<Arc<App>, LaunchError> {
    let prepared = inner.prepared(&installed.digest);
    if let Some(app) = prepared.app() {
        return Ok(app.clone());
    }
    // On a task of its own: a launch that is killed must not interrupt what others wait for, and a compile cannot be
    // interrupted anyway.
    let host = inner.clone();
    let made = inner.runtime.spawn(async move {
        let app = prepared.first.get_or_try_init(|| make(&host, installed)).await?.clone();
        if !app.optimized {
            let (runtime, host, app) = (host.runtime.clone(), Arc::downgrade(&host), app.clone());
            runtime.spawn(async move {
                let app_id = app.installed.app_id.clone();
                if let Err(error) = optimize(host, prepared, app).await {
                    tracing::debug!(%error, app = app_id, "the app stays with its first code");
                }
            });
        }
        Ok(app)
    });
    made.await.unwrap_or(Err(LaunchError::Interrupted))
}

async fn make(inner: &Arc<Inner>, installed: Arc<Installed>) -> Result<Arc<App>, LaunchError> {
    let metrics = &inner.living.metrics;
    let started = Instant::now();
    let (host, of) = (inner.clone(), installed.clone());
    let (manifest, cached) = on_a_thread(&inner.runtime, move || {
        let manifest = manifest(&of)?;
        app::check_provided(&manifest, &host.registry)?;
        Ok((manifest, host.tiers.cached(&of.digest)))
    })
    .await?;
    metrics.phase(Phase::Load, started.elapsed());
    let code = match cached {
        Some(code) => code,
        None if !COMPILES => return Err(LaunchError::NoCode { app_id: installed.app_id.clone() }),
        None => {
            let started = Instant::now();
            let slot = inner.compiles.now.clone().acquire_owned().await;
            let slot = slot.map_err(|_| LaunchError::Interrupted)?;
            metrics.phase(Phase::Wait, started.elapsed());
            let started = Instant::now();
            let code = compiling(inner.compile(&installed), When::Now, slot).await?;
            metrics.compiles.fetch_add(1, Ordering::Relaxed);
            metrics.phase(Phase::Compile, started.elapsed());
            code
        }
    };
    let parts = inner.parts();
    on_a_thread(&inner.runtime, move || link(&parts, installed, &manifest, &code).map(Arc::new)).await
}

/// Compiles an app that runs on its first code with the optimizing compiler, once however many ask, and puts the result
/// in its place. A host that is gone by then is not held up: only the compile itself runs to its end.
async fn optimize(host: Weak<Inner>, prepared: Arc<Prepared>, first: Arc<App>) -> Result<(), LaunchError> {
    prepared.best.get_or_try_init(|| better(&host, &prepared, &first)).await.map(drop)
}

async fn better(host: &Weak<Inner>, prepared: &Arc<Prepared>, first: &App) -> Result<Arc<App>, LaunchError> {
    let gone = || LaunchError::Interrupted;
    let installed = first.installed.clone();
    let (slots, compile, parts, runtime) = {
        let inner = host.upgrade().ok_or_else(gone)?;
        (inner.compiles.later.clone(), inner.compile(&installed), inner.parts(), inner.runtime.clone())
    };
    let slot = slots.acquire_owned().await.map_err(|_| gone())?;
    if host.strong_count() == 0 {
        return Err(gone());
    }
    let (tiers, digest) = (compile.tiers.clone(), installed.digest.clone());
    // The first code is written before the best makes it superfluous, not after.
    tiers.settled(&digest).await;
    let cached = on_a_thread(&runtime, move || Ok(tiers.cached_best(&digest))).await?;
    let compiled = cached.is_none();
    let code = match cached {
        Some(component) => Code { component, best: true },
        None => compiling(compile, When::Later, slot).await?,
    };
    let linked = on_a_thread(&runtime, move || {
        let manifest = manifest(&installed)?;
        link(&parts, installed, &manifest, &code)
    });
    let better = Arc::new(linked.await?);
    let inner = host.upgrade().ok_or_else(gone)?;
    inner.living.metrics.compiles.fetch_add(u64::from(compiled), Ordering::Relaxed);
    better.footprint.store(first.footprint.load(Ordering::Relaxed), Ordering::Relaxed);
    better.declared_memory.store(first.declared_memory.load(Ordering::Relaxed), Ordering::Relaxed);
    let mut apps = inner.apps.lock().unwrap_or_else(PoisonError::into_inner);
    // Unless it was uninstalled meanwhile. The first code goes with the last instance that runs on it.
    if let Some(here) = apps.get_mut(&first.installed.digest).filter(|here| Arc::ptr_eq(here, prepared)) {
        *here = Arc::new(Prepared::ready(better.clone()));
    }
    Ok(better)
}

async fn on_a_thread<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T, LaunchError> + Send + 'static,
) -> Result<T, LaunchError> {
    runtime.spawn_blocking(work).await.unwrap_or(Err(LaunchError::Interrupted))
}

/// For whom code is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// For a launch that waits.
    Now,
    Later,
}

/// A compile, without holding on to the host's data folder.
struct Compile {
    tiers: Arc<Tiers>,
    most: usize,
    path: PathBuf,
    installed: Arc<Installed>,
}

impl Compile {
    fn run(&self, when: When) -> Result<Code, LaunchError> {
        let package = read(&self.path, &self.installed)?;
        let component = component(&package, &self.installed)?;
        if component.len() > self.most {
            return Err(LaunchError::OverPolicy {
                app_id: self.installed.app_id.clone(),
                what: "bytes to compile".into(),
                asked: component.len() as u64,
                allowed: self.most as u64,
            });
        }
        let code = match when {
            When::Now => self.tiers.compile_now(component),
            When::Later => self.tiers.compile_best(component).map(|component| Code { component, best: true }),
        };
        code.map_err(|error| unusable(&self.installed.app_id, &error))
    }
}

/// Compiles and keeps the code, in a slot that is charged until both have ended, whoever still waits for it.
///
/// On a thread of its own: a compile takes seconds, and a Tokio runtime that is shut down waits for its blocking
/// threads.
async fn compiling(compile: Compile, when: When, slot: OwnedSemaphorePermit) -> Result<Code, LaunchError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let work = move || {
        let digest = &compile.installed.digest;
        let _making = compile.tiers.making(digest);
        match compile.run(when) {
            Ok(code) => {
                let keep = || compile.tiers.keep(digest, &code);
                // Who has to start now does not wait for the disk.
                if when == When::Later {
                    keep();
                }
                // It fails if nobody waits any more.
                let _ = done.send(Ok(code.clone()));
                if when == When::Now {
                    keep();
                }
            }
            Err(error) => drop(done.send(Err(error))),
        }
        drop(slot);
    };
    let thread = std::thread::Builder::new().name("miniapp-compile".into()).spawn(work);
    thread.map_err(|_| LaunchError::Interrupted)?;
    result.await.unwrap_or(Err(LaunchError::Interrupted))
}

/// What linking needs of a host, without holding on to its data folder.
struct Parts {
    registry: Arc<Registry>,
    policy: Arc<Policy>,
}

impl Inner {
    fn prepared(&self, digest: &str) -> Arc<Prepared> {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.entry(digest.to_owned()).or_default().clone()
    }

    fn parts(&self) -> Parts {
        Parts { registry: self.registry.clone(), policy: self.policy.clone() }
    }

    fn compile(&self, installed: &Arc<Installed>) -> Compile {
        let path = self.data.package_path(&installed.digest);
        let most = self.policy.component_bytes;
        Compile { tiers: self.tiers.clone(), most, path, installed: installed.clone() }
    }
}

fn damaged(app: &Installed, reason: String) -> LaunchError {
    LaunchError::Damaged { app_id: app.app_id.clone(), reason }
}

fn manifest(app: &Installed) -> Result<Manifest, LaunchError> {
    serde_json::from_str(&app.manifest).map_err(|error| damaged(app, error.to_string()))
}

/// The package as it was installed, byte for byte.
fn read(path: &Path, app: &Installed) -> Result<Vec<u8>, LaunchError> {
    let package = std::fs::read(path).map_err(|error| damaged(app, error.to_string()))?;
    if digest::identity(&package).sha256.to_string() != app.digest {
        // It will never run. Without it an agent knows that it has to be fetched again.
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "a damaged package stays on disk");
        }
        return Err(damaged(app, "its digest is another".into()));
    }
    Ok(package)
}

fn component<'p>(package: &'p [u8], app: &Installed) -> Result<&'p [u8], LaunchError> {
    let container = container::read(package).map_err(|error| damaged(app, error.to_string()))?;
    let manifest = manifest(app)?;
    let component = container.get(manifest.mpkg.component.as_str());
    component.map(|file| file.data).ok_or_else(|| damaged(app, "its component is missing".into()))
}

fn unusable(app_id: &str, error: &wasmtime::Error) -> LaunchError {
    LaunchError::Unusable { app_id: app_id.to_owned(), reason: format!("{error:#}") }
}

fn link(
    parts: &Parts,
    installed: Arc<Installed>,
    manifest: &Manifest,
    code: &Code,
) -> Result<App, LaunchError> {
    let Code { component: code, best: optimized } = code;
    let failed = |error: wasmtime::Error| unusable(&installed.app_id, &error);
    let declared = app::declared(manifest);
    let limits = Limits::of(manifest, &parts.policy)?;
    let rates = parts.registry.rates(manifest, &parts.policy)?;
    let engine = code.engine();
    let kind = code.component_type();
    let wasi = kind.imports(engine).any(|(name, _)| name.starts_with("wasi:"));
    let endpoints = Arc::new(parts.registry.endpoints(&declared));
    let linker = endpoints.linker(engine, &declared, wasi).map_err(failed)?;
    let pre = linker.instantiate_pre(code).map_err(failed)?;
    let app_export = kind.exports(engine).map(|(name, _)| name).find(|name| name.starts_with(APP_EXPORT));
    let handle = app_export
        .and_then(|name| code.get_export_index(None, name))
        .and_then(|app| code.get_export_index(Some(&app), "handle"))
        .ok_or_else(|| LaunchError::Unusable {
            app_id: installed.app_id.clone(),
            reason: "it exports no `handle`".into(),
        })?;
    let declared_memory = code.resources_required().map_or(limits.memory_bytes, |needed| {
        let pages = needed.max_initial_memory_size.unwrap_or(0).saturating_mul(needed.num_memories.into());
        pages.saturating_mul(PAGE).min(limits.memory_bytes)
    });
    Ok(App {
        name: manifest.name.to_string(),
        installed,
        declared,
        endpoints,
        limits,
        rates,
        storage_quota: manifest.mpkg.storage.quota_bytes,
        pre,
        handle,
        optimized: *optimized,
        declared_memory: AtomicU64::new(declared_memory),
        footprint: AtomicU64::new(0),
        launches: AtomicU64::new(0),
    })
}
