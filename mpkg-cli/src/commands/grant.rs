//! `mpkg grant`

use std::path::Path;

use mpkg_package::grant::SignedGrant;
use mpkg_package::root::Tally;
use serde::Serialize;
use serde_json::Value;

use super::root::Count;
use crate::cli::{GrantCommand, GrantCreate, GrantShow, GrantSign};
use crate::error::{Outcome, shell};
use crate::ops::keys::{self, Source};
use crate::ops::passphrase::Passphrases;
use crate::ops::{files, grants, inspect, roots};
use crate::output::{Page, Printer, View};

pub(crate) fn run(command: GrantCommand, printer: Printer) -> Outcome {
    match command {
        GrantCommand::Create(args) => create(&args, printer),
        GrantCommand::Sign(args) => sign(args, printer),
        GrantCommand::Show(args) => show(&args, printer),
    }
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip)]
    headline: &'static str,
    #[serde(skip)]
    path: String,
    file: String,
    app_id: String,
    publisher: String,
    version: u64,
    permissions: Vec<Permission>,
    /// Not there when nobody has checked them.
    signatures: Option<Count>,
    #[serde(skip)]
    complete: bool,
}

#[derive(Debug, Serialize)]
struct Permission {
    name: String,
    can: String,
    risk: &'static str,
    scope: Value,
}

impl Report {
    fn of(headline: &'static str, path: &Path, grant: &SignedGrant, tally: Option<&Tally>) -> Self {
        let it = grant.grant();
        let permission = |(name, scope): (&mpkg_manifest::PermissionName, &_)| {
            let description = name.describe();
            Permission {
                name: name.to_string(),
                can: description.sentence.into_owned(),
                risk: description.risk.as_str(),
                scope: serde_json::to_value(scope).unwrap_or_default(),
            }
        };
        Self {
            headline,
            path: shell(path),
            file: path.display().to_string(),
            app_id: it.app_id.clone(),
            publisher: it.publisher.to_string(),
            version: it.version,
            permissions: it.permissions.iter().map(permission).collect(),
            signatures: tally.map(Count::of),
            complete: tally.is_some_and(|tally| tally.missing() == 0),
        }
    }
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline(self.headline, &self.file);
        page.field("app", &self.app_id);
        page.field("publisher", &self.publisher);
        page.field("version", &self.version.to_string());
        page.heading("Releases may ask for");
        if self.permissions.is_empty() {
            page.line("  nothing");
        }
        page.table(self.permissions.iter().map(|permission| {
            let scope = inspect::scope(&permission.scope);
            let can = if scope.is_empty() {
                permission.can.clone()
            } else {
                format!("{} ({scope})", permission.can)
            };
            [permission.name.clone(), permission.risk.to_owned(), format!("can {can}")]
        }));
        page.heading("Signatures");
        match &self.signatures {
            None => page.line("  not checked here; --root ROOTFILE does that"),
            Some(count) => count.show("root keys", page),
        }
        page.heading("Next steps");
        page.command(&if self.complete {
            format!("mpkg sign app.mpkg --root ROOTFILE --grant {} --key KEY", self.path)
        } else {
            format!("mpkg grant sign {} --root ROOTFILE --key KEY", self.path)
        });
    }
}

fn create(args: &GrantCreate, printer: Printer) -> Outcome {
    files::check_target(&args.out)?;
    let roots = roots::load(&args.root)?;
    let manifest = grants::manifest_of(&args.from)?;
    let grant = grants::create(&manifest, roots.chain(), args.grant_version)?;
    grants::save(&args.out, &grant, args.force)?;
    let tally = grants::tally(&args.out, &grant, roots.chain())?;
    printer.result(&Report::of("Made", &args.out, &grant, Some(&tally)))
}

fn sign(args: GrantSign, printer: Printer) -> Outcome {
    let source = Source::parse(&args.key)?;
    let passphrases = Passphrases::new(args.passphrase.passphrase_file, printer.can_ask());
    let roots = roots::load(&args.root)?;
    let mut grant = grants::load(&args.file)?;
    let key = keys::secret(&source, &passphrases)?;
    if let Some(warning) = source.too_open() {
        printer.warn(&warning);
    }
    let tally = grants::sign(&args.file, &mut grant, &key, roots.chain())?;
    grants::save(&args.file, &grant, true)?;
    printer.result(&Report::of("Signed", &args.file, &grant, Some(&tally)))
}

fn show(args: &GrantShow, printer: Printer) -> Outcome {
    let grant = grants::load(&args.file)?;
    let roots = args.root.as_deref().map(roots::load).transpose()?;
    let tally = roots.map(|roots| grants::tally(&args.file, &grant, roots.chain())).transpose()?;
    printer.result(&Report::of("Grant", &args.file, &grant, tally.as_ref()))
}
