//! `mpkg audit`

use mpkg_registry_client::wire::{AuditEntry, AuditReport, Paging};
use serde::Serialize;

use crate::cli::{AuditCommand, AuditList, AuditVerify};
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::remote::Remote;
use crate::output::{Page, Printer, View};
use crate::rules;

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

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    report: AuditReport,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Whole", &format!("{} entries, each follows from the one before", self.report.entries));
        page.field("head", &format!("{} (note it elsewhere)", self.report.head));
    }
}

fn verify(args: &AuditVerify, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let report = remote.ask(remote.client.verify_audit())?;
    match report.broken_at {
        None => printer.result(&Report { report }),
        Some(seq) => {
            let all = report.entries;
            let message =
                format!("entry {seq} of {all} in the audit log does not follow from the one before it");
            Err(Failure::new(&rules::AUDIT_BROKEN, Exit::Refused, message)
                .hint("Keep the registry's folder as it is, and compare with the newest backup.")
                .data("broken_at", seq))
        }
    }
}
