//! `mpkg diff`

use serde_json::Value;

use crate::cli;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::diff::{self, Asked, Change, Diff, File};
use crate::ops::inspect;
use crate::output::{Page, Printer, View};
use crate::text;

impl View for Diff {
    fn human(&self, page: &mut Page) {
        let (a, b) = (&self.before, &self.after);
        page.headline("Compared", &format!("{} with {}", a.file, b.file));
        if self.identical {
            page.line("  no difference: both are the same package");
            return;
        }
        if a.app_id != b.app_id {
            page.field("app", &format!("{} → {}: another app", a.app_id, b.app_id));
        }
        page.field("version", &arrow(&release(a), &release(b)));
        let growth = b.size as i64 - a.size as i64;
        page.field(
            "size",
            &format!("{} ({growth:+} bytes)", arrow(&text::size(a.size), &text::size(b.size))),
        );

        page.heading("Permissions");
        if self.permissions.is_empty() {
            page.line("  the same");
        }
        page.table(self.permissions.iter().map(|permission| {
            let scopes = match (&permission.before, &permission.after) {
                (Some(before), Some(after)) => arrow(&asked(before), &asked(after)),
                (before, after) => before.as_ref().or(after.as_ref()).map(asked).unwrap_or_default(),
            };
            let grew = if permission.grew { format!("MORE: can {}", permission.can) } else { String::new() };
            [mark(permission.change), permission.name.clone(), scopes, grew]
        }));

        page.heading("Imports");
        if self.imports.added.is_empty() && self.imports.removed.is_empty() {
            page.line("  the same");
        }
        let names = |names: &[String], change| {
            names.iter().map(|name| [mark(change), name.clone()]).collect::<Vec<_>>()
        };
        page.table(names(&self.imports.added, Change::Added));
        page.table(names(&self.imports.removed, Change::Removed));

        if !self.limits.is_empty() {
            page.heading("Limits");
            page.table(
                self.limits
                    .iter()
                    .map(|limit| [limit.name.to_owned(), arrow(&value(&limit.before), &value(&limit.after))]),
            );
        }

        page.heading("Files");
        page.table(self.files.changes.iter().map(|file| [mark(file.change), file.name.clone(), bytes(file)]));
        page.line(&format!("  {} unchanged", text::count(self.files.unchanged, "file")));
    }
}

fn release(side: &diff::Side) -> String {
    format!("{} (release {})", side.version, side.release_seq)
}

fn arrow(before: &str, after: &str) -> String {
    if before == after { before.to_owned() } else { format!("{before} → {after}") }
}

fn mark(change: Change) -> String {
    match change {
        Change::Added => "+",
        Change::Removed => "-",
        Change::Changed => "~",
    }
    .to_owned()
}

fn asked(asked: &Asked) -> String {
    let need = if asked.required { "required" } else { "optional" };
    match inspect::scope(&asked.scope) {
        scope if scope.is_empty() => need.to_owned(),
        scope => format!("{need}, {scope}"),
    }
}

fn value(value: &Value) -> String {
    if value.is_null() { "none".to_owned() } else { value.to_string() }
}

fn bytes(file: &File) -> String {
    match (file.before, file.after) {
        (Some(before), Some(after)) => {
            format!("{before} → {after} bytes ({:+})", after as i64 - before as i64)
        }
        (before, after) => format!("{} bytes", before.or(after).unwrap_or_default()),
    }
}

pub(crate) fn run(args: cli::Diff, printer: Printer) -> Outcome {
    let diff = diff::diff(&args.before, &args.after)?;
    printer.result(&diff)?;
    if diff.permissions_grew { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}
