//! Who decides on permissions: flags, then a person if one is there, then no.

use std::collections::BTreeSet;

use dialoguer::Select;
use dialoguer::console::Term;
use miniapp_runtime::{Decision, DecisionFuture, PermissionProvider, PermissionRequest};
use mpkg_manifest::permission;

use crate::error::{Failure, Outcome};
use crate::ops::inspect;
use crate::output::Printer;
use crate::text;

const ALL: &str = "all";

/// What the flags say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choice {
    allow: BTreeSet<String>,
    deny: BTreeSet<String>,
}

impl Choice {
    /// Reads `--allow` and `--deny`. A misspelt name must not turn into a silent denial.
    pub(crate) fn parse(allow: &[String], deny: &[String]) -> Outcome<Self> {
        let read = |flag: &str, names: &[String]| -> Outcome<BTreeSet<String>> {
            names.iter().map(|name| check(flag, name.trim()).map(|()| name.trim().to_owned())).collect()
        };
        Ok(Self { allow: read("--allow", allow)?, deny: read("--deny", deny)? })
    }

    /// A decision, if the flags make one. Denying is stronger.
    fn decide(&self, permission: &str) -> Option<bool> {
        let named = |set: &BTreeSet<String>| set.contains(permission);
        match () {
            () if named(&self.deny) => Some(false),
            () if named(&self.allow) => Some(true),
            () if self.deny.contains(ALL) => Some(false),
            () if self.allow.contains(ALL) => Some(true),
            () => None,
        }
    }
}

fn check(flag: &str, name: &str) -> Outcome {
    if name == ALL || permission::describe(name).is_some() {
        return Ok(());
    }
    let names = permission::VOCABULARY.iter().filter(|spec| !spec.free).map(|spec| spec.name);
    let near = names.map(|known| (strsim::damerau_levenshtein(known, name), known));
    let hint = match near.filter(|(distance, _)| *distance <= 3).min() {
        Some((_, near)) => format!("Did you mean `{near}`?"),
        None => "`mpkg inspect FILE` lists what the app asks for.".to_owned(),
    };
    Err(Failure::usage(format!("{flag}: there is no permission `{name}`")).hint(hint))
}

/// Decides for one run.
pub(super) struct Chooser {
    choice: Choice,
    printer: Printer,
}

impl Chooser {
    pub(super) fn new(choice: Choice, printer: Printer) -> Self {
        Self { choice, printer }
    }
}

impl PermissionProvider for Chooser {
    fn decide<'a>(&'a self, request: &'a PermissionRequest) -> DecisionFuture<'a> {
        let answer = self.choice.decide(&request.permission);
        let (request, printer) = (request.clone(), self.printer);
        Box::pin(async move {
            let allowed = match answer {
                Some(answer) => answer,
                None if printer.can_ask() => {
                    tokio::task::spawn_blocking(move || ask(&request, printer)).await.unwrap_or(false)
                }
                None => {
                    printer.note("denied", &format!("{}: pass --allow {0} to grant it", request.permission));
                    false
                }
            };
            if allowed { Decision::AllowOnce } else { Decision::Deny }
        })
    }
}

fn ask(request: &PermissionRequest, printer: Printer) -> bool {
    let app = text::one_line(&request.app_name).into_owned();
    printer.note("asks", &format!("{app} wants to {} ({})", request.sentence, request.permission));
    if let Some(reason) = &request.reason {
        printer.note("because", &format!("\"{reason}\""));
    }
    let scope = inspect::scope(&serde_json::to_value(&request.scope).unwrap_or_default());
    if !scope.is_empty() {
        printer.note("limits", &scope);
    }
    let need = if request.required { "it cannot start without" } else { "it can do without" };
    let prompt = format!("Allow {}? ({need})", request.permission);
    let answer = Select::new().with_prompt(prompt).items(["No", "Yes, this time"]).default(0).interact();
    if answer.is_err() {
        // Ctrl-C leaves the question with the cursor hidden.
        _ = Term::stderr().show_cursor();
    }
    matches!(answer, Ok(1))
}
