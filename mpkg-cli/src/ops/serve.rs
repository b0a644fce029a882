//! Running a registry: its settings, its start, and an end that loses nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpkg_fleet::{ApprovalPolicy, FleetPolicy};
use mpkg_manifest::json;
use mpkg_registry::{BackupError, Config, OpenError, Registry};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::error::{Failure, Outcome, reason, shell};
use crate::exit::Exit;
use crate::ops::files;
use crate::ops::files::Secrecy;
use crate::output::Printer;
use crate::rules;

/// Where a registry lies that nobody named a folder for.
pub(crate) const FOLDER: &str = "mpkg-registry";
const FILE_BYTES: usize = 256 << 10;

/// A file of settings. What it does not have is as without it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    review: Option<bool>,
    approvals: Option<ApprovalPolicy>,
    policy: Option<FleetPolicy>,
    sign_every_s: Option<u64>,
    state_lifetime_s: Option<u64>,
    gates_every_s: Option<u64>,
    heartbeat_every_s: Option<u64>,
    deltas: Option<u32>,
    requests_per_second: Option<u32>,
    connections: Option<usize>,
    idle_s: Option<u64>,
    drain_s: Option<u64>,
}

/// What flags and environment say.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) data: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) review: Option<bool>,
    pub(crate) approvals: Vec<String>,
}

/// Flags and environment, then the file, then the defaults.
pub(crate) fn config(given: Given) -> Outcome<Config> {
    let file = match &given.config {
        Some(path) => read(path)?,
        None => File::default(),
    };
    let mut config = Config::new(given.data.or(file.data).unwrap_or_else(|| FOLDER.into()));
    fn set<T>(place: &mut T, value: Option<T>) {
        if let Some(value) = value {
            *place = value;
        }
    }
    set(&mut config.listen, given.listen.or(file.listen));
    set(&mut config.review, given.review.or(file.review));
    set(&mut config.approvals, file.approvals);
    set(&mut config.policy, file.policy);
    set(&mut config.deltas, file.deltas);
    set(&mut config.requests_per_second, file.requests_per_second);
    set(&mut config.connections, file.connections);
    for (place, name, seconds) in [
        (&mut config.sign_every, "sign_every_s", file.sign_every_s),
        (&mut config.state_lifetime, "state_lifetime_s", file.state_lifetime_s),
        (&mut config.gates_every, "gates_every_s", file.gates_every_s),
        (&mut config.heartbeat_every, "heartbeat_every_s", file.heartbeat_every_s),
        (&mut config.idle, "idle_s", file.idle_s),
        (&mut config.drain, "drain_s", file.drain_s),
    ] {
        if seconds == Some(0) {
            return Err(unusable(format!("{name} is 0"), "It is a number of seconds, from 1."));
        }
        set(place, seconds.map(Duration::from_secs));
    }
    for text in &given.approvals {
        approval(&mut config.approvals, text)?;
    }
    Ok(config)
}

fn unusable(message: String, hint: &str) -> Failure {
    Failure::new(&rules::SETTINGS, Exit::Usage, message).hint(hint)
}

fn read(path: &Path) -> Outcome<File> {
    let bytes = files::read(path, FILE_BYTES as u64)?;
    json::read(&bytes, json::Limits::bytes(FILE_BYTES)).map_err(|error| {
        let message = format!("the settings in {} cannot be used: {error}", path.display());
        unusable(message, "`mpkg registry serve --help` lists the settings.")
    })
}

/// `start=2`.
fn approval(policy: &mut ApprovalPolicy, text: &str) -> Outcome {
    let wrong = || {
        let message = format!("--approvals has `{text}`");
        unusable(
            message,
            "Expected VERB=N with start, advance, resume, complete, supersede or lift, such as start=2.",
        )
    };
    let (verb, number) = text.split_once('=').ok_or_else(wrong)?;
    let place = match verb {
        "start" => &mut policy.start,
        "advance" => &mut policy.advance,
        "resume" => &mut policy.resume,
        "complete" => &mut policy.complete,
        "supersede" => &mut policy.supersede,
        "lift" => &mut policy.lift,
        _ => return Err(wrong()),
    };
    *place = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    Ok(())
}

/// A registry that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) folder: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The id that hosts pin.
    pub(crate) id: String,
    /// The first admin's token, at the first start, unless it was written into a file.
    pub(crate) first_token: Option<String>,
    /// The file that it was written into.
    pub(crate) token_file: Option<PathBuf>,
}

/// Serves until Ctrl-C or SIGTERM. `started` is called once, when requests are answered.
pub(crate) fn serve(
    config: Config,
    token_out: Option<&Path>,
    printer: Printer,
    started: impl FnOnce(Started) -> Outcome,
) -> Outcome {
    let (folder, listen) = (config.folder.clone(), config.listen);
    // A first token that was made and then not shown would lock everybody out, so what can fail is tried before.
    if let Some(path) = token_out
        && !folder.join("registry.db").exists()
    {
        files::check_target(path)?;
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(files::exists(path).hint("Choose another file for --token-out."));
        }
    }
    drop(TcpListener::bind(listen).map_err(|error| not_listening(listen, &error))?);
    let runtime = runtime()?;
    runtime.block_on(async {
        let opened = Registry::open(config).await.map_err(|error| not_open(&folder, &error))?;
        let id = opened.registry.id().to_string();
        let mut first_token = opened.first_token;
        let mut token_file = None;
        if let (Some(path), Some(token)) = (token_out, &first_token) {
            files::write(path, format!("{token}\n").as_bytes(), Secrecy::Private, false).map_err(|failure| {
                failure.hint(format!(
                    "The first token is lost. Nothing else is in the folder: remove it and start again: rm -r {}",
                    shell(&folder)
                ))
            })?;
            token_file = Some(path.to_owned());
            first_token = None;
        }
        let running =
            mpkg_registry::serve(opened.registry).await.map_err(|error| not_listening(listen, &error))?;
        let told = started(Started { folder, address: running.address, id, first_token, token_file });
        if told.is_ok() {
            asked_to_stop().await;
            printer.note("Stopping", "requests that are under way are answered; again to end at once");
        }
        tokio::select! {
            () = running.stop() => {}
            () = asked_to_stop(), if told.is_ok() => {}
        }
        told
    })
}

fn runtime() -> Outcome<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::internal(format!("no threads: {error}")))
}

/// Waits for Ctrl-C, or for SIGTERM, which is how service managers and containers ask.
async fn asked_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn not_listening(listen: SocketAddr, error: &io::Error) -> Failure {
    let message = format!("could not listen on {listen}: {}", reason(error));
    let failure = Failure::new(&rules::NOT_SERVING, Exit::Failed, message);
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            failure.hint("Something listens there already. --listen 127.0.0.1:0 takes a free port.")
        }
        io::ErrorKind::PermissionDenied => {
            failure.hint("Ports below 1024 are the system's. Take a higher one.")
        }
        _ => failure.hint("--listen takes an address of this machine, such as 127.0.0.1:8620."),
    }
}

fn not_open(folder: &Path, error: &OpenError) -> Failure {
    let message = format!("the registry in {} does not start: {error}", folder.display());
    match error {
        OpenError::InUse { .. } => Failure::new(&rules::NOT_SERVING, Exit::Conflict, message)
            .hint("Stop the other one first, or name another folder with --data."),
        OpenError::Io { path, .. } => Failure::new(&rules::NOT_SERVING, Exit::Failed, message)
            .hint(format!("Look at its rights and the room on its disk: ls -ld {0}; df -h {0}", shell(path))),
        OpenError::Keys { .. } => Failure::new(&rules::NOT_SERVING, Exit::Failed, message)
            .hint("Put the file back from a backup. Without these keys no host believes what the registry says."),
        _ => Failure::new(&rules::NOT_SERVING, Exit::Failed, message)
            .hint("If this is an older program than the one that last ran here, use the newer one; else restore a backup."),
    }
}

/// Copies a registry into an empty folder.
pub(crate) fn backup(folder: &Path, to: &Path) -> Outcome {
    runtime()?.block_on(mpkg_registry::backup(folder, to)).map_err(|error| {
        let message = format!("{} was not backed up: {error}", folder.display());
        copy_failed(message, &error, "--to")
    })
}

/// Copies a backup into an empty folder.
pub(crate) fn restore(from: &Path, folder: &Path) -> Outcome {
    runtime()?.block_on(mpkg_registry::restore(from, folder)).map_err(|error| {
        let message = format!("{} was not restored: {error}", from.display());
        copy_failed(message, &error, "--data")
    })
}

fn copy_failed(message: String, error: &BackupError, target: &str) -> Failure {
    match error {
        BackupError::NotEmpty { .. } => Failure::new(&rules::BACKUP, Exit::Conflict, message)
            .hint(format!("Name a folder with {target} that is empty or not there yet.")),
        BackupError::NoRegistry { .. } => Failure::new(&rules::BACKUP, Exit::Failed, message)
            .hint("A registry's folder holds a file registry.db."),
        _ => Failure::new(&rules::BACKUP, Exit::Failed, message)
            .hint(format!("Remove what was begun in the folder of {target} before you try again.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registry.json");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn flags_are_stronger_than_the_file() {
        let (_folder, path) = written(
            r#"{"data": "from-file", "listen": "127.0.0.1:1", "review": true, "approvals": {"start": 3, "lift": 2}, "idle_s": 7}"#,
        );
        let alone = config(Given { config: Some(path.clone()), ..Given::default() }).unwrap();
        assert_eq!((alone.folder, alone.review), (PathBuf::from("from-file"), true));
        assert_eq!((alone.approvals.start, alone.approvals.lift, alone.approvals.advance), (3, 2, 1));
        assert_eq!(alone.idle, Duration::from_secs(7));
        let flags = Given {
            data: Some("from-flag".into()),
            review: Some(false),
            approvals: vec!["start=2".into()],
            config: Some(path),
            ..Given::default()
        };
        let both = config(flags).unwrap();
        assert_eq!((both.folder, both.review), (PathBuf::from("from-flag"), false));
        assert_eq!((both.approvals.start, both.approvals.lift), (2, 2));
        assert_eq!(both.listen.port(), 1);
    }

    #[test]
    fn settings_that_are_not_understood_stop_the_start() {
        for text in [
            "",
            "{",
            r#"{"listen": 1}"#,
            r#"{"review": 1}"#,
            r#"{"idle_s": 0}"#,
            r#"{"data":"a","data":"b"}"#,
        ] {
            let (_folder, path) = written(text);
            let failure = config(Given { config: Some(path), ..Given::default() }).unwrap_err();
            assert_eq!(failure.code(), "MPKG-C42", "{text}");
        }
        for text in ["start", "start=", "start=0", "start=x", "stop=2", "start=300"] {
            let given = Given { approvals: vec![text.into()], ..Given::default() };
            assert_eq!(config(given).unwrap_err().code(), "MPKG-C42", "{text}");
        }
    }
}
