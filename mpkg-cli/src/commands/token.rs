//! `mpkg token`

use std::path::Path;

use mpkg_registry_client::wire::{NewToken, Paging, Role, TokenView};
use serde::Serialize;

use crate::cli::{TokenCommand, TokenCreate, TokenList, TokenRevoke, TokenRole, TokenWhoami};
use crate::error::{Failure, Outcome};
use crate::ops::files::{self, Secrecy};
use crate::ops::remote::Remote;
use crate::output::{Page, Printer, View};

pub(crate) fn run(command: TokenCommand, printer: Printer) -> Outcome {
    match command {
        TokenCommand::Create(args) => create(*args, printer),
        TokenCommand::List(args) => list(&args, printer),
        TokenCommand::Whoami(args) => whoami(&args, printer),
        TokenCommand::Revoke(args) => revoke(&args, printer),
    }
}

fn role(role: TokenRole) -> Role {
    match role {
        TokenRole::Publisher => Role::Publisher,
        TokenRole::Operator => Role::Operator,
        TokenRole::Releaser => Role::Releaser,
        TokenRole::Reviewer => Role::Reviewer,
        TokenRole::Admin => Role::Admin,
        TokenRole::Host => Role::Host,
    }
}

fn roles(token: &TokenView) -> String {
    let names: Vec<&str> = token.roles.iter().map(|role| role.name()).collect();
    names.join(", ")
}

fn scope(token: &TokenView) -> String {
    let apps = token.apps.iter().map(ToString::to_string);
    let all: Vec<String> = apps.chain(token.publishers.iter().map(ToString::to_string)).collect();
    if all.is_empty() { "everything".to_owned() } else { all.join(", ") }
}

fn end(token: &TokenView) -> String {
    match (token.revoked, token.expires) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "until revoked".to_owned(),
    }
}

#[derive(Debug, Serialize)]
struct Made {
    secret: Option<String>,
    file: Option<String>,
    token: TokenView,
}

impl View for Made {
    fn human(&self, page: &mut Page) {
        page.headline("Made", &format!("a token for {}", self.token.owner));
        match (&self.secret, &self.file) {
            (Some(secret), _) => page.field("token", &format!("{secret} (shown this one time)")),
            (None, Some(file)) => page.field("token", &format!("in {file}, readable by you only")),
            (None, None) => {}
        }
        show(page, &self.token);
    }
}

/// What a token is, without its secret.
pub(super) fn show(page: &mut Page, token: &TokenView) {
    page.field("id", &token.id);
    page.field("roles", &roles(token));
    page.field("for", &scope(token));
    page.field("counts", &end(token));
}

fn create(args: TokenCreate, printer: Printer) -> Outcome {
    if let Some(path) = &args.out {
        check(path)?;
    }
    let remote = Remote::open(&args.connection, printer)?;
    let expires_in_s = match args.expires {
        Some(time) => Some(u32::try_from(time.0).map_err(|_| {
            Failure::usage("--expires is too far away")
                .hint("Leave it out for a token that counts until it is revoked.")
        })?),
        None => None,
    };
    let new = NewToken {
        owner: args.owner,
        roles: args.role.into_iter().map(role).collect(),
        apps: args.app.into_iter().collect(),
        publishers: args.publisher.into_iter().collect(),
        expires_in_s,
    };
    let made = remote.change(remote.client.make_token(&new))?;
    let Some(secret) = made.secret else {
        let message = format!("the token {} was made, but its secret got lost on the way", made.token.id);
        return Err(Failure::new(&crate::rules::UNREACHABLE, crate::exit::Exit::Network, message)
            .hint(format!("Revoke it and make another: mpkg token revoke {}", made.token.id)));
    };
    let (secret, file) = match &args.out {
        Some(path) => {
            files::write(path, format!("{secret}\n").as_bytes(), Secrecy::Private, false).map_err(
                |failure| {
                    failure.hint(format!(
                        "The secret is lost. Revoke it and make another: mpkg token revoke {}",
                        made.token.id
                    ))
                },
            )?;
            (None, Some(path.display().to_string()))
        }
        None => (Some(secret), None),
    };
    printer.result(&Made { secret, file, token: made.token })
}

/// A token whose file cannot be written is lost, so that is found out before it is made.
fn check(path: &Path) -> Outcome {
    files::check_target(path)?;
    if std::fs::symlink_metadata(path).is_ok() {
        return Err(files::exists(path).hint("Choose another file for --out."));
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct List {
    tokens: Vec<TokenView>,
}

impl View for List {
    fn human(&self, page: &mut Page) {
        page.table(
            self.tokens.iter().map(|it| [it.id.clone(), it.owner.clone(), roles(it), scope(it), end(it)]),
        );
    }
}

fn list(args: &TokenList, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let mut paging = Paging { limit: Some(200), ..Paging::default() };
    let mut tokens = Vec::new();
    loop {
        let page = remote.ask(remote.client.tokens(&paging))?;
        tokens.extend(page.items);
        match page.next {
            Some(next) => paging.after = Some(next),
            None => return printer.result(&List { tokens }),
        }
    }
}

#[derive(Debug, Serialize)]
struct Own {
    registry: String,
    token: TokenView,
}

impl View for Own {
    fn human(&self, page: &mut Page) {
        page.headline(&self.token.owner, &format!("at {}", self.registry));
        show(page, &self.token);
        page.field("made", &format!("{} by {}", self.token.created, self.token.created_by));
    }
}

fn whoami(args: &TokenWhoami, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let token = remote.ask(remote.client.own_token())?;
    printer.result(&Own { registry: remote.address.clone(), token })
}

#[derive(Debug, Serialize)]
struct Revoked {
    token: TokenView,
}

impl View for Revoked {
    fn human(&self, page: &mut Page) {
        page.headline("Revoked", &format!("token {} of {}", self.token.id, self.token.owner));
    }
}

fn revoke(args: &TokenRevoke, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let token = remote.change(remote.client.revoke_token(&args.id))?;
    printer.result(&Revoked { token })
}
