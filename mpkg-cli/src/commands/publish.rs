//! `mpkg publish` and `mpkg yank`

use mpkg_registry_client::wire::{Because, ReleaseView, Review};
use serde::Serialize;

use crate::cli::{Publish, Yank};
use crate::error::Outcome;
use crate::ops::remote::{Remote, publish, releases};
use crate::output::{Page, Printer, View};
use crate::text;

#[derive(Debug, Serialize)]
struct Published {
    #[serde(flatten)]
    release: ReleaseView,
    publisher: String,
    claimed: bool,
}

impl View for Published {
    fn human(&self, page: &mut Page) {
        let (it, app) = (&self.release, &self.release.app_id);
        page.headline("Published", &format!("{app} {}", it.release));
        page.field("digest", &format!("sha256:{}", it.release.package.sha256));
        page.field("size", &text::size(it.release.package.size));
        page.field("publisher", &self.publisher);
        if self.claimed {
            page.field("claimed", &format!("{app} belongs to this publisher from now on"));
        }
        page.field("review", it.review.name());
        page.heading("Next steps");
        if it.review == Review::Pending {
            page.command(&format!(
                "mpkg approve release {app}@{} --reason '...' --confirm {app}",
                it.release.release_seq
            ));
        }
        page.command(&format!("mpkg rollout start {app}@{} --confirm {app}", it.release.release_seq));
    }
}

pub(crate) fn run(args: &Publish, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let done = publish::publish(&remote, &args.file, args.root.as_deref(), args.claim)?;
    printer.result(&Published {
        release: done.release,
        publisher: done.publisher.to_string(),
        claimed: done.claimed,
    })
}

#[derive(Debug, Serialize)]
struct Yanked {
    #[serde(flatten)]
    release: ReleaseView,
}

impl View for Yanked {
    fn human(&self, page: &mut Page) {
        let (it, app) = (&self.release, &self.release.app_id);
        page.headline("Yanked", &format!("{app} {}", it.release));
        page.field("reason", it.yanked.as_deref().unwrap_or_default());
        page.field(
            "devices",
            "those that run it still do; `mpkg rollout rollback` or `mpkg kill` reach them",
        );
    }
}

pub(crate) fn yank(args: &Yank, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let release = releases::named(&remote, &args.release)?;
    let because = Because { reason: args.reason.clone() };
    let client = &remote.client;
    let release = remote.change(client.yank(&release.app_id, release.release.release_seq, &because))?;
    printer.result(&Yanked { release })
}
