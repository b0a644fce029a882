//! Downloading a package: nothing is written that was not verified.

use std::path::{Path, PathBuf};

use mpkg_package::signing::{Block, embed};
use mpkg_package::{Floors, RootFile, Trust, Verified, verify_detached};

use super::{Remote, releases};
use crate::cli::values::AppRelease;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::{roots, sign};

/// A package that was fetched.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) verified: Verified,
    pub(crate) path: PathBuf,
    pub(crate) yanked: Option<String>,
}

/// Downloads a release, verifies all of it, and writes it with its signatures.
pub(crate) fn fetch(
    remote: &Remote,
    named: &AppRelease,
    trusts: &[Trust],
    out: Option<&Path>,
    force: bool,
) -> Outcome<Fetched> {
    let client = &remote.client;
    let app = remote.ask(client.app(&named.app))?;
    let Some(trust) = trusts.iter().find(|trust| trust.publisher_id() == app.publisher) else {
        let message = format!("{} is published by {}, whom you do not trust", named.app, app.publisher);
        return Err(Failure::with_code("MPKG-R09", Exit::Refused, message).hint(
            "Get the publisher's root from the publisher, not from the registry, and pass it with --trust.",
        ));
    };
    let release = releases::find(remote, named)?;
    let path = match out {
        Some(path) => path.to_owned(),
        None => PathBuf::from(format!("{}-{}.mpkg", named.app, release.release.version)),
    };
    files::check_target(&path)?;
    if !force && std::fs::symlink_metadata(&path).is_ok() {
        return Err(files::exists(&path).hint("Choose another name with --out, or pass --force."));
    }

    // The newest roots, in which a stolen key may be revoked since the release was signed. They count because they
    // begin with the trusted one, whoever sent them.
    let bytes = remote.ask(client.roots(app.publisher))?;
    let newest = RootFile::parse(&bytes).map_err(|error| {
        let message = format!("the registry's root file of {} is refused: {error}", app.publisher);
        Failure::with_code(error.code(), Exit::Refused, message)
    })?;
    let mut trust = *trust;
    if newest.chain().publisher() == trust.publisher_id() {
        trust = trust.at_least(newest.chain().last().version());
    }

    let (package, signature) = remote.ask(client.package(release.release.package))?;
    let refused = |error: &mpkg_package::VerifyError| sign::refused(&path, error);
    let verified = verify_detached(package, &signature, &trust).map_err(|error| refused(&error))?;
    Floors::default().admit(&verified, roots::now()).map_err(|error| refused(&error))?;
    let said = verified.statement();
    // A registry that answers with another app of the same publisher would have its users run what they did not ask
    // for.
    if said.app_id != named.app.as_str() || said.release_seq != release.release.release_seq {
        let message = format!(
            "the registry sent {} release {} for {} release {}",
            said.app_id, said.release_seq, named.app, release.release.release_seq
        );
        return Err(Failure::new(&crate::rules::ANSWER, Exit::Refused, message)
            .hint("Nothing was written. Tell whoever runs the registry."));
    }
    let signed = signed(&verified, &signature)?;
    files::write(&path, &signed, Secrecy::Public, force)?;
    Ok(Fetched { verified, path, yanked: release.yanked })
}

/// The package with its signatures in it, as a file has it.
pub(super) fn signed(verified: &Verified, signature: &[u8]) -> Outcome<Vec<u8>> {
    let block = Block::parse(signature).map_err(|error| Failure::internal(error.to_string()))?;
    embed(verified.package(), &block).map_err(|error| Failure::internal(error.to_string()))
}
