//! `mpkg fetch`

use serde::Serialize;

use crate::cli::Fetch;
use crate::error::Outcome;
use crate::ops::keys;
use crate::ops::remote::{Remote, fetch};
use crate::output::{Page, Printer, View};
use crate::text;

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    app_id: String,
    version: String,
    release_seq: u64,
    digest: String,
    size: u64,
    publisher: String,
    root_version: u32,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline(
            "Verified",
            &format!("{} {} (release {})", self.app_id, self.version, self.release_seq),
        );
        page.field("written to", &self.file);
        page.field("publisher", &self.publisher);
        page.field("digest", &self.digest);
        page.field("size", &text::size(self.size));
        page.field("root", &format!("version {}", self.root_version));
    }
}

pub(crate) fn run(args: &Fetch, printer: Printer) -> Outcome {
    let trusts = args.trust.iter().map(|text| keys::trust(text)).collect::<Outcome<Vec<_>>>()?;
    let remote = Remote::open(&args.connection, printer)?;
    let got = fetch::fetch(&remote, &args.app, &trusts, args.out.as_deref(), args.force)?;
    if let Some(reason) = &got.yanked {
        printer.warn(&format!("this release is yanked: {reason}"));
    }
    let (verified, said) = (&got.verified, got.verified.statement());
    printer.result(&Report {
        file: got.path.display().to_string(),
        app_id: said.app_id.clone(),
        version: said.version.clone(),
        release_seq: said.release_seq,
        digest: format!("sha256:{}", verified.digest().sha256),
        size: verified.digest().size,
        publisher: verified.publisher().to_string(),
        root_version: verified.roots().last().version(),
    })
}
