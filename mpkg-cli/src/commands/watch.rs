//! Showing something again and again.

use std::time::Duration;

use crate::cli::Watch;
use crate::error::Outcome;
use crate::exit::Exit;
use crate::output::{Printer, View};

/// Shows what `look` sees: once, or again and again until Ctrl-C, or until nobody reads any more. `lines` say the same
/// where there is no terminal to draw on.
pub(crate) fn run<T: View>(
    args: &Watch,
    printer: Printer,
    look: impl Fn() -> Outcome<T>,
    lines: impl Fn(&T) -> Vec<String>,
) -> Outcome {
    if !args.watch {
        return printer.result(&look()?);
    }
    let mut seen = Some(look()?);
    loop {
        if let Some(view) = &seen
            && !printer.again(view, &lines(view))?
        {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(args.every.0.max(1)));
        seen = match look() {
            Ok(view) => Some(view),
            // Whoever watches wants to see when it comes back.
            Err(failure) if failure.exit() == Exit::Network => {
                printer.warn(&format!("{}; still trying", failure.message()));
                None
            }
            Err(failure) => return Err(failure),
        };
    }
}
