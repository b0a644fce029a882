//! Publishing: checked here first, so that a mistake costs no upload.

use std::path::Path;

use mpkg_manifest::AppId;
use mpkg_package::signing::{Block, embed};
use mpkg_package::{PublisherId, RootChain, RootFile, Trust, VerifyError, claims, limits};
use mpkg_registry_client::wire::{NewApp, ReleaseView};

use super::{Remote, failure};
use crate::error::{Failure, Outcome, shell};
use crate::exit::Exit;
use crate::ops::package::Opened;
use crate::ops::{files, roots, sign};

/// What was published, and what was done for it.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) release: ReleaseView,
    pub(crate) publisher: PublisherId,
    pub(crate) claimed: bool,
}

/// A package that is ready to be sent.
struct Ready {
    app: AppId,
    bytes: Vec<u8>,
    roots: RootChain,
}

/// Verifies the package at `file` under the roots that it brings along. Whether these are the publisher's the registry
/// knows; here it is about damage and mistakes.
fn prepare(file: &Path) -> Outcome<Ready> {
    let opened = Opened::read(file)?;
    let beside = files::with_suffix(file, ".sig");
    let block = match opened.block() {
        Some(block) => block.clone(),
        None if beside.is_file() => {
            let bytes = files::read(&beside, limits::BLOCK as u64)?;
            Block::parse(&bytes).map_err(|error| {
                let message = format!("{} is refused: {error}", beside.display());
                Failure::with_code(error.code(), Exit::Refused, message)
            })?
        }
        None => return Err(sign::refused(file, &VerifyError::NotSigned)),
    };
    drop(opened);
    let said = claims(&block).map_err(|error| sign::refused(file, &error))?;
    let checked = sign::check(file, &[Trust::chain(&said.roots)], None)?;
    let app = checked.verified.manifest().app_id.clone();
    let (package, block) = checked.verified.into_parts();
    let bytes = embed(&package, &block).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(Ready { app, bytes, roots: said.roots })
}

/// Publishes the package at `file`.
pub(crate) fn publish(remote: &Remote, file: &Path, root: Option<&Path>, claim: bool) -> Outcome<Published> {
    let ready = prepare(file)?;
    let publisher = ready.roots.publisher();
    let newest = match root {
        Some(path) => {
            let chain = roots::load(path)?.chain().clone();
            if chain.publisher() != publisher {
                let (path, file) = (path.display(), file.display());
                let message = format!(
                    "{path} is the root of {}, but {file} is signed for {publisher}",
                    chain.publisher()
                );
                return Err(
                    Failure::usage(message).hint("Pass the root file that the package was signed with.")
                );
            }
            Some(chain)
        }
        None => None,
    };
    let client = &remote.client;
    let claimed = match remote.try_ask(client.app(&ready.app)) {
        Ok(known) if known.publisher != publisher => {
            let message = format!(
                "{} belongs to {}, and the package is signed for {publisher}",
                ready.app, known.publisher
            );
            return Err(Failure::with_code("MPKG-P32", Exit::Conflict, message)
                .hint("Sign it with that publisher's key and root, or choose another app id."));
        }
        Ok(_) => {
            if let Some(chain) = &newest {
                remote.change(client.put_roots(publisher, RootFile::new(chain.clone()).to_bytes()))?;
            }
            false
        }
        Err(error) if error.code() == Some("MPKG-P33") && claim => {
            let chain = newest.as_ref().unwrap_or(&ready.roots);
            remote.change(client.put_roots(publisher, RootFile::new(chain.clone()).to_bytes()))?;
            remote.change(client.claim(&NewApp { app_id: ready.app.clone(), publisher }))?;
            true
        }
        Err(error) if error.code() == Some("MPKG-P33") => {
            let failure = failure::of(&remote.address, error);
            return Err(failure
                .hint(format!("Claim it, for good, for {publisher}: mpkg publish {} --claim", shell(file))));
        }
        Err(error) => return Err(failure::of(&remote.address, error)),
    };
    let release = remote.change(client.publish(&ready.app, ready.bytes))?;
    Ok(Published { release, publisher, claimed })
}
