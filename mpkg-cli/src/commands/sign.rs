//! `mpkg sign`

use serde::Serialize;

use crate::cli::Sign;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::keys::{self, Source};
use crate::ops::sign;
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    detached: bool,
    replaced: bool,
    digest: String,
    key_id: String,
    publisher: String,
    statement: serde_json::Value,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Signed", &self.file);
        let text = |name: &str| self.statement.get(name).map(ToString::to_string).unwrap_or_default();
        let plain = |name: &str| text(name).trim_matches('"').to_owned();
        page.field(
            "app",
            &format!("{} {} (release {})", plain("app_id"), plain("version"), plain("release_seq")),
        );
        page.field("digest", &self.digest);
        page.field("key id", &self.key_id);
        page.field("publisher", &self.publisher);
        page.field("created", &plain("created"));
        if self.replaced {
            page.field("note", "the signature that was there is replaced");
        }
    }
}

pub(crate) fn run(args: Sign, printer: Printer) -> Outcome {
    let source = Source::parse(&args.key)?;
    let key = keys::secret(&source)?;
    if let Some(warning) = source.too_open() {
        printer.warn(&warning);
    }
    let out = match (args.out, args.detached) {
        (Some(out), _) => out,
        (None, true) => files::with_suffix(&args.file, ".sig"),
        (None, false) => args.file.clone(),
    };
    files::check_target(&out)?;
    let fresh = sign::sign(&args.file, &key)?;
    let bytes = if args.detached {
        fresh.signed.detached()
    } else {
        fresh
            .signed
            .embed(fresh.opened.unsigned())
            .map_err(|error| Failure::with_code(error.code(), Exit::Failed, error.to_string()))?
    };
    files::write(&out, &bytes, Secrecy::Public, true)?;
    let statement = &fresh.signed.statement;
    printer.result(&Report {
        file: out.display().to_string(),
        detached: args.detached,
        replaced: !args.detached && fresh.opened.block().is_some(),
        digest: format!("sha256:{}", statement.package.sha256),
        key_id: fresh.signed.signer.to_string(),
        publisher: statement.publisher.to_string(),
        statement: serde_json::to_value(statement).unwrap_or_default(),
    })
}
