//! Finding a release by number, by version, or as the newest.

use mpkg_registry_client::wire::{Paging, ReleaseView};

use super::Remote;
use crate::cli::values::{AppRelease, Which};
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::rules;

/// The refusal of something that is not there.
pub(crate) fn not_there(message: String, hint: &str) -> Failure {
    Failure::new(&rules::NOT_THERE, Exit::Failed, message).hint(hint)
}

/// The release that was named; without a name the newest that is not hidden.
pub(crate) fn find(remote: &Remote, named: &AppRelease) -> Outcome<ReleaseView> {
    let app = &named.app;
    let client = &remote.client;
    match &named.release {
        Some(Which::Seq(seq)) => remote.ask(client.release(app, *seq)),
        Some(Which::Version(version)) => {
            let mut paging = Paging { limit: Some(200), all: Some(true), ..Paging::default() };
            loop {
                let page = remote.ask(client.releases(app, &paging))?;
                if let Some(found) =
                    page.items.into_iter().find(|it| it.release.version.to_string() == *version)
                {
                    return Ok(found);
                }
                paging.after = match page.next {
                    Some(next) => Some(next),
                    None => {
                        let message = format!("{app} has no release of version {version}");
                        return Err(not_there(message, "`mpkg info APP --all` lists its releases."));
                    }
                };
            }
        }
        None => {
            let paging = Paging { limit: Some(1), ..Paging::default() };
            let newest = remote.ask(client.releases(app, &paging))?.items.into_iter().next();
            newest.ok_or_else(|| {
                let message = format!("{app} has no release that is neither hidden nor waiting for a review");
                not_there(message, "`mpkg info APP --all` lists its releases.")
            })
        }
    }
}

/// As [`find`], where "the newest" is too vague for what is to be done.
pub(crate) fn named(remote: &Remote, named: &AppRelease) -> Outcome<ReleaseView> {
    if named.release.is_none() {
        return Err(Failure::usage(format!("`{}` does not say which release", named.app))
            .hint(format!("Add its number or version, such as {}@3.", named.app)));
    }
    find(remote, named)
}
