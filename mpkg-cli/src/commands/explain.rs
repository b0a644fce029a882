//! `mpkg explain`

use serde::Serialize;

use crate::cli::Explain;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::explain::{self, Entry};
use crate::output::{Page, Printer, View};
use crate::rules;

impl View for Entry {
    fn human(&self, page: &mut Page) {
        page.headline(&self.code, &self.title);
        page.gap();
        page.paragraph(&self.why);
        if let Some(fix) = &self.fix {
            page.heading("What to do");
            page.paragraph(fix);
        }
    }
}

#[derive(Debug, Serialize)]
struct List {
    codes: Vec<Entry>,
}

impl View for List {
    fn human(&self, page: &mut Page) {
        page.table(self.codes.iter().map(|entry| [entry.code.clone(), entry.title.clone()]));
    }
}

pub(crate) fn run(args: Explain, printer: Printer) -> Outcome {
    let Some(code) = args.code else {
        return printer.result(&List { codes: explain::all() });
    };
    match explain::find(&code) {
        Ok(entry) => printer.result(&entry),
        Err(nearest) => {
            let hint = match nearest {
                Some(nearest) => format!("Did you mean `{nearest}`? `mpkg explain --list` prints all codes."),
                None => "`mpkg explain --list` prints all codes.".to_owned(),
            };
            Err(Failure::new(&rules::UNKNOWN_CODE, Exit::Usage, format!("there is no code `{code}`"))
                .hint(hint))
        }
    }
}
