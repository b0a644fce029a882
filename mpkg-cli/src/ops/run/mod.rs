//! Running a package in a host of its own, with a simulated Super App around it.

mod cart;
pub(crate) mod failure;
mod lines;
mod local;
mod permissions;
mod simulated;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use miniapp_runtime::{Compiler, Host, Instance, Notification, Policy};
use mpkg_package::root::Trust;
use serde::Serialize;
use serde_json::Value;

pub(crate) use permissions::Choice;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::log;
use crate::output::Printer;
use crate::progress::Progress;
use crate::{rules, text};

/// Above this size of component the compiler that is fast at compiling is the better choice for one run.
const LARGE_COMPONENT: usize = 1 << 20;

/// What to run, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) file: PathBuf,
    pub(crate) trusts: Vec<Trust>,
    pub(crate) signature: Option<PathBuf>,
    pub(crate) choice: Choice,
    pub(crate) user: String,
    pub(crate) data: Option<PathBuf>,
    /// In bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) engine: Option<Compiler>,
    pub(crate) call: Option<Call>,
    pub(crate) events: bool,
}

/// One call instead of a session.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// JSON text.
    pub(crate) params: String,
}

/// The outcome of a call, and what the app did meanwhile.
#[derive(Debug, Serialize)]
pub(crate) struct Called {
    pub(crate) app_id: String,
    pub(crate) method: String,
    pub(crate) result: Value,
    pub(crate) events: Vec<Value>,
    pub(crate) logs: Vec<Value>,
    pub(crate) permissions: Vec<String>,
    pub(crate) times: Times,
    pub(crate) memory: Memory,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Times {
    pub(crate) verify_ms: f64,
    pub(crate) prepare_ms: f64,
    pub(crate) launch_ms: f64,
    pub(crate) call_ms: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) peak_bytes: u64,
    pub(crate) cap_bytes: u64,
}

/// Launches the app and either makes the one call, whose outcome is returned, or serves lines until they end.
pub(crate) fn run(plan: &Plan, printer: Printer) -> Outcome<Option<Called>> {
    // The host's own log.
    log::show(printer.is_verbose().then_some("info"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("no threads: {error}")))?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = launch(plan, printer) => outcome,
            () = interrupted_for_long() => Err(Failure::new(&rules::INTERRUPTED, Exit::Failed, "interrupted")),
        }
    });
    // A read of standard input cannot be called off, so it must not be waited for.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

/// Ctrl-C kills a running app, whose end is then told like any other. What does not end by that is left behind.
async fn interrupted_for_long() {
    let _ = tokio::signal::ctrl_c().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
}

async fn launch(plan: &Plan, printer: Printer) -> Outcome<Option<Called>> {
    let mut times = Times::default();
    let started = Instant::now();
    let package = local::package(plan, printer)?;
    times.verify_ms = since(started);

    let temporary;
    let folder = match &plan.data {
        Some(folder) => folder.as_path(),
        None => {
            temporary = tempfile::Builder::new()
                .prefix("mpkg-run-")
                .tempdir()
                .map_err(|error| Failure::write(&std::env::temp_dir(), &error))?;
            temporary.path()
        }
    };
    let host = build_host(plan, &package, folder, printer)?;
    let started = Instant::now();
    let progress = Progress::start(printer, "preparing the app");
    let installed =
        host.install(package.bytes).await.map_err(|error| failure::install(&plan.file, &error))?;
    host.prepare(&installed.app_id).await.map_err(|error| failure::launch(&error))?;
    drop(progress);
    times.prepare_ms = since(started);

    let started = Instant::now();
    let instance =
        host.launch(&installed.app_id, &plan.user).await.map_err(|error| failure::launch(&error))?;
    times.launch_ms = since(started);
    tokio::spawn({
        let instance = instance.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                instance.kill("Ctrl-C");
            }
        }
    });
    let outcome = match &plan.call {
        Some(call) => one_call(&instance, call, times, printer).await.map(Some),
        None => lines::serve(&instance, plan.events, printer).await.map(|()| None),
    };
    if instance.stop_reason().is_none() {
        instance.unload().await;
    }
    host.shutdown();
    outcome
}

fn build_host(
    plan: &Plan,
    package: &local::Package,
    folder: &std::path::Path,
    printer: Printer,
) -> Outcome<Host> {
    let mut policy = Policy::default();
    if let Some(bytes) = plan.memory {
        policy.limits.memory_bytes = bytes;
        policy.ceilings.memory_bytes = bytes;
        policy.memory_bytes = policy.memory_bytes.max(bytes.saturating_mul(2));
    }
    let automatic =
        if package.component_size > LARGE_COMPONENT { Compiler::Winch } else { Compiler::Cranelift };
    let mut builder = Host::builder(folder)
        .policy(policy)
        .compiler(plan.engine.unwrap_or(automatic))
        .permissions(permissions::Chooser::new(plan.choice.clone(), printer))
        .trust(package.trust)
        .profiles(|_| async { simulated::profile() });
    for bridge in simulated::bridges(printer) {
        builder = builder.bridge(bridge);
    }
    builder.build().map_err(|error| failure::host(&error))
}

async fn one_call(instance: &Instance, call: &Call, mut times: Times, printer: Printer) -> Outcome<Called> {
    let mut notifications = instance.notifications();
    let started = Instant::now();
    let outcome = instance.call_json(&call.method, &call.params).await;
    times.call_ms = since(started);
    let (mut events, mut logs) = (Vec::new(), Vec::new());
    while let Some(notification) = notifications.try_recv() {
        tell(&notification, printer);
        match &*notification {
            Notification::Event { .. } => events.push(json(&notification)),
            Notification::Log { .. } => logs.push(json(&notification)),
            _ => {}
        }
    }
    let answer = outcome.map_err(|error| failure::call(&call.method, error))?;
    let result = serde_json::from_str(&answer).map_err(|error| Failure::internal(error.to_string()))?;
    let metrics = instance.metrics();
    Ok(Called {
        app_id: instance.app_id().to_owned(),
        method: call.method.clone(),
        result,
        events,
        logs,
        permissions: instance.permissions(),
        times,
        memory: Memory { peak_bytes: metrics.memory_peak, cap_bytes: metrics.memory_cap },
    })
}

fn json(notification: &Arc<Notification>) -> Value {
    serde_json::to_value(&**notification).unwrap_or_default()
}

/// Shows people what the app told its host.
fn tell(notification: &Notification, printer: Printer) {
    match notification {
        Notification::Event { topic, data, .. } => printer.note("event", &format!("{topic} {}", data.get())),
        Notification::Log { level, message } => {
            let level = format!("{level:?}").to_lowercase();
            printer.note("log", &format!("{level}: {message}"));
        }
        Notification::Missed { count } => {
            printer
                .note("missed", &text::count(usize::try_from(*count).unwrap_or(usize::MAX), "notification"));
        }
        // Whoever waits for a call hears of it there.
        _ => {}
    }
}

fn since(started: Instant) -> f64 {
    (started.elapsed().as_secs_f64() * 1e6).round() / 1e3
}
