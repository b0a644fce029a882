//! `mpkg sign`

use serde::Serialize;

use crate::cli::Sign;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::keys::{self, Source};
use crate::ops::passphrase::Passphrases;
use crate::ops::sign::{self, With};
use crate::output::{Page, Printer, View};
use crate::text;

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    detached: bool,
    replaced: bool,
    digest: String,
    key_id: String,
    publisher: String,
    root_version: u32,
    signed_by: Vec<String>,
    threshold: usize,
    missing: usize,
    grant_version: u64,
    grant_made: bool,
    statement: serde_json::Value,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Signed", &self.file);
        let member = |name: &str| self.statement.get(name).map(ToString::to_string).unwrap_or_default();
        let plain = |name: &str| member(name).trim_matches('"').to_owned();
        page.field(
            "app",
            &format!("{} {} (release {})", plain("app_id"), plain("version"), plain("release_seq")),
        );
        page.field("digest", &self.digest);
        page.field("key id", &self.key_id);
        page.field("publisher", &self.publisher);
        page.field("created", &plain("created"));
        let grant = if self.grant_made { "made with this key" } else { "by the root keys" };
        page.field("grant", &format!("version {}, {grant}", self.grant_version));
        if self.threshold > 1 {
            page.field("signatures", &format!("{} of {}", self.signed_by.len(), self.threshold));
        }
        if self.missing > 0 {
            let missing = text::count(self.missing, "signature");
            page.field("note", &format!("{missing} missing: until then every host refuses the package"));
        }
        if self.replaced {
            page.field("note", "the signatures that were there are replaced");
        }
    }
}

pub(crate) fn run(args: Sign, printer: Printer) -> Outcome {
    let source = Source::parse(&args.key)?;
    let passphrases = Passphrases::new(args.passphrase.passphrase_file, printer.can_ask());
    let key = keys::secret(&source, &passphrases)?;
    if let Some(warning) = source.too_open() {
        printer.warn(&warning);
    }
    let out = match (args.out, args.detached) {
        (Some(out), _) => out,
        (None, true) => files::with_suffix(&args.file, ".sig"),
        (None, false) => args.file.clone(),
    };
    files::check_target(&out)?;
    let with = With { root: args.root, grant: args.grant, detached: args.detached.then(|| out.clone()) };
    let fresh = sign::sign(&args.file, &key, &with)?;
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
        replaced: !args.detached && fresh.opened.block().is_some() && fresh.signed.signers.len() == 1,
        digest: format!("sha256:{}", statement.package.sha256),
        key_id: fresh.signed.signer.to_string(),
        publisher: statement.publisher.to_string(),
        root_version: statement.root_version,
        signed_by: fresh.signed.signers.iter().map(ToString::to_string).collect(),
        threshold: fresh.signed.threshold,
        missing: fresh.signed.missing(),
        grant_version: fresh.signed.grant.version,
        grant_made: fresh.signed.grant_is_new,
        statement: serde_json::to_value(statement).unwrap_or_default(),
    })
}
