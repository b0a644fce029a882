//! The state of a fleet and its packages, in a folder for hosts without a network.

use std::fs;
use std::path::Path;

use mpkg_fleet::{AcceptError, Fleet, Outcome as Accepted, ReleaseRef, StateFile};
use mpkg_manifest::AppId;
use mpkg_package::{PublisherId, RootChain, Trust, limits, verify_any, verify_detached};

use super::fetch::signed;
use super::{Remote, now};
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};

/// What was written.
#[derive(Debug)]
pub(crate) struct Exported {
    pub(crate) registry: PublisherId,
    pub(crate) head: mpkg_fleet::Position,
    pub(crate) apps: Vec<(AppId, Vec<ReleaseRef>)>,
    pub(crate) fetched: usize,
}

/// Writes packages first and the state last: a host that finds a state finds what it names.
pub(crate) fn export(
    remote: &Remote,
    wanted: &[AppId],
    trust: Option<&Trust>,
    folder: &Path,
) -> Outcome<Exported> {
    let client = &remote.client;
    let roots = remote.ask(client.registry_roots())?;
    let chain = RootChain::parse(&roots).map_err(|error| refused(error.code(), &error))?;
    let mut fleet = Fleet::new(trust.copied().unwrap_or_else(|| Trust::publisher(chain.publisher())));
    let clock = Some(now()?);
    accepted(fleet.accept_roots(&roots))?;
    let head = remote.ask(client.head())?;
    accepted(fleet.accept_head(&head, clock))?;
    let known =
        fleet.head().map(|head| head.document().clone()).ok_or_else(|| Failure::internal("no head"))?;
    if let Some(unknown) = wanted.iter().find(|app| !known.apps.contains_key(*app)) {
        let message = format!("the registry has no state of {unknown}");
        return Err(Failure::with_code("MPKG-P31", Exit::Failed, message)
            .hint("`mpkg search` lists apps; one has a state from its first rollout on."));
    }

    fs::create_dir_all(folder).map_err(|error| Failure::write(folder, &error))?;
    let mut file = StateFile { roots, head: text(head)?, apps: Default::default() };
    let (mut apps, mut fetched) = (Vec::new(), 0);
    for app in known.apps.keys().filter(|app| wanted.is_empty() || wanted.contains(app)) {
        let state = remote.ask(client.state(app))?;
        accepted(fleet.accept_app(&state, clock))?;
        let document = fleet.app(app).map(|state| state.document().clone());
        let Some(document) = document else { continue };
        let releases: Vec<ReleaseRef> = [document.baseline, document.release].into_iter().flatten().collect();
        for release in &releases {
            fetched += usize::from(package(remote, document.publisher, release, folder)?);
        }
        file.apps.insert(app.clone(), text(state)?);
        apps.push((app.clone(), releases));
    }
    files::write(&folder.join(StateFile::NAME), &file.to_bytes(), Secrecy::Public, true)?;
    let head = fleet.position().unwrap_or_default();
    Ok(Exported { registry: chain.publisher(), head, apps, fetched })
}

/// Fetches a package unless it is there. One that is there is verified like one that comes.
fn package(remote: &Remote, publisher: PublisherId, release: &ReleaseRef, folder: &Path) -> Outcome<bool> {
    let path = folder.join(format!("{}.mpkg", release.package.sha256));
    let trust = Trust::publisher(publisher);
    if path.is_file() {
        let bytes = files::read(&path, limits::SIGNED as u64)?;
        let whole =
            verify_any(bytes, None, &[trust]).is_ok_and(|verified| verified.digest() == release.package);
        if whole {
            return Ok(false);
        }
    }
    let (package, signature) = remote.ask(remote.client.package(release.package))?;
    let verified =
        verify_detached(package, &signature, &trust).map_err(|error| refused(error.code(), &error))?;
    let signed = signed(&verified, &signature)?;
    files::write(&path, &signed, Secrecy::Public, true)?;
    Ok(true)
}

fn text(bytes: Vec<u8>) -> Outcome<String> {
    String::from_utf8(bytes).map_err(|error| Failure::internal(error.to_string()))
}

fn refused(code: &'static str, error: &dyn std::fmt::Display) -> Failure {
    Failure::with_code(code, Exit::Refused, error.to_string())
        .hint("Nothing of it was written. Tell whoever runs the registry.")
}

fn accepted(outcome: Accepted) -> Outcome {
    match outcome.refused {
        None => Ok(()),
        Some(error @ AcceptError::Registry { .. }) => {
            Err(Failure::with_code(error.code(), Exit::Refused, error.to_string())
                .hint("This is not the registry that --trust names."))
        }
        Some(error) => Err(refused(error.code(), &error)),
    }
}
