//! Root files: reading, changing, signing.

use std::path::Path;

use mpkg_package::digest::Hash;
use mpkg_package::keys::{KeyId, PublicKey, SecretKey};
use mpkg_package::limits;
use mpkg_package::root::{Draft, Progress, Root, RootChain, RootError, RootFile};
use mpkg_package::time::Time;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::keys::{self, Source};
use crate::ops::passphrase::Passphrases;

/// Reads a root file, or a first root document.
pub(crate) fn load(path: &Path) -> Outcome<RootFile> {
    let bytes = files::read(path, limits::ROOT_FILE as u64)?;
    RootFile::parse(&bytes).map_err(|error| unusable(path, &error, Exit::Failed))
}

/// Reads a root file whose faults are a refusal.
pub(crate) fn judge(path: &Path) -> Outcome<RootFile> {
    let bytes = files::read(path, limits::ROOT_FILE as u64)?;
    RootFile::parse(&bytes).map_err(|error| unusable(path, &error, Exit::Refused))
}

pub(crate) fn unusable(path: &Path, error: &RootError, exit: Exit) -> Failure {
    let code = error.code();
    Failure::with_code(code, exit, format!("{} cannot be used: {error}", path.display()))
        .hint(format!("`mpkg explain {code}` tells what this rule stops."))
}

pub(crate) fn save(path: &Path, file: &RootFile) -> Outcome {
    files::write(path, &file.to_bytes(), Secrecy::Public, true)
}

/// A key that is named on the command line: a file with it, or its id.
#[derive(Debug, Clone)]
pub(crate) enum Named {
    Key(PublicKey),
    Id(KeyId),
}

impl Named {
    pub(crate) fn id(&self) -> KeyId {
        match self {
            Self::Key(key) => key.id(),
            Self::Id(id) => *id,
        }
    }
}

/// Reads a key's file, or takes its id.
pub(crate) fn named(text: &str, passphrases: &Passphrases) -> Outcome<Named> {
    if let Some(id) = Hash::from_hex(text).filter(|_| !Path::new(text).exists()) {
        return Ok(Named::Id(KeyId(id)));
    }
    key(text, passphrases).map(Named::Key)
}

/// Reads the public half of a key.
pub(crate) fn key(text: &str, passphrases: &Passphrases) -> Outcome<PublicKey> {
    let source = Source::parse(text)?;
    let mut public = keys::public(&source, passphrases)?;
    match (public.keys.pop(), public.keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(Failure::usage(format!("{} holds more than one key", source.name()))
            .hint("Pass the file of one key, such as FILE.pub.")),
    }
}

/// A day or a second: `2030-01-31`, `2030-01-31T12:00:00Z`, or `never`.
pub(crate) fn expiry(text: &str) -> Outcome<Option<Time>> {
    if text == "never" {
        return Ok(None);
    }
    let time = Time::parse(text).or_else(|| Time::parse(&format!("{text}T00:00:00Z")));
    time.map(Some).ok_or_else(|| {
        Failure::usage(format!("`{text}` is no time"))
            .hint("Write a day such as 2030-01-31, a time such as 2030-01-31T12:00:00Z, or never.")
    })
}

/// Makes a first root.
pub(crate) fn first(draft: &Draft) -> Outcome<RootFile> {
    let root = draft.build().map_err(|error| refused(&error))?;
    RootChain::first(root).map(RootFile::new).map_err(|error| refused(&error))
}

/// Changes the proposal, or begins one. Signatures on what it said before are dropped; the count of them is returned.
pub(crate) fn edit(file: &mut RootFile, change: impl FnOnce(&mut Draft) -> Outcome) -> Outcome<usize> {
    let dropped = file.proposal().map_or(0, |proposal| signers(proposal.progress()).len());
    let mut draft = match file.proposal() {
        Some(proposal) => Draft::of(proposal.root()),
        None => Draft::after(file.chain().last()),
    };
    change(&mut draft)?;
    let root: Root = draft.build().map_err(|error| refused(&error))?;
    file.propose(root).map_err(|error| refused(&error))?;
    Ok(dropped)
}

/// Everyone who has signed a proposal.
pub(crate) fn signers(progress: &Progress) -> Vec<KeyId> {
    let mut signers = progress.before.signed.clone();
    signers.extend(&progress.own.signed);
    signers.sort();
    signers.dedup();
    signers
}

/// Signs the proposal.
pub(crate) fn sign(path: &Path, file: &mut RootFile, key: &SecretKey) -> Outcome<Progress> {
    file.sign(key).map_err(|error| {
        let exit = if matches!(error, RootError::NotARootKey { .. }) { Exit::Refused } else { Exit::Failed };
        let failure = unusable(path, &error, exit);
        match error {
            RootError::NothingProposed => {
                failure.hint("Propose a change first: `mpkg root add-key`, `rotate` or `revoke`.")
            }
            RootError::NotARootKey { .. } => failure.hint("`mpkg root show` lists the keys that may sign."),
            _ => failure,
        }
    })
}

fn refused(error: &RootError) -> Failure {
    let code = error.code();
    Failure::with_code(code, Exit::Failed, format!("the root cannot say this: {error}"))
        .hint(format!("`mpkg explain {code}` tells what this rule is for."))
}

/// Now, by this machine's clock.
pub(crate) fn now() -> Option<Time> {
    Time::from_unix(jiff::Timestamp::now().as_second())
}
