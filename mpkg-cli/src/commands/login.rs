//! `mpkg login`

use mpkg_registry_client::wire::TokenView;
use serde::Serialize;

use crate::cli::Login;
use crate::commands::token;
use crate::error::Outcome;
use crate::ops::remote::logins::Logins;
use crate::ops::remote::{self, Remote, token as secret};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct LoggedIn {
    registry: String,
    stored: String,
    token: TokenView,
}

impl View for LoggedIn {
    fn human(&self, page: &mut Page) {
        page.headline("Logged in", &format!("to {}", self.registry));
        page.field("as", &self.token.owner);
        token::show(page, &self.token);
        page.field("stored in", &format!("{} (mode 0600: only you can read it; not encrypted)", self.stored));
    }
}

pub(crate) fn run(args: &Login, printer: Printer) -> Outcome {
    let address = remote::normal(&args.url);
    let secret = secret::for_login(args.token_file.as_deref(), printer.can_ask())?;
    let remote = Remote::at(&address, &secret, printer)?;
    // A token that does not count is not kept.
    let view = remote.ask(remote.client.own_token())?;
    let stored = Logins::load()?.keep(&address, &secret)?;
    printer.result(&LoggedIn { registry: address, stored: stored.display().to_string(), token: view })
}
