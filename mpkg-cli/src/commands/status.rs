//! `mpkg status`

use crate::cli::Status;
use crate::commands::watch;
use crate::draw;
use crate::error::Outcome;
use crate::ops::remote::Remote;
use crate::ops::remote::watch::{self as look, Fleet};
use crate::output::{Page, Printer, View};

impl View for Fleet {
    fn human(&self, page: &mut Page) {
        draw::fleet(page, self);
    }
}

pub(crate) fn run(args: &Status, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    watch::run(&args.watch, printer, || look::fleet(&remote), draw::fleet_lines)
}
