//! Passphrases of private keys: from a file, from the environment, or asked for on a terminal. Never from the command
//! line, where other users could read them.

use std::path::PathBuf;

use dialoguer::Password;
use mpkg_package::keys::KeyError;
use zeroize::Zeroizing;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files;
use crate::rules;

const VARIABLE: &str = "MPKG_PASSPHRASE";
const LIMIT: u64 = 4096;

/// A passphrase, wiped when it is dropped.
pub(crate) type Secret = Zeroizing<Vec<u8>>;

/// Where a passphrase may come from.
#[derive(Debug)]
pub(crate) struct Passphrases {
    file: Option<PathBuf>,
    can_ask: bool,
}

impl Passphrases {
    pub(crate) fn new(file: Option<PathBuf>, can_ask: bool) -> Self {
        Self { file, can_ask }
    }

    /// The passphrase that was given, if one was.
    pub(crate) fn given(&self) -> Outcome<Option<Secret>> {
        let (secret, name) = match &self.file {
            Some(file) => {
                let bytes = Zeroizing::new(files::read(file, LIMIT)?);
                // Editors end a line; what follows it is not meant.
                let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
                (
                    Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()),
                    file.display().to_string(),
                )
            }
            None => match std::env::var(VARIABLE) {
                Ok(text) => (Zeroizing::new(text.into_bytes()), VARIABLE.to_owned()),
                Err(_) => return Ok(None),
            },
        };
        if secret.is_empty() {
            let message = format!("{name} gives an empty passphrase, which protects nothing");
            return Err(Failure::with_code(KeyError::EmptyPassphrase.code(), Exit::Failed, message)
                .hint("Put the passphrase on its first line, or leave it out."));
        }
        Ok(Some(secret))
    }

    /// The passphrase of a key that is there.
    pub(crate) fn existing(&self, key: &str) -> Outcome<Secret> {
        if let Some(secret) = self.given()? {
            return Ok(secret);
        }
        if !self.can_ask {
            let error = KeyError::Encrypted;
            let message = format!("{key} cannot be used: {error}");
            return Err(Failure::with_code(error.code(), Exit::Failed, message)
                .hint(format!("Pass --passphrase-file FILE, or set {VARIABLE}.")));
        }
        let question = Password::new().with_prompt(format!("Passphrase of {key}"));
        question.interact().map(|text| Zeroizing::new(text.into_bytes())).map_err(|error| unanswered(&error))
    }

    /// The passphrase of a new key.
    pub(crate) fn fresh(&self, wanted: bool) -> Outcome<Option<Secret>> {
        let given = self.given()?;
        if given.is_some() || !wanted {
            return Ok(given);
        }
        if !self.can_ask {
            return Err(Failure::usage(
                "--encrypt asks for a passphrase, and there is no terminal to ask on",
            )
            .hint(format!("Pass --passphrase-file FILE, or set {VARIABLE}.")));
        }
        let question = Password::new()
            .with_prompt("Passphrase for the new key")
            .with_confirmation("Once more", "That was another one.");
        question
            .interact()
            .map(|text| Some(Zeroizing::new(text.into_bytes())))
            .map_err(|error| unanswered(&error))
    }
}

fn unanswered(error: &dialoguer::Error) -> Failure {
    Failure::new(&rules::KEY_SOURCE, Exit::Failed, format!("no passphrase was given: {error}"))
}
