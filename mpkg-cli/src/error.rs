//! Why a command did not do what it was asked to, in a form that both people and programs can use.

use std::borrow::Cow;
use std::path::Path;

use mpkg_manifest::rules::Rule;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::snippet::Findings;
use crate::{rules, text};

/// What a command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// One failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    exit: Exit,
    code: Cow<'static, str>,
    message: String,
    hint: Option<String>,
    at: Option<Place>,
    findings: Option<Findings>,
    output: Option<String>,
    data: Map<String, Value>,
    told: bool,
}

/// Where in the user's input it went wrong.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Place {
    pub(crate) file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) column: Option<usize>,
}

impl Failure {
    /// A failure under one of this program's own rules.
    pub(crate) fn new(rule: &'static Rule, exit: Exit, message: impl Into<String>) -> Self {
        Self::with_code(rule.code, exit, message)
    }

    /// A failure with the code that a library, or a registry, gave it.
    pub(crate) fn with_code(
        code: impl Into<Cow<'static, str>>,
        exit: Exit,
        message: impl Into<String>,
    ) -> Self {
        let (code, message) = (code.into(), text::redact(message.into()));
        let (hint, at, findings, output, data) = (None, None, None, None, Map::new());
        let inner = Inner { exit, code, message, hint, at, findings, output, data, told: false };
        Self { inner: Box::new(inner) }
    }

    /// A result that has been printed and is not a good one: nothing is left but the exit status.
    pub(crate) fn told(exit: Exit) -> Self {
        let mut failure = Self::with_code("", exit, "");
        failure.inner.told = true;
        failure
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.inner.message
    }

    /// The code.
    pub(crate) fn code(&self) -> &str {
        &self.inner.code
    }

    /// Whether there is nothing left to print.
    pub(crate) fn is_told(&self) -> bool {
        self.inner.told
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(&rules::USAGE, Exit::Usage, message)
    }

    /// A mistake in this program, not in what it was given.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(&rules::INTERNAL, Exit::Failed, message)
            .hint("This is a bug in mpkg. Please report it with the command you typed.")
    }

    /// Reading `path` failed.
    pub(crate) fn read(path: &Path, source: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let failure = Self::new(
            &rules::READ,
            Exit::Failed,
            format!("could not read {}: {}", path.display(), reason(source)),
        );
        match source.kind() {
            Kind::NotFound => failure.hint("Check the path; it is relative to the folder you are in."),
            Kind::PermissionDenied => failure.hint(format!("Look at its rights: ls -ld {}", shell(path))),
            Kind::IsADirectory => failure.hint("A file is expected here, not a folder."),
            _ => failure,
        }
    }

    /// Writing `path` failed.
    pub(crate) fn write(path: &Path, source: &std::io::Error) -> Self {
        let message = format!("could not write {}: {}", path.display(), reason(source));
        let failure = Self::new(&rules::WRITE, Exit::Failed, message);
        match (source.kind(), path.parent()) {
            (std::io::ErrorKind::NotFound, Some(parent)) => {
                failure.hint(format!("Create the folder first: mkdir -p {}", shell(parent)))
            }
            _ => failure,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(text::redact(hint.into()));
        self
    }

    /// Adds the place.
    #[must_use]
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.inner.at = Some(place);
        self
    }

    /// Adds everything that was found wrong in one source file.
    #[must_use]
    pub(crate) fn findings(mut self, findings: Findings) -> Self {
        self.inner.findings = Some(findings);
        self
    }

    /// Adds what another program printed before it failed.
    #[must_use]
    pub(crate) fn output(mut self, output: impl Into<String>) -> Self {
        self.inner.output = Some(output.into());
        self
    }

    /// Adds a member to the JSON form.
    #[must_use]
    pub(crate) fn data(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.inner.data.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.inner.exit
    }

    /// The JSON envelope.
    pub(crate) fn to_json(&self) -> Value {
        let inner = &*self.inner;
        let mut error = Map::new();
        error.insert("code".into(), inner.code.as_ref().into());
        error.insert("message".into(), inner.message.as_str().into());
        error.insert("hint".into(), inner.hint.as_deref().map_or(Value::Null, Value::from));
        if let Some(place) = &inner.at {
            error.insert("at".into(), json!(place));
        }
        if let Some(findings) = &inner.findings {
            error.insert("problems".into(), findings.to_json());
        }
        if let Some(output) = &inner.output {
            error.insert("output".into(), output.as_str().into());
        }
        error.extend(inner.data.clone());
        json!({ "error": error })
    }

    /// The text for people, with ANSI styles, ending in a line break.
    pub(crate) fn to_human(&self) -> String {
        let inner = &*self.inner;
        let mut page = String::new();
        if let Some(findings) = &inner.findings {
            page.push_str(&findings.to_human());
        }
        if let Some(output) = &inner.output {
            for line in text::lines(output).lines() {
                page.push_str(&format!("  │ {line}\n"));
            }
        }
        let (bad, dim, bold) = (crate::style::ERROR, crate::style::DIM, crate::style::BOLD);
        let message = text::one_line(&inner.message);
        let code = text::one_line(&inner.code);
        page.push_str(&format!("{bad}error[{code}]{bad:#}{bold}: {message}{bold:#}\n"));
        if let Some(Place { file, line, column }) = &inner.at {
            let numbers: String = [line, column].into_iter().flatten().map(|n| format!(":{n}")).collect();
            page.push_str(&format!("  {dim}-->{dim:#} {}{numbers}\n", text::one_line(file)));
        }
        if let Some(hint) = &inner.hint {
            page.push_str(&format!(
                "  {dim}hint:{dim:#} {}\n",
                text::lines(hint).replace('\n', "\n        ")
            ));
        }
        page
    }
}

/// The reason in an operating system's words, without the number that Rust adds.
pub(crate) fn reason(source: &std::io::Error) -> String {
    let text = source.to_string();
    match text.find(" (os error") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// A path as a shell takes it.
pub(crate) fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
