//! What a registry's refusals and silences mean to whoever typed the command.

use std::error::Error;

use mpkg_registry_client::ClientError;

use crate::error::Failure;
use crate::exit::Exit;
use crate::rules;

/// The failure of a request.
pub(crate) fn of(address: &str, error: ClientError) -> Failure {
    let message = error.to_string();
    match error {
        ClientError::Refused { status, code, message, hint } => {
            let exit = exit(status, &code);
            let hint = advice(address, &code).unwrap_or(hint);
            let failure = Failure::with_code(code, exit, message);
            if hint.is_empty() { failure } else { failure.hint(hint) }
        }
        ClientError::Network(_) => {
            let message = format!("{address} was not reached: {}", cause(&error));
            Failure::new(&rules::UNREACHABLE, Exit::Network, message)
                .hint(format!("Is it running? Ask it: curl {address}/healthz"))
        }
        ClientError::Address { .. } => Failure::new(&rules::NO_REGISTRY, Exit::Usage, message)
            .hint("Give its address, such as https://registry.example."),
        ClientError::Token => Failure::new(&rules::TOKEN_SOURCE, Exit::Failed, message)
            .hint("Log in again with the token as it was given to you."),
        _ => Failure::new(&rules::ANSWER, Exit::Network, format!("{address}: {message}"))
            .hint(format!("Is that a registry, and one of this version? Look: curl {address}/healthz")),
    }
}

fn exit(status: u16, code: &str) -> Exit {
    match (status, code) {
        // Policy wants more people.
        (_, "MPKG-F56") => Exit::Refused,
        (401 | 403, _) => Exit::Auth,
        (409 | 412 | 428, _) => Exit::Conflict,
        // A rule of packages or documents, rather than one of the registry's own.
        (422, _) => Exit::Refused,
        (408 | 429 | 500.., _) => Exit::Network,
        _ => Exit::Failed,
    }
}

/// What to do about it from a terminal, where that is something else than a program would do.
fn advice(address: &str, code: &str) -> Option<String> {
    Some(match code {
        "MPKG-P01" | "MPKG-P02" => {
            format!("Ask an admin for a token, then log in again: mpkg login {address} < token.txt")
        }
        "MPKG-P03" => {
            "Ask an admin for a token with that role: `mpkg token create --role ...` makes one.".into()
        }
        "MPKG-P05" => "Wait a moment, then try again.".into(),
        "MPKG-P13" => "The registry is of an older version than this program.".into(),
        "MPKG-P23" => "Look at it again, then decide again: `mpkg status`.".into(),
        "MPKG-P30" | "MPKG-P33" => {
            "Its publisher claims it with the first release: mpkg publish FILE --claim".into()
        }
        "MPKG-P34" => "Raise `version.code` in manifest.json, build and sign again.".into(),
        "MPKG-P35" | "MPKG-P36" => "`mpkg info APP --all` lists the app's releases.".into(),
        "MPKG-P40" => "`mpkg status` shows what is rolled out.".into(),
        "MPKG-P41" => "`mpkg status` lists the kills in force.".into(),
        "MPKG-P43" => "`mpkg token list` shows the ids.".into(),
        "MPKG-F52" => "Wait until then, or pass --skip-bake to advance at once.".into(),
        "MPKG-F53" => "`mpkg rollout status APP` shows the steps.".into(),
        _ => return None,
    })
}

/// The innermost reason: what the system said, rather than the layers that passed it on.
fn cause(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let text = inner.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
