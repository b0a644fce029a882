//! `mpkg completions`

use clap::CommandFactory;
use serde::Serialize;

use crate::cli::{Cli, Completions};
use crate::error::{Failure, Outcome};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Script {
    shell: String,
    script: String,
}

impl View for Script {
    fn human(&self, page: &mut Page) {
        page.block(&self.script);
    }
}

pub(crate) fn run(args: Completions, printer: Printer) -> Outcome {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mpkg", &mut bytes);
    let script = String::from_utf8(bytes).map_err(|error| Failure::internal(error.to_string()))?;
    printer.result(&Script { shell: args.shell.to_string(), script })
}
