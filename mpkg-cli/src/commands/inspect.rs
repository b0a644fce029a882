//! `mpkg inspect`

use serde::Serialize;

use crate::cli::Inspect;
use crate::error::Outcome;
use crate::ops::inspect::{self, Signatures};
use crate::output::{Page, Printer, View};
use crate::text;

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    #[serde(flatten)]
    contents: inspect::Contents,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        let it = &self.contents;
        page.headline(&it.name, &format!("{} ({}, release {})", it.version, it.app_id, it.release_seq));
        page.field("digest", &it.digest);
        page.field("size", &format!("{} ({} bytes)", text::size(it.size), it.size));
        page.field("pages", &it.pages.join(", "));

        page.heading("Files");
        page.table(it.files.iter().map(|file| [file.name.clone(), format!("{} bytes", file.size)]));

        page.heading("Permissions");
        if it.permissions.is_empty() {
            page.line("  none");
        }
        page.table(it.permissions.iter().flat_map(|permission| {
            let need = if permission.required { "required" } else { "optional" };
            let scope = inspect::scope(&permission.scope);
            let can = if scope.is_empty() {
                permission.can.clone()
            } else {
                format!("{} ({scope})", permission.can)
            };
            let row =
                [permission.name.clone(), permission.risk.to_owned(), need.to_owned(), format!("can {can}")];
            let reason = permission.reason.iter();
            std::iter::once(row).chain(
                reason.map(|reason| [String::new(), String::new(), String::new(), format!("\"{reason}\"")]),
            )
        }));

        page.heading("Imports");
        if it.imports.is_empty() {
            page.line("  none");
        }
        page.table(it.imports.iter().map(|import| {
            let need = import
                .permission
                .as_deref()
                .map_or("needs no permission".to_owned(), |name| format!("needs {name}"));
            [import.name.clone(), need]
        }));

        page.heading("Signatures");
        match &it.signatures {
            None => page.line("  none; `mpkg sign FILE --key KEY` signs it"),
            Some(signatures) => show_signatures(signatures, page),
        }
    }
}

fn show_signatures(signatures: &Signatures, page: &mut Page) {
    page.line("  not checked here; `mpkg verify FILE --trust ROOT` does that");
    if let Some(publisher) = &signatures.publisher {
        page.field("publisher", publisher);
    }
    for key in &signatures.key_ids {
        page.field("key id", key);
    }
    if let Some(created) = signatures.statement.as_ref().and_then(|statement| statement.get("created")) {
        page.field("created", created.as_str().unwrap_or_default());
    }
    if let Some(problem) = &signatures.problem {
        page.field("problem", problem);
    }
}

pub(crate) fn run(args: Inspect, printer: Printer) -> Outcome {
    let contents = inspect::contents(&args.file)?;
    printer.result(&Report { file: args.file.display().to_string(), contents })
}
