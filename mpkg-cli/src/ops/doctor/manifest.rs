//! Whether the manifest is there and valid.

use std::path::Path;

use mpkg_manifest::Manifest;
use mpkg_manifest::json::Limits;

use super::{Findings, checks};
use crate::ops::files;
use crate::ops::finding::Finding;
use crate::ops::manifest::NAME;

pub(super) fn check(dir: &Path, findings: &mut Findings) {
    let path = dir.join(NAME);
    let Ok(source) = files::read(&path, Limits::MANIFEST.max_bytes as u64) else {
        let message = format!("there is no {NAME} that can be read");
        findings.tell(Finding::new(&checks::NO_MANIFEST, message).file(path.display().to_string()));
        return;
    };
    let problems = match Manifest::parse(&source) {
        Ok(parsed) => parsed.warnings,
        Err(problems) => problems,
    };
    for problem in problems {
        let message = format!("{problem} ({})", problem.code);
        let finding = Finding::new(&checks::MANIFEST, message);
        let finding = Finding { severity: problem.severity, ..finding };
        let finding = finding.place(path.display().to_string(), problem.line_col(&source));
        findings.tell(match problem.help {
            Some(help) => finding.fix(help),
            None => finding.fix(format!("Correct it; `mpkg explain {}` tells more.", problem.code)),
        });
    }
}
