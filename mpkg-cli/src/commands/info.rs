//! `mpkg info`

use mpkg_registry_client::ClientError;
use mpkg_registry_client::wire::{AppView, Paging, ReleaseView, RolloutView};
use serde::Serialize;

use crate::cli::Info;
use crate::error::Outcome;
use crate::ops::remote::{Remote, failure, releases};
use crate::output::{Page, Printer, View};
use crate::text;

#[derive(Debug, Serialize)]
struct App {
    #[serde(flatten)]
    app: AppView,
    releases: Vec<ReleaseView>,
    more: bool,
    rollouts: Vec<RolloutView>,
}

/// Rollouts that are shown of an app.
const ROLLOUTS: u16 = 10;

/// What is to be known about a release besides its version.
fn standing(release: &ReleaseView) -> String {
    match &release.yanked {
        Some(reason) => format!("yanked: {reason}"),
        None => release.review.name().to_owned(),
    }
}

impl View for App {
    fn human(&self, page: &mut Page) {
        page.headline(self.app.app_id.as_str(), "");
        page.field("publisher", &self.app.publisher.to_string());
        page.field("claimed", &self.app.claimed.to_string());
        page.heading("Releases");
        if self.releases.is_empty() {
            page.line("  none");
        }
        page.table(self.releases.iter().map(|it| {
            [
                it.release.release_seq.to_string(),
                it.release.version.to_string(),
                it.published.to_string(),
                it.published_by.clone(),
                standing(it),
            ]
        }));
        if self.more {
            page.line("  and older ones");
        }
        page.heading("Rollouts");
        if self.rollouts.is_empty() {
            page.line("  none");
        }
        page.table(self.rollouts.iter().map(|it| {
            let phase = it.rollout.phase.name().replace('_', " ");
            let charge = if self.app.in_charge == Some(it.id) { "in charge" } else { "" };
            [
                it.id.to_string(),
                it.rollout.release.to_string(),
                phase,
                it.rollout.since.to_string(),
                charge.to_owned(),
            ]
        }));
    }
}

#[derive(Debug, Serialize)]
struct Release {
    #[serde(flatten)]
    release: ReleaseView,
}

impl View for Release {
    fn human(&self, page: &mut Page) {
        let it = &self.release;
        page.headline(it.app_id.as_str(), &it.release.to_string());
        page.field("name", &it.name);
        if !it.description.is_empty() {
            page.field("about", &it.description);
        }
        page.field("digest", &format!("sha256:{}", it.release.package.sha256));
        page.field("size", &text::size(it.release.package.size));
        page.field("published", &format!("{} by {}", it.published, it.published_by));
        page.field("review", it.review.name());
        if let Some(reason) = &it.review_reason {
            page.field("reviewer", &format!("says: {reason}"));
        }
        if let Some(reason) = &it.yanked {
            page.field("yanked", reason);
        }
        let names: Vec<&str> =
            it.permissions.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        page.field("permissions", &if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    }
}

pub(crate) fn run(args: &Info, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    if args.app.release.is_some() {
        return printer.result(&Release { release: releases::find(&remote, &args.app)? });
    }
    let app = remote.ask(remote.client.app(&args.app.app))?;
    let paging = Paging { all: args.all.then_some(true), ..Paging::default() };
    let page = remote.ask(remote.client.releases(&args.app.app, &paging))?;
    let paging = Paging { limit: Some(ROLLOUTS), ..Paging::default() };
    let rollouts = match remote.try_ask(remote.client.rollouts(&args.app.app, &paging)) {
        Ok(page) => page.items,
        // A host's token sees apps and releases only.
        Err(ClientError::Refused { status: 403, .. }) => Vec::new(),
        Err(error) => return Err(failure::of(&remote.address, error)),
    };
    printer.result(&App { app, releases: page.items, more: page.next.is_some(), rollouts })
}
