//! `mpkg run`

use crate::cli::Run;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::output::Printer;
use crate::rules;

pub(crate) fn run(_args: Run, _printer: Printer) -> Outcome {
    Err(Failure::new(&rules::NOT_LAUNCHED, Exit::Failed, "not yet"))
}
