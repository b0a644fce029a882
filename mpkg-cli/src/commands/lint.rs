//! `mpkg lint`

use serde::Serialize;

use crate::cli;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::finding;
use crate::ops::lint::{self, Review, Sizes};
use crate::output::{Page, Printer, View};
use crate::text;

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    passed: bool,
    #[serde(flatten)]
    review: Review,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        self.review.findings.iter().for_each(|finding| finding.human(page));
        page.headline("Looked at", &format!("{}: {}", self.file, finding::summary(&self.review.findings)));
        show(&self.review.sizes, page);
    }
}

fn show(sizes: &Sizes, page: &mut Page) {
    let share = |size: u64| format!("{} %", (size * 100).checked_div(sizes.total).unwrap_or_default());
    page.heading(&format!("Where the bytes are ({})", text::size(sizes.total)));
    page.table(sizes.files.iter().map(|file| [file.name.clone(), text::size(file.size), share(file.size)]));
    if sizes.other_files > 0 {
        page.line(&format!("  and {}", text::count(sizes.other_files, "smaller file")));
    }
    let Some(component) = &sizes.component else { return };
    page.heading("In the component");
    let parts =
        [("code", component.code), ("data", component.data), ("types, imports, tables", component.other)];
    let parts = parts.map(|(name, size)| [name.to_owned(), text::size(size), String::new()]);
    let custom = component.custom.iter().map(|section| {
        let note = if section.strippable { "can be stripped" } else { "" };
        [format!("custom section {}", section.name), text::size(section.size), note.to_owned()]
    });
    page.table(parts.into_iter().chain(custom));
}

pub(crate) fn run(args: cli::Lint, printer: Printer) -> Outcome {
    let review = lint::lint(&args.path, &args.allow)?;
    let failed = review.findings.iter().any(|finding| args.strict || finding.is_error());
    printer.result(&Report { file: args.path.display().to_string(), passed: !failed, review })?;
    if failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}
