//! `mpkg search`

use mpkg_registry_client::wire::{Paging, ReleaseView};
use serde::Serialize;

use crate::cli::Search;
use crate::error::Outcome;
use crate::ops::remote::Remote;
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Found {
    apps: Vec<ReleaseView>,
    more: bool,
}

impl View for Found {
    fn human(&self, page: &mut Page) {
        if self.apps.is_empty() {
            page.line("nothing found");
        }
        page.table(self.apps.iter().map(|it| {
            let about =
                if it.description.is_empty() { String::new() } else { format!(": {}", it.description) };
            [it.app_id.to_string(), it.release.version.to_string(), format!("{}{about}", it.name)]
        }));
        if self.more {
            page.line("There are more; say more words, or raise --limit.");
        }
    }
}

pub(crate) fn run(args: &Search, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let words = args.words.join(" ");
    let q = if words.is_empty() { None } else { Some(words) };
    let page =
        remote.ask(remote.client.search(&Paging { q, limit: Some(args.limit), ..Paging::default() }))?;
    printer.result(&Found { apps: page.items, more: page.next.is_some() })
}
