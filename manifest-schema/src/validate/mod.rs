//! Checking a manifest: every problem in one run.
//!
//! The checks walk the tree with spans and complain; the typed manifest is read by serde afterwards, only when there
//! was nothing to refuse. One mistake should cause one complaint, so a check stays silent about what follows from
//! something already said.

mod check;
mod mpkg;
mod permissions;
mod refusal;
mod w3c;
mod window;

use crate::codes;
use crate::json::{self, JsonError, Limits};
use crate::manifest::{Manifest, Parsed};
use crate::problem::Problem;
use crate::span::Span;
use check::{At, Check};

pub(crate) fn manifest(source: &[u8]) -> Result<Parsed, Vec<Problem>> {
    let (node, errors) = json::parse_all(source, Limits::MANIFEST).map_err(|error| vec![error.into()])?;
    let mut check = Check { problems: errors.into_iter().map(Problem::from).collect() };
    w3c::root(&mut check, &At::root(&node));
    let mut problems = check.problems;
    if !problems.iter().any(Problem::is_error) {
        match json::read::<Manifest>(source, Limits::MANIFEST) {
            Ok(manifest) => {
                problems.sort_by_key(|problem| problem.span.start);
                return Ok(Parsed { manifest, warnings: problems, node });
            }
            Err(error) => problems.push(disagreement(&error)),
        }
    }
    problems.sort_by_key(|problem| problem.span.start);
    Err(problems)
}

/// The types refuse what the checks let pass. Tests hold the two together; should they part, the document is refused.
fn disagreement(error: &JsonError) -> Problem {
    let span = Span::new(error.offset(), error.offset() + 1);
    Problem::error(codes::TYPE, String::new(), span, error.to_string())
}
