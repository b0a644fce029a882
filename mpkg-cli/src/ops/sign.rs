//! Signing, and verifying what was signed.

use std::path::{Path, PathBuf};

use mpkg_package::keys::SecretKey;
use mpkg_package::limits;
use mpkg_package::root::{Root, RootError, Trust};
use mpkg_package::sign::{SignError, Signed};
use mpkg_package::signing::is_signed;
use mpkg_package::statement::StatementError;
use mpkg_package::time::Time;
use mpkg_package::verify::{Verified, VerifyError, verify_any};

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files;
use crate::ops::package::{self, Opened};

/// A signed package, and whether it was signed before.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) signed: Signed,
    pub(crate) opened: Opened,
}

/// Signs the package at `path`.
pub(crate) fn sign(path: &Path, key: &SecretKey) -> Outcome<Fresh> {
    let opened = Opened::read(path)?;
    let root = Root::single(&key.public());
    let signed =
        mpkg_package::sign::sign(opened.unsigned(), key, &root, now()?).map_err(|error| match error {
            SignError::Content(error) => {
                package::refused_contents(path, opened.unsigned(), error, Exit::Failed)
            }
            error => Failure::with_code(
                error.code(),
                Exit::Failed,
                format!("{} cannot be signed: {error}", path.display()),
            ),
        })?;
    Ok(Fresh { signed, opened })
}

/// The time to put into a statement: that of SOURCE_DATE_EPOCH, where builds are to be repeated, or now.
fn now() -> Outcome<Time> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            Failure::usage(format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds since 1970"))
                .hint("Correct it, or unset it to use the time of now.")
        })?,
        _ => jiff::Timestamp::now().as_second(),
    };
    Time::from_unix(seconds).ok_or_else(|| Failure::usage("the time is outside of the years 0 to 9999"))
}

/// The signature that a verification used.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) verified: Verified,
    pub(crate) detached: Option<PathBuf>,
}

/// Verifies the package at `path` against publishers of whom any one will do.
pub(crate) fn check(path: &Path, trusts: &[Trust], signature: Option<&Path>) -> Outcome<Checked> {
    let bytes = package::read_bytes(path)?;
    let detached = match signature {
        Some(signature) => Some(signature.to_owned()),
        None => beside(path, &bytes),
    };
    let signature = detached.as_deref().map(|file| files::read(file, limits::BLOCK as u64)).transpose()?;
    let verified = verify_any(bytes, signature.as_deref(), trusts).map_err(|error| refused(path, &error))?;
    Ok(Checked { verified, detached })
}

/// The signature file beside an unsigned package.
fn beside(path: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let file = files::with_suffix(path, ".sig");
    (!is_signed(bytes) && file.is_file()).then_some(file)
}

fn refused(path: &Path, error: &VerifyError) -> Failure {
    let (code, offset) = (error.code(), error.offset());
    let hint = match error {
        VerifyError::NotSigned => {
            "Sign it with `mpkg sign`, or pass --signature FILE if its signature is in a file of its own.".to_owned()
        }
        VerifyError::SignedTwice => "Leave out --signature to check the signature inside.".to_owned(),
        VerifyError::Root(RootError::Untrusted { .. }) => {
            "Somebody else signed it than the one you trust. Ask the publisher for their root; never take it from the \
             package."
                .to_owned()
        }
        VerifyError::Statement(StatementError::Package { .. }) => {
            "It was changed after it was signed, or the signature belongs to another package. Get it again.".to_owned()
        }
        _ => format!("`mpkg explain {code}` tells what this rule stops."),
    };
    let failure = Failure::with_code(code, Exit::Refused, format!("{} is refused: {error}", path.display()));
    let failure = failure.hint(hint);
    match offset {
        Some(offset) => failure.data("offset", offset),
        None => failure,
    }
}
