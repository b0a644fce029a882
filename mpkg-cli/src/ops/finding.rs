//! What a verb that looks around has to say: findings, each under a check with a code.

use mpkg_manifest::Severity;
use mpkg_manifest::rules::Rule;
use serde::{Serialize, Serializer};

use crate::error::Place;
use crate::output::Page;

/// A rule that advises rather than refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Check {
    /// Code, what, why and fix.
    pub(crate) rule: Rule,
    /// How bad it is.
    pub(crate) severity: Severity,
}

/// A table of checks: a constant for each, and `CHECKS` with all of them.
macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $severity:ident, $title:literal, $why:literal, $fix:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) const $name: $crate::ops::finding::Check = $crate::ops::finding::Check {
                rule: mpkg_manifest::rules::Rule { code: $code, title: $title, attack: $why, fix: $fix },
                severity: mpkg_manifest::Severity::$severity,
            };
        )*
        /// Every check of this table, by code.
        pub(crate) const CHECKS: &[$crate::ops::finding::Check] = &[$($name),*];
    };
}
pub(crate) use checks;

/// One thing that was found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    #[serde(serialize_with = "word")]
    pub(crate) severity: Severity,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Place>,
    /// Byte in a file that has no lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<usize>,
    pub(crate) fix: String,
    /// Whether `--fix` would apply the fix.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fixable: bool,
    /// Whether the fix was applied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fixed: bool,
}

impl Finding {
    /// A finding with the fix that its check gives.
    pub(crate) fn new(check: &Check, message: impl Into<String>) -> Self {
        Self {
            code: check.rule.code,
            severity: check.severity,
            message: message.into(),
            at: None,
            offset: None,
            fix: check.rule.fix.to_owned(),
            fixable: false,
            fixed: false,
        }
    }

    /// Adds the file.
    #[must_use]
    pub(crate) fn file(mut self, file: impl Into<String>) -> Self {
        self.at = Some(Place { file: file.into(), line: None, column: None });
        self
    }

    /// Adds the place in a text.
    #[must_use]
    pub(crate) fn place(mut self, file: impl Into<String>, (line, column): (usize, usize)) -> Self {
        self.at = Some(Place { file: file.into(), line: Some(line), column: Some(column) });
        self
    }

    /// Replaces the check's fix by one for this very case.
    #[must_use]
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Whether it makes the verb fail.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error && !self.fixed
    }

    /// Writes it for people.
    pub(crate) fn human(&self, page: &mut Page) {
        page.flag(self.severity, self.code, &self.message);
        if let Some(place) = &self.at {
            let numbers: String =
                [place.line, place.column].into_iter().flatten().map(|number| format!(":{number}")).collect();
            let byte = self.offset.map(|offset| format!(" (byte {offset})")).unwrap_or_default();
            page.line(&format!("  --> {}{numbers}{byte}", place.file));
        }
        page.line(&format!("  {}: {}", if self.fixed { "fixed" } else { "fix" }, self.fix));
        page.gap();
    }
}

/// The word for a severity.
pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn word<S: Serializer>(value: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity(*value))
}

/// How many findings there are, in words.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let fixed = findings.iter().filter(|finding| finding.fixed).count();
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - fixed - errors;
    let mut parts = Vec::new();
    for (number, thing) in [(errors, "error"), (warnings, "warning")] {
        if number > 0 {
            parts.push(crate::text::count(number, thing));
        }
    }
    if fixed > 0 {
        parts.push(format!("{fixed} fixed"));
    }
    if parts.is_empty() { "nothing to complain about".to_owned() } else { parts.join(", ") }
}
