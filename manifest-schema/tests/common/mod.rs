//! Test data and how problems are written down.
#![allow(dead_code)]

use std::fmt::Write as _;
use std::path::PathBuf;

use mpkg_manifest::{Problem, Severity, line_col};

/// The inputs of `tests/{folder}`, by name.
pub fn inputs(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} holds no inputs", folder.display());
    inputs
}

/// Problems as text: severity and code, from-to as line:column, pointer, the bytes pointed at, and what was
/// said.
pub fn render(source: &[u8], problems: &[Problem]) -> String {
    let mut out = String::new();
    for problem in problems {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (line, column) = problem.line_col(source);
        let (end_line, end_column) = line_col(source, problem.span.end);
        writeln!(
            out,
            "{severity}[{}] {line}:{column}-{end_line}:{end_column} {}",
            problem.code, problem.path
        )
        .unwrap();
        let pointed_at = problem.span.of(source).unwrap_or_default();
        let pointed_at: String = String::from_utf8_lossy(pointed_at).chars().take(60).collect();
        let shown: String = pointed_at.chars().map(visible).collect();
        writeln!(out, "  points at: {shown}").unwrap();
        writeln!(out, "  {}", problem.message).unwrap();
        for (what, text) in
            [("expected", &problem.expected), ("suggestion", &problem.suggestion), ("help", &problem.help)]
        {
            if let Some(text) = text {
                writeln!(out, "  {what}: {text}").unwrap();
            }
        }
    }
    if out.is_empty() { "nothing to say\n".to_owned() } else { out }
}

fn visible(c: char) -> String {
    if mpkg_manifest::is_unsafe_char(c) { c.escape_default().to_string() } else { c.to_string() }
}
