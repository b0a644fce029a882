//! `mpkg import`

use serde::Serialize;

use crate::cli;
use crate::error::{Outcome, shell};
use crate::ops::import::{self, Fate, Note};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    dir: String,
    app_id: String,
    name: String,
    files: Vec<String>,
    notes: Vec<Note>,
    next_steps: Vec<String>,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Imported", &format!("{} ({}) into {}", self.name, self.app_id, self.dir));
        self.files.iter().for_each(|file| page.line(&format!("  {file}")));
        page.line("  sdk/");
        for (fate, heading) in
            [(Fate::Repaired, "Repaired"), (Fate::Lost, "Lost"), (Fate::ByHand, "Left to do by hand")]
        {
            let mut notes = self.notes.iter().filter(|note| note.fate == fate).peekable();
            if notes.peek().is_none() {
                continue;
            }
            page.heading(heading);
            for note in notes {
                page.line(&format!("  - {}", note.what));
                page.line(&format!("    [{}]", note.section));
            }
        }
        page.heading("Next steps");
        self.next_steps.iter().for_each(|step| page.command(step));
    }
}

pub(crate) fn run(args: cli::Import, printer: Printer) -> Outcome {
    let imported = import::import(&args.file, &args.out)?;
    printer.result(&Report {
        file: args.file.display().to_string(),
        dir: args.out.display().to_string(),
        app_id: imported.app_id,
        name: imported.name,
        files: imported.files,
        notes: imported.notes,
        next_steps: vec![
            format!("cd {}", shell(&args.out)),
            "mpkg doctor".to_owned(),
            "mpkg build -o app.mpkg".to_owned(),
            "mpkg lint app.mpkg".to_owned(),
        ],
    })
}
