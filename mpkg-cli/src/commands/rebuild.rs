//! `mpkg verify --rebuild`

use std::path::Path;

use serde::Serialize;

use crate::cli::Verify;
use crate::error::Outcome;
use crate::ops::package::Opened;
use crate::ops::rebuild::{self, Tool};
use crate::ops::{keys, sign};
use crate::output::{Page, Printer, View};
use crate::progress::Progress;

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    source: String,
    rebuilt: bool,
    digest: String,
    /// Who signed it, if that was asked.
    publisher: Option<String>,
    tools: Vec<Tool>,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Rebuilt", &format!("{}, byte for byte, from {}", self.file, self.source));
        page.field("digest", &self.digest);
        page.field("signed by", self.publisher.as_deref().unwrap_or("not checked; pass --trust for that"));
        let tools: Vec<String> =
            self.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
        page.field("tools", &tools.join(", "));
    }
}

pub(crate) fn run(args: Verify, source: &Path, printer: Printer) -> Outcome {
    let toolchain = super::build::toolchain(args.toolchain)?;
    let trusts = args.trust.iter().map(|text| keys::trust(text)).collect::<Outcome<Vec<_>>>()?;
    // A signature that is not right is told in no time, a build takes a minute.
    let (unsigned, publisher) = if trusts.is_empty() {
        let opened = Opened::read(&args.file)?;
        opened.container()?;
        (opened.unsigned().to_owned(), None)
    } else {
        let checked = sign::check(&args.file, &trusts, args.signature.as_deref())?;
        (checked.verified.package().to_owned(), Some(checked.verified.publisher().to_string()))
    };
    let progress = Progress::start(printer, "rebuilding");
    let tools = rebuild::prove(&args.file, &unsigned, source, &toolchain, &mut |line| progress.step(line));
    drop(progress);
    printer.result(&Report {
        file: args.file.display().to_string(),
        source: source.display().to_string(),
        rebuilt: true,
        digest: format!("sha256:{}", mpkg_package::identity(&unsigned).sha256),
        publisher,
        tools: tools?,
    })
}
