//! Looking at a project and its surroundings: what keeps it from building, and its keys from being safe.

mod checks;
mod git;
mod keys;
mod locks;
mod manifest;
mod tools;

use std::path::Path;

use serde::Serialize;

pub(crate) use checks::CHECKS;

use crate::error::{Failure, Outcome};
use crate::ops::build::{Kind, Toolchain};
use crate::ops::finding::Finding;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    pub(crate) findings: Vec<Finding>,
    pub(crate) tools: Vec<Tool>,
}

/// A tool that would take part in a build.
#[derive(Debug, Serialize)]
pub(crate) struct Tool {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// A finding with a fix that can do no harm.
struct Fixable {
    finding: Finding,
    apply: Box<dyn FnOnce() -> Result<(), String>>,
}

/// What the checks fill.
#[derive(Default)]
struct Findings {
    told: Vec<Finding>,
    fixable: Vec<Fixable>,
}

impl Findings {
    fn tell(&mut self, finding: Finding) {
        self.told.push(finding);
    }

    /// `apply` answers why it did not work.
    fn offer(&mut self, finding: Finding, apply: impl FnOnce() -> Result<(), String> + 'static) {
        self.fixable.push(Fixable { finding: Finding { fixable: true, ..finding }, apply: Box::new(apply) });
    }

    /// All of them, fixed where that is wanted and works.
    fn settle(self, fix: bool) -> Vec<Finding> {
        let settled = self.fixable.into_iter().map(|Fixable { mut finding, apply }| {
            if fix {
                match apply() {
                    Ok(()) => finding.fixed = true,
                    Err(why) => finding.message = format!("{}; the fix did not work: {why}", finding.message),
                }
            }
            finding
        });
        let mut all: Vec<Finding> = self.told.into_iter().chain(settled).collect();
        all.sort_by_key(|finding| finding.code);
        all
    }
}

/// Looks at the project in `dir`, and with `fix` applies what is safe.
pub(crate) fn examine(dir: &Path, toolchain: &Toolchain, fix: bool) -> Outcome<Diagnosis> {
    std::fs::read_dir(dir).map_err(|error| Failure::read(dir, &error))?;
    let mut findings = Findings::default();
    let kind = match Kind::of(dir) {
        Ok(kind) => Some(kind),
        Err(error) => {
            findings.tell(Finding::new(&checks::NO_BUILD_FILE, error.to_string()));
            None
        }
    };
    manifest::check(dir, &mut findings);
    let tools = kind.map(|kind| tools::check(kind, dir, toolchain, &mut findings)).unwrap_or_default();
    // Elsewhere than in a project, keys are somebody else's business: a fix in `/` would lock servers out of theirs.
    if kind.is_some() || dir.join(crate::ops::manifest::NAME).is_file() {
        keys::check(dir, &mut findings);
    }
    if let Some(kind) = kind {
        locks::check(kind, dir, &mut findings);
    }
    Ok(Diagnosis { findings: findings.settle(fix), tools })
}
