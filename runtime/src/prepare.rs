//! From an installed package to code that can be started: checked again, compiled or mapped, linked.
//!
//! Where the host compiles in two tiers, an app that was never seen is compiled by the fast compiler first; the
//! optimizing one follows in the background, for the next launch.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;

use mpkg_manifest::Manifest;
use mpkg_package::{container, digest};
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::Component;

use crate::app::{self, App};
use crate::data::Installed;
use crate::engine::Tiers;
use crate::error::LaunchError;
use crate::host::{AppCell, Host, Inner};
use crate::limits::Limits;
use crate::link::Registry;
use crate::metrics::Phase;
use crate::policy::{PAGE, Policy};

/// What every app exports, up to its minor version.
const APP_EXPORT: &str = "mpkg:bridge/app@1.";

impl Host {
    /// Compiles an installed app ahead of its first launch, with the optimizing compiler, unless that is done already.
    /// A host calls this after an install and when it starts, so that launches find everything in place.
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
        && let Some(held) = inner.data.held(app_id, next)?
    {
        return Ok(Arc::new(held));
    }
    here.current.as_ref().map(|current| current.installed.clone()).ok_or_else(not_installed)
}

/// Makes a release ready, with the best code there will be.
pub(crate) async fn prepare_fully(inner: &Arc<Inner>, installed: Arc<Installed>) -> Result<(), LaunchError> {
    let app = prepare(inner, installed).await?;
    if !app.optimized {
        optimize(Arc::downgrade(inner), app).await?;
    }
    Ok(())
}

/// A release, ready to be started; made once for each, however many ask.
pub(crate) async fn prepare(inner: &Arc<Inner>, installed: Arc<Installed>) -> Result<Arc<App>, LaunchError> {
    let cell: AppCell = {
        let mut apps = inner.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.entry(installed.digest.clone()).or_default().clone()
    };
    if let Some(app) = cell.get() {
        return Ok(app.clone());
    }
    // On a task of its own: a launch that is killed must not interrupt what others wait for, and a compile cannot be
    // interrupted anyway.
    let inner = inner.clone();
    let made = tokio::spawn(async move {
        let app = cell.get_or_try_init(|| make(&inner, installed)).await?.clone();
        if !app.optimized {
            let (inner, app) = (Arc::downgrade(&inner), app.clone());
            tokio::spawn(async move {
                let app_id = app.installed.app_id.clone();
                if let Err(error) = optimize(inner, app).await {
                    tracing::debug!(%error, app = app_id, "the app stays with its first code");
                }
            });
        }
        Ok(app)
    });
    made.await.unwrap_or(Err(LaunchError::Interrupted))
}

/// A package read back from disk, with what it takes to compile and link it.
struct Checked {
    installed: Arc<Installed>,
    manifest: Manifest,
    component: Vec<u8>,
}

async fn make(inner: &Arc<Inner>, installed: Arc<Installed>) -> Result<Arc<App>, LaunchError> {
    let started = Instant::now();
    let (checked, cached) = blocking(inner, move |inner| {
        let checked = check(&inner.data.package_path(&installed.digest), installed)?;
        app::check_provided(&checked.manifest, &inner.registry)?;
        let tiers = &inner.tiers;
        let digest = &checked.installed.digest;
        let cached = tiers.best.cached(digest).map(|code| (code, true));
        let fast = || tiers.fast.as_ref().and_then(|fast| fast.cached(digest)).map(|code| (code, false));
        let cached = cached.or_else(fast);
        Ok((checked, cached))
    })
    .await?;
    inner.living.metrics.phase(Phase::Load, started.elapsed());
    let (code, optimized, checked) = match cached {
        Some((code, optimized)) => (code, optimized, checked),
        None => {
            let slot = inner.compile_slot().await?;
            let started = Instant::now();
            let (code, checked) = compiling(inner.tiers.clone(), Which::First, checked, slot).await?;
            let compiled = (code, inner.tiers.fast.is_none(), checked);
            inner.living.metrics.compiles.fetch_add(1, Ordering::Relaxed);
            inner.living.metrics.phase(Phase::Compile, started.elapsed());
            compiled
        }
    };
    let parts = inner.parts();
    on_a_thread(move || link(&parts, checked, &code, optimized).map(Arc::new)).await
}

/// Compiles an app that runs on its first code with the optimizing compiler, and puts the result in its place. A host
/// that is gone by then is not held up: only the compile itself runs to its end.
async fn optimize(host: Weak<Inner>, app: Arc<App>) -> Result<(), LaunchError> {
    let gone = || LaunchError::Interrupted;
    let (slots, tiers, parts, path) = {
        let inner = host.upgrade().ok_or_else(gone)?;
        let path = inner.data.package_path(&app.installed.digest);
        (inner.compiles.clone(), inner.tiers.clone(), inner.parts(), path)
    };
    let slot = slots.acquire_owned().await.map_err(|_| gone())?;
    let installed = app.installed.clone();
    let (checked, cached, tiers) = on_a_thread(move || {
        let checked = check(&path, installed)?;
        let cached = tiers.best.cached(&checked.installed.digest);
        Ok((checked, cached, tiers))
    })
    .await?;
    let compiled = cached.is_none();
    let (code, checked) = match cached {
        Some(code) => (code, checked),
        None => compiling(tiers, Which::Best, checked, slot).await?,
    };
    let better = on_a_thread(move || link(&parts, checked, &code, true)).await?;
    let inner = host.upgrade().ok_or_else(gone)?;
    inner.living.metrics.compiles.fetch_add(u64::from(compiled), Ordering::Relaxed);
    better.footprint.store(app.footprint.load(Ordering::Relaxed), Ordering::Relaxed);
    let mut apps = inner.apps.lock().unwrap_or_else(PoisonError::into_inner);
    // Unless it was uninstalled meanwhile.
    if let Some(cell) = apps.get_mut(&app.installed.digest) {
        *cell = Arc::new(tokio::sync::OnceCell::new_with(Some(Arc::new(better))));
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    inner: &Arc<Inner>,
    work: impl FnOnce(&Inner) -> Result<T, LaunchError> + Send + 'static,
) -> Result<T, LaunchError> {
    let inner = inner.clone();
    on_a_thread(move || work(&inner)).await
}

async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LaunchError> + Send + 'static,
) -> Result<T, LaunchError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(LaunchError::Interrupted))
}

/// Which compiler.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The one for what has to start now.
    First,
    Best,
}

/// Compiles and keeps the code, in a slot that is charged until both have ended, whoever still waits for it.
///
/// On a thread of its own: a compile takes seconds, and a Tokio runtime that is shut down waits for its blocking
/// threads.
async fn compiling(
    tiers: Arc<Tiers>,
    which: Which,
    checked: Checked,
    slot: OwnedSemaphorePermit,
) -> Result<(Component, Checked), LaunchError> {
    let (done, result) = tokio::sync::oneshot::channel();
    let compile = move || {
        let (tier, waited_for) = match (which, &tiers.fast) {
            (Which::First, Some(fast)) => (fast, true),
            (Which::First, None) | (Which::Best, _) => (&tiers.best, false),
        };
        let app_id = checked.installed.app_id.clone();
        let digest = checked.installed.digest.clone();
        let code = tier.compile(&checked.component).map_err(|error| unusable(&app_id, &error));
        let kept = code.as_ref().ok().cloned();
        let keep = || kept.iter().for_each(|code| tier.keep(&digest, code));
        // Who has to start now does not wait for the disk.
        if !waited_for {
            keep();
        }
        // It fails if nobody waits any more.
        let _ = done.send(code.map(|code| (code, checked)));
        if waited_for {
            keep();
        }
        drop(slot);
    };
    let thread = std::thread::Builder::new().name("miniapp-compile".into()).spawn(compile);
    thread.map_err(|_| LaunchError::Interrupted)?;
    result.await.unwrap_or(Err(LaunchError::Interrupted))
}

/// What linking needs of a host, without holding on to its data folder.
struct Parts {
    registry: Arc<Registry>,
    policy: Arc<Policy>,
}

impl Inner {
    fn parts(&self) -> Parts {
        Parts { registry: self.registry.clone(), policy: self.policy.clone() }
    }

    async fn compile_slot(&self) -> Result<OwnedSemaphorePermit, LaunchError> {
        self.compiles.clone().acquire_owned().await.map_err(|_| LaunchError::Interrupted)
    }
}

fn check(path: &Path, installed: Arc<Installed>) -> Result<Checked, LaunchError> {
    let app_id = &installed.app_id;
    let damaged = |reason: String| LaunchError::Damaged { app_id: app_id.clone(), reason };
    let package = std::fs::read(path).map_err(|e| damaged(e.to_string()))?;
    if digest::identity(&package).sha256.to_string() != installed.digest {
        // It will never run. Without it an agent knows that it has to be fetched again.
        if let Err(error) = std::fs::remove_file(path) {
            tracing::warn!(%error, path = %path.display(), "a damaged package stays on disk");
        }
        return Err(damaged("its digest is another".into()));
    }
    let container = container::read(&package).map_err(|e| damaged(e.to_string()))?;
    let manifest: Manifest =
        serde_json::from_slice(container.manifest()).map_err(|e| damaged(e.to_string()))?;
    let component = container.get(manifest.mpkg.component.as_str());
    let component = component.ok_or_else(|| damaged("its component is missing".into()))?.data.to_vec();
    Ok(Checked { installed, manifest, component })
}

fn unusable(app_id: &str, error: &wasmtime::Error) -> LaunchError {
    LaunchError::Unusable { app_id: app_id.to_owned(), reason: format!("{error:#}") }
}

fn link(parts: &Parts, checked: Checked, code: &Component, optimized: bool) -> Result<App, LaunchError> {
    let Checked { installed, manifest, .. } = checked;
    let failed = |error: wasmtime::Error| unusable(&installed.app_id, &error);
    let declared = app::declared(&manifest);
    let limits = Limits::of(&manifest, &parts.policy)?;
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
        storage_quota: manifest.mpkg.storage.quota_bytes,
        pre,
        handle,
        optimized,
        declared_memory,
        footprint: AtomicU64::new(0),
        launches: AtomicU64::new(0),
    })
}
