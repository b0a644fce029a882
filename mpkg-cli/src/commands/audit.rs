//! `mpkg audit`

use mpkg_registry_client::wire::{AuditEntry, Paging};
use serde::Serialize;

use crate::cli::{AuditCommand, AuditList, AuditVerify};
use crate::error::Outcome;
use crate::ops::remote::Remote;
use crate::ops::remote::audit::{self, Verified};
use crate::output::{Page, Printer, View};

pub(crate) fn run(command: &AuditCommand, printer: Printer) -> Outcome {
    match command {
        AuditCommand::List(args) => list(args, printer),
        AuditCommand::Verify(args) => verify(args, printer),
    }
}

#[derive(Debug, Serialize)]
struct List {
    entries: Vec<AuditEntry>,
    next: Option<String>,
}

impl View for List {
    fn human(&self, page: &mut Page) {
        page.table(self.entries.iter().map(|it| {
            [it.seq.to_string(), it.at.to_string(), it.owner.clone(), it.action.clone(), it.subject.clone()]
        }));
        if let Some(next) = &self.next {
            page.line(&format!("There are more: mpkg audit list --after {next}"));
        }
    }
}

fn list(args: &AuditList, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let paging = Paging { after: args.after.clone(), limit: Some(args.limit), ..Paging::default() };
    let page = remote.ask(remote.client.audit(&paging))?;
    printer.result(&List { entries: page.items, next: page.next })
}

impl View for Verified {
    fn human(&self, page: &mut Page) {
        page.headline("Whole", &format!("{} entries, each follows from the one before", self.entries));
        if let Some(seq) = self.noted {
            page.field("noted head", &format!("that of entry {seq}"));
        }
        page.field("head", &format!("{} (note it elsewhere)", self.head));
    }
}

fn verify(args: &AuditVerify, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    printer.result(&audit::verify(&remote, args.head)?)
}
