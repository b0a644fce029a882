//! From an installed app to a running instance.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use mpkg_manifest::Manifest;
use mpkg_package::{container, digest};
use serde_json::json;
use wasmtime::AsContextMut;

use crate::app::{self, App};
use crate::bridge::LogLimiter;
use crate::broker::{self, Permissions};
use crate::budget::Ledger;
use crate::data::{Installed, Namespace};
use crate::error::{CallError, LaunchError};
use crate::guest;
use crate::host::{AppCell, Host, Inner};
use crate::instance::{CallLimits, Instance, Running};
use crate::metrics::Metrics;
use crate::notify::Outbox;
use crate::session::{Identity, Session};
use crate::stop::StopReason;
use crate::supervisor::{Ended, KillSwitch, Meter, supervise};
use crate::trap;

/// What every app exports, up to its minor version.
const APP_EXPORT: &str = "mpkg:bridge/app@1.";
/// The longest user id, in bytes.
const USER: usize = 128;

impl Host {
    /// Compiles an installed app ahead of its first launch, unless that is done already.
    ///
    /// # Errors
    /// [`LaunchError`], as for [`Host::launch`].
    pub async fn prepare(&self, app_id: &str) -> Result<(), LaunchError> {
        prepare(&self.inner, app_id).await.map(drop)
    }

    /// Starts an installed app for a user. Required permissions that nothing is recorded about are asked for first;
    /// the app is told `lifecycle.launched` before this returns.
    ///
    /// # Errors
    /// [`LaunchError`]. Nothing is left running then.
    pub async fn launch(&self, app_id: &str, user: &str) -> Result<Instance, LaunchError> {
        if user.is_empty() || user.len() > USER {
            return Err(LaunchError::BadUser { bytes: user.len() });
        }
        let inner = &self.inner;
        let limit = inner.policy.instances;
        if inner.live_count() >= limit {
            return Err(LaunchError::Full { limit });
        }
        let app = prepare(inner, app_id).await?;
        let session = session(inner, &app, user)?;
        broker::ask_required(&session).await.map_err(|(permission, denial)| {
            LaunchError::PermissionDenied { app_id: app_id.to_owned(), permission, denial }
        })?;
        let limits = CallLimits {
            cpu: inner.policy.cpu_per_call,
            wall: inner.policy.wall_per_call,
            in_flight: inner.policy.calls_in_flight,
        };
        let running = instantiate(inner, &app, &session, limits).await?;
        let instance = Instance::new(session, running, limits, inner.runtime.clone());
        inner.enlist(&instance);
        // The host's own id of a user is nobody's business.
        let pseudonym = &instance.shared.session.local.pseudonym;
        match instance.notify("lifecycle.launched", &json!({ "user": pseudonym, "reason": "launch" })).await {
            Err(CallError::Stopped { app_id, reason }) => {
                return Err(LaunchError::Stopped { app_id, reason });
            }
            // An app that fails to handle the event has been told so in its own log; it is running all the same.
            Ok(()) | Err(_) => {}
        }
        inner.local.start(&instance, &inner.runtime);
        Ok(instance)
    }
}

/// The app's present version, compiled and linked; one at a time for each version.
async fn prepare(inner: &Arc<Inner>, app_id: &str) -> Result<Arc<App>, LaunchError> {
    let installed = inner.data.installed(app_id)?;
    let installed = installed.ok_or_else(|| LaunchError::NotInstalled { app_id: app_id.to_owned() })?;
    let cell: AppCell = {
        let mut apps = inner.apps.lock().unwrap_or_else(PoisonError::into_inner);
        apps.entry(installed.digest.clone()).or_default().clone()
    };
    let app = cell
        .get_or_try_init(|| async {
            let inner = inner.clone();
            tokio::task::spawn_blocking(move || load(&inner, installed).map(Arc::new))
                .await
                .unwrap_or(Err(LaunchError::Interrupted))
        })
        .await?;
    Ok(app.clone())
}

fn load(inner: &Inner, installed: Installed) -> Result<App, LaunchError> {
    let app_id = installed.app_id.clone();
    let damaged = |reason: String| LaunchError::Damaged { app_id: app_id.clone(), reason };
    let path = inner.data.package_path(&installed.digest);
    let package = std::fs::read(&path).map_err(|e| damaged(e.to_string()))?;
    if digest::identity(&package).sha256.to_string() != installed.digest {
        return Err(damaged("its digest is another".into()));
    }
    let container = container::read(&package).map_err(|e| damaged(e.to_string()))?;
    let manifest: Manifest =
        serde_json::from_slice(container.manifest()).map_err(|e| damaged(e.to_string()))?;
    let component = container.get(manifest.mpkg.component.as_str());
    let component = component.ok_or_else(|| damaged("its component is missing".into()))?.data;

    let declared = app::declared(&manifest);
    app::check_provided(&app_id, &declared, &inner.registry)?;
    let (memory_cap, storage_quota) = app::limits(&manifest, &inner.policy)?;
    let unusable =
        |e: wasmtime::Error| LaunchError::Unusable { app_id: app_id.clone(), reason: format!("{e:#}") };
    let (code, _origin) = inner.native.load(&inner.engine, &installed.digest, component).map_err(unusable)?;
    let kind = code.component_type();
    let wasi = kind.imports(&inner.engine).any(|(name, _)| name.starts_with("wasi:"));
    let linker = inner.registry.linker(&inner.engine, &declared, wasi).map_err(unusable)?;
    let pre = linker.instantiate_pre(&code).map_err(unusable)?;
    let app_export =
        kind.exports(&inner.engine).map(|(name, _)| name).find(|name| name.starts_with(APP_EXPORT));
    let handle = app_export
        .and_then(|name| code.get_export_index(None, name))
        .and_then(|app| code.get_export_index(Some(&app), "handle"))
        .ok_or_else(|| LaunchError::Unusable {
            app_id: app_id.clone(),
            reason: "it exports no `handle`".into(),
        })?;
    Ok(App { name: manifest.name.to_string(), installed, declared, memory_cap, storage_quota, pre, handle })
}

fn session(inner: &Inner, app: &App, user: &str) -> Result<Arc<Session>, LaunchError> {
    let of = Namespace { user: user.to_owned(), owner: app.installed.owner() };
    let permissions = Permissions::load(app.declared.clone(), &of, &inner.data, &inner.policy)?;
    let id = inner.next_instance.fetch_add(1, Ordering::Relaxed);
    let switch = KillSwitch::new(inner.engine.clone(), inner.ticker.clone());
    let local = inner.local.join(of, app, id, switch.clone());
    Ok(Arc::new(Session {
        id,
        identity: Identity {
            app_id: app.installed.app_id.clone(),
            app_name: app.name.clone(),
            publisher: app.installed.publisher.clone(),
            version: app.installed.version.clone(),
            user: user.to_owned(),
        },
        permissions,
        provider: inner.provider.clone(),
        data: inner.data.clone(),
        storage_quota: app.storage_quota,
        message_bytes: inner.policy.message_bytes,
        ledger: Ledger::new(app.memory_cap),
        meter: Meter::new(),
        switch,
        notifications: Outbox::new(inner.policy.notification_queue),
        local,
        log_limiter: LogLimiter::new(inner.policy.log_lines_per_second),
        metrics: Metrics::new(inner.methods.clone()),
        launched: Instant::now(),
    }))
}

/// Runs the component's start-up code under the same supervision as any call.
async fn instantiate(
    inner: &Inner,
    app: &App,
    session: &Arc<Session>,
    limits: CallLimits,
) -> Result<Running, LaunchError> {
    const START: &str = "start";
    let mut store = guest::store(&inner.engine, session.clone());
    session.meter.start_call(limits.cpu);
    let starting = app.pre.instantiate_async(&mut store);
    let reason = match supervise(starting, &session.switch, &session.meter, limits.wall).await {
        Ended::Finished(Ok(instance)) => {
            let handle = instance
                .get_func(store.as_context_mut(), app.handle)
                .ok_or_else(|| wasmtime::Error::msg("`handle` is no function"))
                .and_then(|handle| handle.typed(&store));
            match handle {
                Ok(handle) => return Ok(Running { store, handle }),
                Err(error) => {
                    let (app_id, reason) = (app.installed.app_id.clone(), format!("{error:#}"));
                    return Err(LaunchError::Unusable { app_id, reason });
                }
            }
        }
        Ended::Finished(Err(error)) => trap::reason(&error, session, START, limits),
        Ended::Killed => session.switch.reason().cloned().unwrap_or(StopReason::Unloaded),
        Ended::WallBudget => StopReason::Wall { method: START.into(), limit: limits.wall },
    };
    Err(LaunchError::Stopped { app_id: app.installed.app_id.clone(), reason })
}
