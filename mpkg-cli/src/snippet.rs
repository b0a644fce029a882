//! Problems in a source file, shown with the line they are on.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use mpkg_manifest::{Problem, line_col};
use serde_json::{Value, json};

use crate::text;

/// All that was found in one file, in the order of the file.
#[derive(Debug)]
pub(crate) struct Findings {
    file: String,
    source: Vec<u8>,
    problems: Vec<Problem>,
}

impl Findings {
    /// `problems` in `source`, which people know as `file`.
    pub(crate) fn new(file: String, source: Vec<u8>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        Self { file, source, problems }
    }

    /// One JSON object for each problem.
    pub(crate) fn to_json(&self) -> Value {
        self.problems.iter().map(|problem| self.problem_json(problem)).collect()
    }

    fn problem_json(&self, problem: &Problem) -> Value {
        let (line, column) = line_col(&self.source, problem.span.start);
        json!({
            "code": problem.code,
            "severity": if problem.is_error() { "error" } else { "warning" },
            "message": problem.message,
            "pointer": problem.path,
            "at": { "file": self.file, "line": line, "column": column },
            "expected": problem.expected,
            "suggestion": problem.suggestion,
            "hint": problem.help,
        })
    }

    /// The line and column of the first problem.
    pub(crate) fn first_place(&self) -> Option<crate::error::Place> {
        let (line, column) = line_col(&self.source, self.problems.first()?.span.start);
        Some(crate::error::Place { file: self.file.clone(), line: Some(line), column: Some(column) })
    }

    /// One snippet for each problem, with ANSI styles.
    pub(crate) fn to_human(&self) -> String {
        let (source, at) = displayable(&self.source);
        let renderer = Renderer::styled();
        let file = text::one_line(&self.file);
        let mut page = String::new();
        for problem in &self.problems {
            let level = if problem.is_error() { Level::ERROR } else { Level::WARNING };
            let mut span = at(problem.span.start)..at(problem.span.end);
            // An empty span at the end of the text still needs something to point at.
            if span.is_empty() {
                span.end = (span.start + 1).min(source.len().max(span.start));
            }
            let label =
                problem.expected.as_deref().map(|expected| format!("expected {}", text::one_line(expected)));
            let annotation = AnnotationKind::Primary.span(span).label(label.map(std::borrow::Cow::Owned));
            let mut group = level
                .primary_title(text::one_line(&problem.message))
                .id(problem.code)
                .element(Snippet::source(source.as_str()).path(file.as_ref()).annotation(annotation));
            if let Some(name) = &problem.suggestion {
                group =
                    group.element(Level::HELP.message(format!("did you mean `{}`?", text::one_line(name))));
            }
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(text::one_line(help)));
            }
            page.push_str(&renderer.render(&[group]));
            page.push_str("\n\n");
        }
        page
    }
}

/// The source as text that is safe to show, and a function from byte positions in `source` to positions in it.
fn displayable(source: &[u8]) -> (String, impl Fn(usize) -> usize + '_) {
    let shown = text::same_length(&String::from_utf8_lossy(source));
    let valid = std::str::from_utf8(source).is_ok();
    let at = move |offset: usize| {
        let offset = offset.min(source.len());
        match source.get(..offset) {
            // Replacing a broken sequence changes lengths before the offset.
            Some(before) if !valid => String::from_utf8_lossy(before).len(),
            _ => offset,
        }
    };
    (shown, at)
}
