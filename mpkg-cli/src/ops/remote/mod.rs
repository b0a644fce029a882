//! Talking to a registry: where it is, who asks, and what its answers mean.

pub(crate) mod confirm;
pub(crate) mod export;
pub(crate) mod failure;
pub(crate) mod fetch;
pub(crate) mod kills;
pub(crate) mod logins;
pub(crate) mod plan;
pub(crate) mod publish;
pub(crate) mod releases;
pub(crate) mod rollouts;
pub(crate) mod token;
pub(crate) mod watch;

use std::path::Path;

use mpkg_manifest::json;
use mpkg_package::Time;
use mpkg_registry_client::{Client, ClientError};
use serde::Deserialize;
use tokio::runtime::Runtime;

use crate::cli::Connection;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::{files, roots};
use crate::output::Printer;
use crate::progress::Progress;
use crate::rules;
use logins::Logins;

/// The file with a project's settings, in the folder that a command is run in.
const PROJECT: &str = "mpkg.json";
const PROJECT_BYTES: usize = 64 << 10;

/// A registry that a command talks to.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) address: String,
    printer: Printer,
    runtime: Runtime,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Project {
    registry: Option<String>,
}

/// Who named the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Whoever runs the command: by flag, environment or login.
    User,
    /// A file that may have come with somebody else's source.
    Project,
}

impl Remote {
    /// The registry that is meant, with the token that it takes.
    pub(crate) fn open(connection: &Connection, printer: Printer) -> Outcome<Self> {
        let logins = Logins::load()?;
        let (address, origin) = address(connection, &logins)?;
        let stored = logins.token(&address);
        if stored.is_some()
            && let Some(warning) = Logins::too_open()
        {
            printer.warn(&warning);
        }
        // A token that is given for this command has no address of its own. A project that names a stranger's registry
        // must not get it sent there.
        let given =
            if origin == Origin::User { token::given(connection.token_file.as_deref())? } else { None };
        let token = given.or(stored).ok_or_else(|| {
            let message = format!("nobody is logged in to {address}");
            let hint = match origin {
                Origin::User => format!("Pipe a token in: mpkg login {address} < token.txt"),
                Origin::Project => format!(
                    "{PROJECT} in this folder names that registry, so it gets no token but one that was stored for it. If \
                     you trust it: mpkg login {address} < token.txt, or pass --registry {address}"
                ),
            };
            Failure::new(&rules::NOT_LOGGED_IN, Exit::Auth, message).hint(hint)
        })?;
        Self::at(&address, &token, printer)
    }

    /// The registry at an address.
    pub(crate) fn at(address: &str, token: &str, printer: Printer) -> Outcome<Self> {
        let client = Client::new(address, Some(token)).map_err(|error| failure::of(address, error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::internal(format!("no event loop: {error}")))?;
        Ok(Self { client, address: address.to_owned(), printer, runtime })
    }

    /// Waits for an answer.
    pub(crate) fn ask<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Outcome<T> {
        self.try_ask(answer).map_err(|error| failure::of(&self.address, error))
    }

    /// As [`Self::ask`], for those who know what to make of a refusal.
    pub(crate) fn try_ask<T>(
        &self,
        answer: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let _progress = Progress::start(self.printer, &format!("asking {}", self.address));
        self.runtime.block_on(answer)
    }

    /// As [`Self::ask`], for what changes something: an answer that got lost says nothing about whether it did.
    pub(crate) fn change<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> Outcome<T> {
        self.try_ask(answer).map_err(|error| {
            let lost = matches!(error, ClientError::Network(_));
            let failure = failure::of(&self.address, error);
            if lost {
                failure.hint(format!(
                    "Is it running? Ask it: curl {}/healthz\n\
                     Whether the change was made is not known: look with `mpkg status` before you repeat it.",
                    self.address
                ))
            } else {
                failure
            }
        })
    }
}

/// By flag or environment, else the project's, else the user's.
fn address(connection: &Connection, logins: &Logins) -> Outcome<(String, Origin)> {
    if let Some(given) = &connection.registry {
        return Ok((normal(given), Origin::User));
    }
    if let Some(named) = project()? {
        return Ok((normal(&named), Origin::Project));
    }
    let last = logins.current().map(|address| (address.to_owned(), Origin::User));
    last.ok_or_else(|| {
        Failure::new(&rules::NO_REGISTRY, Exit::Usage, "no registry is named")
            .hint("Log in once with `mpkg login URL`, or pass --registry URL, or set MPKG_REGISTRY.")
    })
}

/// One spelling, under which a token is kept.
pub(crate) fn normal(address: &str) -> String {
    address.trim().trim_end_matches('/').to_owned()
}

fn project() -> Outcome<Option<String>> {
    let path = Path::new(PROJECT);
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = files::read(path, PROJECT_BYTES as u64)?;
    let project: Project = json::read(&bytes, json::Limits::bytes(PROJECT_BYTES)).map_err(|error| {
        Failure::with_code(error.code(), Exit::Failed, format!("{PROJECT} cannot be used: {error}"))
            .hint("It is a JSON object with the member `registry`, an address.")
    })?;
    Ok(project.registry)
}

/// Now, as documents have it.
pub(crate) fn now() -> Outcome<Time> {
    roots::now().ok_or_else(|| Failure::usage("this machine's clock is outside of the years 0 to 9999"))
}
