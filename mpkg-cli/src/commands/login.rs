//! `mpkg login`

use mpkg_registry_client::ClientError;
use serde::Serialize;

use crate::cli::Login;
use crate::error::Outcome;
use crate::ops::remote::logins::Logins;
use crate::ops::remote::{self, Remote, failure, token};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct LoggedIn {
    registry: String,
    stored: String,
    token_id: String,
}

impl View for LoggedIn {
    fn human(&self, page: &mut Page) {
        page.headline("Logged in", &format!("to {}", self.registry));
        page.field("token", &format!("{}… (its public part)", self.token_id));
        page.field("stored in", &format!("{} (mode 0600: only you can read it; not encrypted)", self.stored));
    }
}

pub(crate) fn run(args: &Login, printer: Printer) -> Outcome {
    let address = remote::normal(&args.url);
    let token = token::for_login(args.token_file.as_deref(), printer.can_ask())?;
    let remote = Remote::at(&address, &token, printer)?;
    // A token that does not count is not kept. One without a person's role does, for what hosts may do.
    match remote.try_ask(remote.client.status()) {
        Ok(_) => {}
        Err(ClientError::Refused { status: 403, .. }) => {}
        Err(error) => return Err(failure::of(&address, error)),
    }
    let stored = Logins::load()?.keep(&address, &token)?;
    let token_id = token.chars().skip(5).take(8).collect();
    printer.result(&LoggedIn { registry: address, stored: stored.display().to_string(), token_id })
}
