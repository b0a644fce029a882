//! What a manifest gets told: one [`Problem`] for each thing that is wrong with it.

use std::fmt;

use crate::json::JsonError;
use crate::span::{Span, line_col};

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The manifest is refused.
    Error,
    /// The manifest is accepted, but its author probably wants to know.
    Warning,
}

/// One complaint about a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable rule code, such as `MPKG-M15`; see [`crate::rules::RULES`].
    pub code: &'static str,
    /// Whether it refuses the manifest.
    pub severity: Severity,
    /// JSON pointer to the place, such as `/req_permissions/0/name`; empty for the whole document.
    pub path: String,
    /// The bytes that the complaint is about.
    pub span: Span,
    /// One sentence without a full stop. Text from the manifest in it is escaped.
    pub message: String,
    /// What would be right here.
    pub expected: Option<String>,
    /// A valid name near the one that was written.
    pub suggestion: Option<String>,
    /// What to do, where the message alone does not say it.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn error(code: &'static str, path: String, span: Span, message: String) -> Self {
        let severity = Severity::Error;
        Self { code, severity, path, span, message, expected: None, suggestion: None, help: None }
    }

    /// Line and column of the start of the complaint, both from 1, columns in characters.
    #[must_use]
    pub fn line_col(&self, source: &[u8]) -> (usize, usize) {
        line_col(source, self.span.start)
    }

    /// Whether this refuses the manifest.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn suggestion(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        Ok(())
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let path = escape(error.pointer());
        let problem = Self::error(error.code(), path, error.span(), error.to_string());
        match error.hint() {
            Some(hint) => problem.help(hint),
            None => problem,
        }
    }
}

/// A pointer may hold keys from a hostile document; it is printed like the rest.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if crate::text::is_unsafe_char(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Quotes text from a manifest for a message: escaped, and cut when long, so that it can neither move a
/// terminal's cursor nor reorder the sentence around it, nor drown it.
pub(crate) fn quote(text: &str) -> String {
    format!("`{}`", shorten(text, 64))
}

/// The same without quotes: at most so many characters, those that do something to a terminal spelled out.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == longest {
            out.push('…');
            break;
        }
        if crate::text::is_unsafe_char(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}
