//! Permission grants: making, signing, reading.

use std::path::Path;

use mpkg_manifest::Manifest;
use mpkg_package::grant::{Grant, GrantError, SignedGrant};
use mpkg_package::keys::SecretKey;
use mpkg_package::limits;
use mpkg_package::root::{RootChain, Tally};

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::manifest;
use crate::ops::package::Opened;

/// Reads a grant's file. Who signed it is not looked at.
pub(crate) fn load(path: &Path) -> Outcome<SignedGrant> {
    let bytes = files::read(path, limits::ENVELOPE as u64)?;
    SignedGrant::parse(bytes.trim_ascii()).map_err(|error| unusable(path, &error, Exit::Failed))
}

pub(crate) fn save(path: &Path, grant: &SignedGrant, replace: bool) -> Outcome {
    let mut bytes = grant.to_bytes();
    bytes.push(b'\n');
    files::write(path, &bytes, Secrecy::Public, replace)
}

/// The manifest of a package, of a project, or by itself.
pub(crate) fn manifest_of(path: &Path) -> Outcome<Manifest> {
    if path.is_dir() {
        return Ok(manifest::Source::load(path)?.manifest().clone());
    }
    let bytes = if path.extension().is_some_and(|extension| extension == "json") {
        files::read(path, limits::MANIFEST as u64)?
    } else {
        Opened::read(path)?.container()?.manifest().to_vec()
    };
    let parsed = Manifest::parse(&bytes);
    parsed
        .map(|parsed| parsed.manifest)
        .map_err(|problems| manifest::refuse(&path.display().to_string(), &bytes, problems, Exit::Failed))
}

/// A grant of what this manifest asks for, without signatures.
pub(crate) fn create(manifest: &Manifest, roots: &RootChain, version: Option<u64>) -> Outcome<SignedGrant> {
    let grant = Grant {
        app_id: manifest.app_id.to_string(),
        publisher: roots.publisher(),
        version: version.unwrap_or(manifest.version.code),
        permissions: manifest.permissions(),
    };
    SignedGrant::new(grant).map_err(|error| {
        Failure::with_code(error.code(), Exit::Failed, format!("the grant cannot say this: {error}"))
    })
}

pub(crate) fn sign(
    path: &Path,
    grant: &mut SignedGrant,
    key: &SecretKey,
    roots: &RootChain,
) -> Outcome<Tally> {
    grant.sign(key, roots).map_err(|error| {
        let failure = unusable(path, &error, Exit::Refused);
        match error {
            GrantError::NotARootKey { .. } => failure.hint("`mpkg root show` lists the keys that may sign."),
            _ => failure,
        }
    })
}

pub(crate) fn tally(path: &Path, grant: &SignedGrant, roots: &RootChain) -> Outcome<Tally> {
    grant.tally(roots).map_err(|error| unusable(path, &error, Exit::Refused))
}

fn unusable(path: &Path, error: &GrantError, exit: Exit) -> Failure {
    let code = error.code();
    Failure::with_code(code, exit, format!("{} cannot be used: {error}", path.display()))
        .hint(format!("`mpkg explain {code}` tells what this rule stops."))
}
