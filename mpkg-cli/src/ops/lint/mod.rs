//! Looking at a package, or at a project before it becomes one, with the eyes of a reviewer.
//!
//! Nothing here refuses a package: that is what the package's own rules do. These are the mistakes that every rule
//! lets pass and that somebody regrets later.

mod checks;
mod icons;
mod image;
mod language;
mod permissions;
mod references;
mod secrets;
mod sizes;
mod subject;

use std::path::Path;

use serde::Serialize;

pub(crate) use checks::CHECKS;
pub(crate) use sizes::Sizes;
use subject::Subject;

use crate::error::{Failure, Outcome};
use crate::ops::finding::Finding;

/// What was found in one package or project.
#[derive(Debug, Serialize)]
pub(crate) struct Review {
    pub(crate) findings: Vec<Finding>,
    pub(crate) sizes: Sizes,
}

/// Looks at the package or project at `path`; checks in `allowed` are not reported.
pub(crate) fn lint(path: &Path, allowed: &[String]) -> Outcome<Review> {
    let allowed = allowed.iter().map(|text| known(text)).collect::<Outcome<Vec<&str>>>()?;
    let subject = if path.is_dir() { Subject::project(path)? } else { Subject::package(path)? };
    let mut findings = Vec::new();
    secrets::check(&subject, &mut findings);
    references::check(&subject, &mut findings);
    let sizes = sizes::measure(&subject, &mut findings);
    permissions::check(&subject, &mut findings);
    icons::check(&subject, &mut findings);
    language::check(&subject, &mut findings);
    findings.retain(|finding| !allowed.contains(&finding.code));
    findings.sort_by_key(|finding| (finding.severity, finding.code));
    Ok(Review { findings, sizes })
}

/// The code of a check, which may be written without its prefix and in any case.
fn known(text: &str) -> Outcome<&'static str> {
    let typed = text.trim().to_ascii_uppercase();
    let full = if typed.starts_with("MPKG-") { typed } else { format!("MPKG-{typed}") };
    let codes = CHECKS.iter().map(|check| check.rule.code);
    codes.clone().find(|code| *code == full).ok_or_else(|| {
        let codes: Vec<&str> = codes.collect();
        Failure::usage(format!("`{text}` is no check of lint"))
            .hint(format!("There are {}.", codes.join(", ")))
    })
}
