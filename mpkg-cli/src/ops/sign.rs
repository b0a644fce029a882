//! Signing, and verifying what was signed.

use std::path::{Path, PathBuf};

use mpkg_package::floors::Floors;
use mpkg_package::grant::GrantError;
use mpkg_package::keys::SecretKey;
use mpkg_package::limits;
use mpkg_package::root::{Root, RootChain, RootError, Trust};
use mpkg_package::sign::{SignError, Signed, Signing, sign_with};
use mpkg_package::signing::{Block, is_signed};
use mpkg_package::statement::StatementError;
use mpkg_package::time::Time;
use mpkg_package::verify::{Verified, VerifyError, verify_any};

use crate::error::{Failure, Outcome, shell};
use crate::exit::Exit;
use crate::ops::package::{self, Opened};
use crate::ops::{files, grants, roots};

/// A signed package, and whether it was signed before.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) signed: Signed,
    pub(crate) opened: Opened,
}

/// What a package is signed with besides the key.
#[derive(Debug, Default)]
pub(crate) struct With {
    /// The publisher's root file; without it the publisher is the key.
    pub(crate) root: Option<PathBuf>,
    /// The permission grant.
    pub(crate) grant: Option<PathBuf>,
    /// The detached signature that is to be written.
    pub(crate) detached: Option<PathBuf>,
}

/// Signs the package at `path`.
pub(crate) fn sign(path: &Path, key: &SecretKey, with: &With) -> Outcome<Fresh> {
    let opened = Opened::read(path)?;
    let roots = match &with.root {
        Some(file) => roots::load(file)?.chain().clone(),
        None => RootChain::first(Root::single(&key.public()))
            .map_err(|error| Failure::internal(error.to_string()))?,
    };
    let grant = with.grant.as_deref().map(grants::load).transpose()?;
    // What is there and cannot be read is replaced, as a signature of another package is.
    let beside = with.detached.as_deref().and_then(|file| files::read(file, limits::BLOCK as u64).ok());
    let beside = beside.and_then(|bytes| Block::parse(&bytes).ok());
    let before = if with.detached.is_some() { beside.as_ref() } else { opened.block() };
    let signing = Signing { roots: &roots, grant: grant.as_ref(), before, created: now()? };
    let signed = sign_with(opened.unsigned(), key, &signing).map_err(|error| match error {
        SignError::Content(error) => package::refused_contents(path, opened.unsigned(), error, Exit::Failed),
        error => not_signed(path, &error),
    })?;
    Ok(Fresh { signed, opened })
}

fn not_signed(path: &Path, error: &SignError) -> Failure {
    let exit = match error {
        SignError::NotAReleaseKey { .. } | SignError::Revoked { .. } | SignError::Grant(_) => Exit::Refused,
        _ => Exit::Failed,
    };
    let code = error.code();
    let failure = Failure::with_code(code, exit, format!("{} cannot be signed: {error}", path.display()));
    match error {
        SignError::Grant(GrantError::Missing { .. } | GrantError::Exceeded { .. }) => {
            let file = shell(path);
            failure.hint(format!(
                "Root keys grant it: mpkg grant create {file} --root ROOTFILE --out app.grant, then mpkg grant sign; \
                 pass the result with --grant."
            ))
        }
        SignError::NotAReleaseKey { .. } => failure.hint("`mpkg root show` lists the release keys."),
        _ => failure.hint(format!("`mpkg explain {code}` tells what this rule stops.")),
    }
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
    // A command remembers no floors; what an expired root signed it refuses as a host would.
    Floors::default().admit(&verified, roots::now()).map_err(|error| refused(path, &error))?;
    Ok(Checked { verified, detached })
}

/// The signature file beside an unsigned package.
fn beside(path: &Path, bytes: &[u8]) -> Option<PathBuf> {
    let file = files::with_suffix(path, ".sig");
    (!is_signed(bytes) && file.is_file()).then_some(file)
}

/// The refusal of a package, with what to do about it.
pub(crate) fn refused(path: &Path, error: &VerifyError) -> Failure {
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
