//! `mpkg doctor`

use serde::Serialize;

use crate::cli;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::doctor::{self, Diagnosis};
use crate::ops::finding;
use crate::output::{Page, Printer, View};
use crate::progress::Progress;

#[derive(Debug, Serialize)]
struct Report {
    dir: String,
    healthy: bool,
    #[serde(flatten)]
    diagnosis: Diagnosis,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        self.diagnosis.findings.iter().for_each(|finding| finding.human(page));
        page.headline("Looked at", &format!("{}: {}", self.dir, finding::summary(&self.diagnosis.findings)));
        page.table(self.diagnosis.tools.iter().map(|tool| [tool.name.clone(), tool.version.clone()]));
        if self.diagnosis.findings.iter().any(|finding| finding.fixable && !finding.fixed) {
            page.gap();
            page.line("`mpkg doctor --fix` applies the fixes that are safe.");
        }
    }
}

pub(crate) fn run(args: cli::Doctor, printer: Printer) -> Outcome {
    let toolchain = super::build::toolchain(args.toolchain)?;
    let progress = Progress::start(printer, "looking around");
    let diagnosis = doctor::examine(&args.dir, &toolchain, args.fix);
    drop(progress);
    let diagnosis = diagnosis?;
    let failed = diagnosis.findings.iter().any(finding::Finding::is_error);
    printer.result(&Report { dir: args.dir.display().to_string(), healthy: !failed, diagnosis })?;
    if failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}
