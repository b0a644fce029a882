//! What the runtime says, as failures of a command.

use std::path::Path;

use miniapp_runtime::{CallError, HostError, InstallError, LaunchError, StopReason};
use serde_json::json;

use crate::error::Failure;
use crate::exit::Exit;
use crate::rules;

pub(crate) fn host(error: &HostError) -> Failure {
    let failure = Failure::new(&rules::NO_HOST, Exit::Failed, sentence(error));
    match error {
        HostError::Data(_) => {
            failure.hint("Pass another folder with --data, or leave it out for a temporary one.")
        }
        _ => failure,
    }
}

pub(super) fn install(path: &Path, error: &InstallError) -> Failure {
    let exit = match error {
        InstallError::Read { .. } | InstallError::Data(_) | InstallError::Interrupted => Exit::Failed,
        _ => Exit::Refused,
    };
    let failure = Failure::with_code(error.code(), exit, format!("{}: {}", path.display(), sentence(error)));
    match error {
        InstallError::Changed { .. } | InstallError::Rollback { .. } => {
            failure.hint("Raise `version.code` in the manifest and build again, or leave out --data.")
        }
        InstallError::OtherPublisher { .. } => {
            failure.hint("Use another folder with --data, or leave it out.")
        }
        _ => failure.hint(format!("`mpkg explain {}` tells what this rule stops.", error.code())),
    }
}

pub(super) fn launch(error: &LaunchError) -> Failure {
    let exit = match error {
        LaunchError::PermissionDenied { .. }
        | LaunchError::NotProvided { .. }
        | LaunchError::OverPolicy { .. }
        | LaunchError::Killed { .. }
        | LaunchError::NotAllowed { .. }
        | LaunchError::Unsupervised { .. }
        | LaunchError::Quarantined { .. } => Exit::Refused,
        _ => Exit::Failed,
    };
    let message = match error {
        LaunchError::PermissionDenied { app_id, permission, .. } => {
            format!("`{app_id}` cannot start without the permission `{permission}`, which is not granted")
        }
        error => sentence(error),
    };
    let failure = Failure::with_code(error.code(), exit, message);
    match error {
        LaunchError::PermissionDenied { permission, denial, .. } => failure
            .hint(format!("Grant it: --allow {permission}"))
            .data("permission", permission.as_str())
            .data("reason", json!(denial)),
        LaunchError::OverPolicy { what, asked, .. } if what == "memory" => {
            failure.hint(format!("Allow more: --memory {}", asked.div_ceil(1 << 20)))
        }
        LaunchError::Stopped { reason, .. } => stopped(failure, reason),
        _ => failure.hint(format!("`mpkg explain {}` tells more.", error.code())),
    }
}

pub(super) fn call(method: &str, error: CallError) -> Failure {
    let failure = Failure::with_code(error.code(), Exit::Failed, format!("`{method}`: {}", sentence(&error)));
    match error {
        CallError::Rpc(rpc) => {
            let hint = match rpc
                .data
                .as_ref()
                .and_then(|data| data.get("permission"))
                .and_then(|name| name.as_str())
            {
                Some(permission) if rpc.code == miniapp_runtime::rpc::code::PERMISSION_DENIED => {
                    format!("Grant it: --allow {permission}")
                }
                _ if (-32768..=-32000).contains(&rpc.code) => {
                    format!("`mpkg explain {}` tells more.", rpc.code)
                }
                _ => "The app gave this error itself.".to_owned(),
            };
            failure.hint(hint).data("rpc", json!(rpc))
        }
        CallError::Stopped { reason, .. } => stopped(failure, &reason),
        _ => failure,
    }
}

/// The end of the app where nobody asked for it.
pub(super) fn ended(reason: &StopReason) -> Failure {
    stopped(Failure::with_code(reason.code(), Exit::Failed, format!("the app ended: {reason}")), reason)
}

fn stopped(failure: Failure, reason: &StopReason) -> Failure {
    let failure = failure.data("stopped", json!(reason));
    match reason {
        StopReason::Memory { .. } => {
            failure.hint("Give it more with --memory MIB, or look for what it keeps.")
        }
        _ => failure.hint(format!("`mpkg explain {}` tells more.", reason.code())),
    }
}

/// The runtime ends its sentences with a full stop; here they stand in a line of their own. The system's number of an
/// error tells a person nothing.
fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let text = text.strip_suffix('.').unwrap_or(&text);
    match text.split_once(" (os error ") {
        Some((before, rest)) => before.to_owned() + rest.split_once(')').map_or("", |(_, after)| after),
        None => text.to_owned(),
    }
}
