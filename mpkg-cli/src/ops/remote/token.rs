//! Tokens: read from a file, from standard input, from the environment, or asked for. Never from the command line.

use std::io::{IsTerminal, Read};
use std::path::Path;

use dialoguer::Password;
use zeroize::Zeroizing;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files;
use crate::{rules, text};

const VARIABLE: &str = "MPKG_TOKEN";
const LIMIT: u64 = 4096;

/// A token, wiped when it is dropped.
pub(crate) type Token = Zeroizing<String>;

/// The refusal of a token that stands in the shell's history and in the list of processes. It does not repeat it.
pub(crate) fn on_the_command_line() -> Failure {
    let message = "a token must not stand on the command line, where other users can read it";
    Failure::new(&rules::TOKEN_SOURCE, Exit::Usage, message).hint(
        "Pipe it in, or put it into a file and pass --token-file FILE. Since it was shown, have it revoked: \
         mpkg token revoke ID.",
    )
}

/// The token for one command, if one was given.
pub(crate) fn given(file: Option<&Path>) -> Outcome<Option<Token>> {
    if let Some(file) = file {
        return from_file(file).map(Some);
    }
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => check(&Zeroizing::new(text), VARIABLE).map(Some),
        _ => Ok(None),
    }
}

/// The token to log in with.
pub(crate) fn for_login(file: Option<&Path>, can_ask: bool) -> Outcome<Token> {
    if let Some(file) = file {
        return from_file(file);
    }
    if std::io::stdin().is_terminal() {
        if !can_ask {
            return Err(Failure::new(&rules::TOKEN_SOURCE, Exit::Usage, "there is no token to log in with")
                .hint("Pipe it in, or pass --token-file FILE."));
        }
        let typed = Password::new().with_prompt("Token").interact().map_err(|error| {
            Failure::new(&rules::TOKEN_SOURCE, Exit::Failed, format!("no token was given: {error}"))
        })?;
        return check(&Zeroizing::new(typed), "what was typed");
    }
    let mut bytes = Zeroizing::new(Vec::new());
    std::io::stdin()
        .lock()
        .take(LIMIT)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::read(Path::new("standard input"), &error))?;
    first_line(&bytes, "standard input")
}

fn from_file(file: &Path) -> Outcome<Token> {
    let bytes = Zeroizing::new(files::read(file, LIMIT)?);
    first_line(&bytes, &file.display().to_string())
}

fn first_line(bytes: &[u8], name: &str) -> Outcome<Token> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).unwrap_or_default();
    check(line, name)
}

/// Refuses what cannot be a token, before it is sent anywhere: it may be a password for something else.
fn check(line: &str, name: &str) -> Outcome<Token> {
    let token = line.trim();
    if token.len() == 45 && text::has_token(token) {
        return Ok(Zeroizing::new(token.to_owned()));
    }
    let problem = if token.is_empty() { "is empty" } else { "holds no token" };
    Err(Failure::new(&rules::TOKEN_SOURCE, Exit::Failed, format!("{name} {problem}"))
        .hint("A token is `mpkg_` and 40 letters and digits; `mpkg token create` makes one."))
}
