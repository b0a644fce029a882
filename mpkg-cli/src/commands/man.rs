//! `mpkg man`

use clap::CommandFactory;
use serde::Serialize;

use crate::cli::{Cli, Man};
use crate::error::{Failure, Outcome};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Pages {
    folder: String,
    pages: usize,
}

impl View for Pages {
    fn human(&self, page: &mut Page) {
        page.block(&format!("Wrote {} manual pages into {}", self.pages, self.folder));
    }
}

pub(crate) fn run(args: Man, printer: Printer) -> Outcome {
    let failed = |error: std::io::Error| Failure::write(&args.out, &error);
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), &args.out).map_err(failed)?;
    let pages = std::fs::read_dir(&args.out).map_err(failed)?.count();
    printer.result(&Pages { folder: args.out.display().to_string(), pages })
}
