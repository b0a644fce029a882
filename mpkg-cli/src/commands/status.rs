//! `mpkg status`

use std::time::Duration;

use crate::cli::Status;
use crate::draw;
use crate::error::Outcome;
use crate::exit::Exit;
use crate::ops::remote::Remote;
use crate::ops::remote::watch::{self, Fleet};
use crate::output::{Page, Printer, View};

impl View for Fleet {
    fn human(&self, page: &mut Page) {
        draw::fleet(page, self);
    }
}

pub(crate) fn run(args: &Status, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    if args.watch { follow(&remote, printer) } else { printer.result(&watch::fleet(&remote, None)?) }
}

/// Shows the fleet at each event until Ctrl-C, or until nobody reads any more.
fn follow(remote: &Remote, printer: Printer) -> Outcome {
    let show = |connected: Option<Duration>| match watch::fleet(remote, connected) {
        Ok(fleet) => printer.again(&fleet, &draw::fleet_lines(&fleet)),
        // Whoever watches wants to see when it comes back.
        Err(failure) if failure.exit() == Exit::Network => {
            printer.warn(&format!("{}; still trying", failure.message()));
            Ok(true)
        }
        Err(failure) => Err(failure),
    };
    let mut events = watch::Events::of(remote);
    // The first time, an address that nobody answers at is an error.
    let first = watch::fleet(remote, None)?;
    let mut more = printer.again(&first, &draw::fleet_lines(&first))?;
    while more {
        more = match events.next()? {
            Some(connected) => show(connected)?,
            None => {
                printer.warn(&format!("{} has said nothing for a while; still trying", remote.address));
                true
            }
        };
    }
    Ok(())
}
