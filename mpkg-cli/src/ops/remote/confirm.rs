//! A typed confirmation for what goes.

use dialoguer::Input;

use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::output::Printer;
use crate::rules;

/// What confirms something that is about every app.
pub(crate) const FLEET: &str = "fleet";

/// Goes on if the id was typed, by flag or on a terminal.
pub(crate) fn confirm(given: Option<&str>, id: &str, what: &str, printer: Printer) -> Outcome {
    let refuse = |message: String| {
        Err(Failure::new(&rules::NOT_CONFIRMED, Exit::Usage, message)
            .hint(format!("If you mean it, add: --confirm {id}")))
    };
    match given {
        Some(given) if given == id => Ok(()),
        Some(given) => refuse(format!("--confirm says {given}, but this is to {what} of {id}")),
        None if !printer.can_ask() => refuse(format!("to {what} of {id} takes a confirmation")),
        None => {
            let question =
                Input::<String>::new().with_prompt(format!("To {what}, type {id}")).allow_empty(true);
            match question.interact_text() {
                Ok(typed) if typed.trim() == id => Ok(()),
                Ok(_) | Err(_) => refuse(format!("to {what} of {id} was not confirmed")),
            }
        }
    }
}
