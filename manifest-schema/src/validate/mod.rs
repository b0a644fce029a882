//! Checking a manifest: every problem in one run.
//!
//! The checks walk the tree with spans and complain; the typed manifest is read by serde afterwards, only
//! when there was nothing to refuse. One mistake should cause one complaint, so a check stays silent about
//! what follows from something already said.

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
    let (node, errors) = match json::parse_all(source, Limits::MANIFEST) {
        Ok(read) => read,
        Err(error) => return Err(finish(source, vec![error.into()])),
    };
    let mut check = Check { problems: errors.into_iter().map(Problem::from).collect() };
    w3c::root(&mut check, &At::root(&node));
    let mut problems = check.problems;
    if !problems.iter().any(Problem::is_error) {
        match json::from_node::<Manifest>(source, &node) {
            Ok(manifest) => return Ok(Parsed { manifest, warnings: finish(source, problems), node }),
            Err(error) => problems.push(disagreement(&error)),
        }
    }
    Err(finish(source, problems))
}

/// Puts problems in order, and their spans inside the source and on whole characters, so that whoever shows
/// them can slice without a second look.
fn finish(source: &[u8], mut problems: Vec<Problem>) -> Vec<Problem> {
    let inside_character = |at: usize| source.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    for problem in &mut problems {
        let Span { mut start, mut end } = problem.span;
        end = end.min(source.len());
        start = start.min(end);
        while start > 0 && inside_character(start) {
            start -= 1;
        }
        while inside_character(end) {
            end += 1;
        }
        problem.span = Span::new(start, end);
    }
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

/// The types refuse what the checks let pass. Tests hold the two together; should they part, the document is
/// refused.
fn disagreement(error: &JsonError) -> Problem {
    let span = Span::new(error.offset(), error.offset() + 1);
    Problem::error(codes::TYPE, String::new(), span, error.to_string())
}
