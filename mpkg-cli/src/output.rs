//! Everything that this program prints goes through here. Standard output carries the result and nothing else.

use std::io::{IsTerminal, Write};

use mpkg_manifest::Severity;
use serde::Serialize;

use crate::error::{Failure, Outcome};
use crate::snippet::Findings;
use crate::{style, text};

const PROSE_WIDTH: usize = 90;

/// The form of results and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Text for people
    Human,
    /// One JSON document on standard output, for errors too
    Json,
}

/// A result in both forms: `Serialize` is the JSON one.
pub(crate) trait View: Serialize {
    /// Writes the form for people.
    fn human(&self, page: &mut Page);
}

/// Where results, notes and errors go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    format: Format,
    quiet: bool,
    verbose: bool,
}

impl Printer {
    pub(crate) fn new(format: Format, quiet: bool, verbose: bool) -> Self {
        Self { format, quiet, verbose }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether the user sees what is written to standard error, so that a spinner makes sense.
    pub(crate) fn can_animate(self) -> bool {
        !self.quiet && !self.is_json() && std::io::stderr().is_terminal()
    }

    /// Whether a person is there to answer a question.
    pub(crate) fn can_ask(self) -> bool {
        !self.is_json() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Whether details of what tools do are wanted.
    pub(crate) fn is_verbose(self) -> bool {
        self.verbose && !self.is_json()
    }

    /// Prints the result of a command.
    pub(crate) fn result(self, view: &impl View) -> Outcome {
        let text = match self.format {
            Format::Json => self.json_text(view, true)?,
            Format::Human => {
                let mut page = Page::default();
                view.human(&mut page);
                page.text
            }
        };
        self.raw(&text)
    }

    /// Prints one JSON document on one line, as protocols of lines need it.
    pub(crate) fn json_line(self, value: &impl Serialize) -> Outcome {
        let text = self.json_text(value, false)?;
        self.raw(&text)
    }

    /// Prints JSON text that somebody else wrote, on one line.
    pub(crate) fn line(self, json: &str) -> Outcome {
        self.raw(&format!("{}\n", text::json(&json.replace(['\n', '\r'], " "))))
    }

    fn json_text(self, value: &impl Serialize, pretty: bool) -> Outcome<String> {
        let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = text.map_err(|error| Failure::internal(format!("the result is not JSON: {error}")))?;
        Ok(format!("{}\n", text::json(&text)))
    }

    /// Writes text that is ours, styles included, to standard output.
    pub(crate) fn raw(self, text: &str) -> Outcome {
        self.write(text).map(|_| ())
    }

    /// Writes to standard output. False when nobody reads any more.
    fn write(self, text: &str) -> Outcome<bool> {
        written(anstream::stdout().lock(), text)
    }

    /// Shows a result that is shown again and again: a line of JSON, the page in the place of the one before on a
    /// terminal, and `lines` anywhere else. False when nobody reads any more.
    pub(crate) fn again(self, view: &impl View, lines: &[String]) -> Outcome<bool> {
        if self.is_json() {
            return self.write(&self.json_text(view, false)?);
        }
        let stdout = std::io::stdout();
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if dumb || !stdout.is_terminal() {
            let lines: String = lines.iter().map(|line| format!("{}\n", text::one_line(line))).collect();
            return self.write(&lines);
        }
        let mut page = Page::default();
        view.human(&mut page);
        // Past anstream, which would take out the movements of the cursor with the colours.
        let text = match anstream::AutoStream::choice(&stdout) {
            anstream::ColorChoice::Never => anstream::adapter::strip_str(&page.text).to_string(),
            _ => page.text,
        };
        // To the top left, each line cleared to its end as it is written, then all below: nothing flickers.
        written(stdout.lock(), &format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")))
    }

    /// Tells people what goes on, on standard error. Programs are not told.
    pub(crate) fn note(self, verb: &str, what: &str) {
        if !self.quiet && !self.is_json() {
            let good = style::GOOD;
            self.stderr(&format!("{good}{verb:>10}{good:#} {}\n", text::one_line(what)));
        }
    }

    /// Shows people a page of what goes on, on standard error. Programs are not shown it.
    pub(crate) fn aside(self, write: impl FnOnce(&mut Page)) {
        if !self.quiet && !self.is_json() {
            let mut page = Page::default();
            write(&mut page);
            self.stderr(&page.text);
        }
    }

    /// Tells people of something that they should look at.
    pub(crate) fn warn(self, what: &str) {
        if !self.is_json() {
            let style = style::WARNING;
            self.stderr(&format!("{style}warning{style:#}: {}\n", text::lines(what)));
        }
    }

    /// Shows findings that do not stop the command.
    pub(crate) fn findings(self, findings: &Findings) {
        if !self.is_json() {
            self.stderr(&findings.to_human());
        }
    }

    /// Reports a failed command: text on standard error, or the JSON envelope as the only document on standard output.
    pub(crate) fn failure(self, failure: &Failure) {
        match self.format {
            Format::Human => self.stderr(&failure.to_human()),
            // If standard output is gone there is nobody left to tell.
            Format::Json => _ = self.json_text(&failure.to_json(), true).and_then(|text| self.raw(&text)),
        }
    }

    /// Shows what clap says about a wrong command line.
    pub(crate) fn usage(self, text: &str) {
        self.stderr(text);
    }

    fn stderr(self, text: &str) {
        // Nobody to tell if this fails.
        _ = anstream::stderr().lock().write_all(text.as_bytes());
    }
}

fn written(mut stdout: impl Write, text: &str) -> Outcome<bool> {
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // Whoever reads has seen enough (`mpkg inspect … | head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::write(std::path::Path::new("standard output"), &error)),
        Ok(()) => Ok(true),
    }
}

/// A page of text for people. All that is put on it is escaped, so a view cannot forget to.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// What is on it.
    #[cfg(test)]
    pub(crate) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text).to_string()
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(&text::one_line(line));
        self.text.push('\n');
    }

    /// An empty line.
    pub(crate) fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A word that stands out, then the rest of the line.
    pub(crate) fn headline(&mut self, good: &str, rest: &str) {
        let style = style::GOOD;
        self.text.push_str(&format!("{style}{}{style:#} {}\n", text::one_line(good), text::one_line(rest)));
    }

    /// A code that stands out by how bad it is, then what it is about.
    pub(crate) fn flag(&mut self, severity: Severity, code: &str, message: &str) {
        let (style, word) = match severity {
            Severity::Error => (style::ERROR, "error"),
            Severity::Warning => (style::WARNING, "warning"),
        };
        self.text.push_str(&format!("{style}{word}[{code}]{style:#}: {}\n", text::one_line(message)));
    }

    /// A line of several parts, each in its style.
    pub(crate) fn parts(&mut self, parts: &[(anstyle::Style, &str)]) {
        for (style, part) in parts {
            self.text.push_str(&format!("{style}{}{style:#}", text::one_line(part)));
        }
        self.text.push('\n');
    }

    /// The title of a part.
    pub(crate) fn heading(&mut self, title: &str) {
        let style = style::BOLD;
        self.text.push_str(&format!("\n{style}{}{style:#}\n", text::one_line(title)));
    }

    /// A name and its value.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        let style = style::DIM;
        self.text.push_str(&format!(
            "  {style}{:<12}{style:#} {}\n",
            text::one_line(name),
            text::one_line(value)
        ));
    }

    /// A command to type.
    pub(crate) fn command(&mut self, command: &str) {
        let style = style::CODE;
        self.text.push_str(&format!("  {style}{}{style:#}\n", text::one_line(command)));
    }

    /// Prose, broken into lines.
    pub(crate) fn paragraph(&mut self, prose: &str) {
        let mut width = 0;
        for word in text::one_line(prose).split_whitespace() {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > PROSE_WIDTH {
                self.text.push('\n');
                width = 0;
            } else if width > 0 {
                self.text.push(' ');
                width += 1;
            }
            self.text.push_str(word);
            width += length;
        }
        self.text.push('\n');
    }

    /// Several lines, escaped but not joined.
    pub(crate) fn block(&mut self, block: &str) {
        self.text.push_str(&text::lines(block));
        if !block.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// Rows in columns, without borders, indented.
    pub(crate) fn table<const N: usize>(&mut self, rows: impl IntoIterator<Item = [String; N]>) {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        for row in rows {
            table.add_row(row.map(|cell| text::one_line(&cell).into_owned()));
        }
        for line in table.lines() {
            self.text.push_str(&format!(" {}\n", line.trim_end()));
        }
    }
}
