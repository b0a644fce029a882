//! `mpkg digest`

use serde::Serialize;

use crate::cli::Digest;
use crate::error::Outcome;
use crate::ops::package::Opened;
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Identity {
    digest: String,
    size: u64,
    signed: bool,
}

impl View for Identity {
    fn human(&self, page: &mut Page) {
        page.line(&self.digest);
    }
}

pub(crate) fn run(args: Digest, printer: Printer) -> Outcome {
    let opened = Opened::read(&args.file)?;
    opened.container()?;
    let digest = opened.digest();
    printer.result(&Identity {
        digest: format!("sha256:{}", digest.sha256),
        size: digest.size,
        signed: opened.block().is_some(),
    })
}
