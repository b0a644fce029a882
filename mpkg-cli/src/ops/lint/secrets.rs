//! Secrets in what everybody will be able to read.

use regex::bytes::{Captures, Regex, RegexSet};
use wasmparser::{Parser, Payload};

use super::checks;
use super::subject::{File, Subject};
use crate::ops::finding::{Check, Finding};
use crate::ops::manifest::NAME;

/// Findings of one kind in one file; a file full of keys needs no longer list.
const MOST: usize = 10;
/// Bits for each character from which on a value looks drawn at random. English words stay below.
const RANDOM: f64 = 3.2;

/// The shape of a secret.
struct Shape {
    check: &'static Check,
    what: &'static str,
    pattern: &'static str,
    /// The group of the pattern that is the secret itself.
    group: usize,
    genuine: fn(&str) -> bool,
}

/// A shape whose pattern says it all.
const fn shape(check: &'static Check, what: &'static str, pattern: &'static str) -> Shape {
    Shape { check, what, pattern, group: 0, genuine: not_an_example }
}

const SHAPES: &[Shape] = &[
    // A library that reads keys holds the first line as well; only what follows it makes a key.
    shape(
        &checks::PRIVATE_KEY,
        "a private key in PEM",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[rn]|[A-Za-z-]+: [^\r\n\\]*)*[A-Za-z0-9+/]{40}",
    ),
    shape(&checks::TOKEN, "an AWS access key id", r"(?-u:\b)(?:AKIA|ASIA)[A-Z2-7]{16}(?-u:\b)"),
    shape(&checks::TOKEN, "a GitHub token", r"(?-u:\b)gh[pousr]_[A-Za-z0-9]{36}(?-u:\b)"),
    shape(&checks::TOKEN, "a GitHub token", r"(?-u:\b)github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}(?-u:\b)"),
    shape(&checks::TOKEN, "a GitLab token", r"(?-u:\b)glpat-[A-Za-z0-9_-]{20}(?-u:\b)"),
    shape(&checks::TOKEN, "an npm token", r"(?-u:\b)npm_[A-Za-z0-9]{36}(?-u:\b)"),
    shape(&checks::TOKEN, "a Slack token", r"(?-u:\b)xox[abeoprs]-[0-9]{8,}-[A-Za-z0-9-]{10,}"),
    shape(
        &checks::TOKEN,
        "a Slack webhook",
        r"hooks\.slack\.com/services/T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{20,}",
    ),
    shape(&checks::TOKEN, "a Google API key", r"(?-u:\b)AIza[A-Za-z0-9_-]{35}(?:[^A-Za-z0-9_-]|$)"),
    shape(&checks::TOKEN, "a Stripe key", r"(?-u:\b)[rs]k_live_[A-Za-z0-9]{24,}(?-u:\b)"),
    shape(
        &checks::JWT,
        "a JSON Web Token",
        r"(?-u:\b)eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,}",
    ),
    Shape {
        check: &checks::SECRET,
        what: "what looks like an app secret or API key",
        // `app_secret: "…"`, `"appSecret": "…"`, `const API_KEY: &str = "…"`.
        pattern: concat!(
            r"(?i)(?:app|client|api|access|auth|secret|signing|encryption|private)[_-]?(?:secret|key|token|password)",
            r#"\\?["'`]?(?:\s*:[^="'`\r\n]{0,40}=|\s*(?:=>|=|:))\s*\\?["'`]([^"'`\s\\]{16,200})\\?["'`]"#,
        ),
        group: 1,
        genuine: looks_random,
    },
];

/// A stretch of bytes to search: a text, or a string inside a component.
struct Region<'a> {
    data: &'a [u8],
    /// Where in the file it begins.
    offset: usize,
}

pub(super) fn check(subject: &Subject, findings: &mut Vec<Finding>) {
    let Some(scanner) = Scanner::new() else { return };
    let manifest = Region { data: &subject.source, offset: 0 };
    scanner.scan(NAME, &[manifest], true, findings);
    for file in subject.files.iter().chain(&subject.sources) {
        scanner.scan(&file.name, &[Region { data: &file.data, offset: 0 }], file.text().is_some(), findings);
    }
    if let Some(component) = &subject.component {
        scanner.scan(&component.name, &strings(component), false, findings);
    }
}

/// Where a component keeps strings. Its code is left out: there, bytes look like anything.
fn strings(component: &File) -> Vec<Region<'_>> {
    let mut regions = Vec::new();
    for payload in Parser::new(0).parse_all(&component.data) {
        match payload {
            Ok(Payload::DataSection(section)) => {
                for data in section.into_iter().flatten() {
                    regions.push(Region { data: data.data, offset: data.range.end - data.data.len() });
                }
            }
            Ok(Payload::CustomSection(section)) => {
                regions.push(Region { data: section.data(), offset: section.data_offset() });
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    regions
}

/// All shapes, ready to be searched for.
struct Scanner {
    any: RegexSet,
    each: Vec<Regex>,
}

impl Scanner {
    fn new() -> Option<Self> {
        let patterns = SHAPES.iter().map(|shape| shape.pattern);
        let each = patterns.clone().map(Regex::new).collect::<Result<_, _>>().ok()?;
        Some(Self { any: RegexSet::new(patterns).ok()?, each })
    }

    fn scan(&self, file: &str, regions: &[Region<'_>], has_lines: bool, findings: &mut Vec<Finding>) {
        for region in regions {
            for index in self.any.matches(region.data) {
                let (Some(shape), Some(pattern)) = (SHAPES.get(index), self.each.get(index)) else {
                    continue;
                };
                let genuine =
                    pattern.captures_iter(region.data).filter_map(|captures| shape.secret(&captures));
                for (at, secret) in genuine.take(MOST) {
                    // Never the secret itself: reports are kept, mailed and pasted.
                    let message = format!("{file} holds {}: {}", shape.what, redact(shape, &secret));
                    let finding = Finding::new(shape.check, message);
                    findings.push(if has_lines {
                        finding.place(file, mpkg_manifest::line_col(region.data, at))
                    } else {
                        Finding { offset: Some(region.offset + at), ..finding.file(file) }
                    });
                }
            }
        }
    }
}

impl Shape {
    /// Where the secret begins, and the secret.
    fn secret(&self, captures: &Captures<'_>) -> Option<(usize, String)> {
        let found = captures.get(self.group)?;
        let text = String::from_utf8_lossy(found.as_bytes()).into_owned();
        (self.genuine)(&text).then_some((found.start(), text))
    }
}

fn redact(shape: &Shape, secret: &str) -> String {
    if shape.check.rule.code == checks::PRIVATE_KEY.rule.code {
        return "its text is not shown".to_owned();
    }
    let start: String = secret.chars().take(4).collect();
    format!("{start}… ({} characters)", secret.chars().count())
}

/// Documentation uses keys that say so.
fn not_an_example(text: &str) -> bool {
    !text.to_ascii_uppercase().contains("EXAMPLE")
}

/// Whether a value was drawn at random rather than written by somebody.
fn looks_random(text: &str) -> bool {
    const PLACEHOLDERS: &[&str] = &[
        "example",
        "your",
        "placeholder",
        "change",
        "xxxx",
        "1234",
        "dummy",
        "sample",
        "insert",
        "todo",
        "${",
        "{{",
        "<",
    ];
    let lower = text.to_ascii_lowercase();
    let has = |test: fn(&u8) -> bool| text.as_bytes().iter().any(test);
    !PLACEHOLDERS.iter().any(|word| lower.contains(word))
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !lower.contains("://")
        && entropy(text) >= RANDOM
}

/// Shannon entropy in bits for each byte.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = text.len() as f64;
    let share = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    share.map(|p| -p * p.log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_and_written_values() {
        for random in ["9f86d081884c7d65", "b5bb9d8014a0f9b1d61e21e796d78dcc", "kX9vQ2mT7pLw4RzN"] {
            assert!(looks_random(random), "{random}");
        }
        for written in [
            "your-app-secret-1",
            "xxxxxxxxxxxxxxxx1",
            "com.example.stock1",
            "aaaaaaaaaaaaaaa1",
            "https://a.b/c1d2e3f4",
        ] {
            assert!(!looks_random(written), "{written}");
        }
    }

    #[test]
    fn every_shape_compiles() {
        assert!(Scanner::new().is_some());
    }
}
