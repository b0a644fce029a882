//! `mpkg root`

use std::path::Path;

use mpkg_package::Trust;
use mpkg_package::keys::PublicKey;
use mpkg_package::root::{Draft, Progress, RELEASE_ROLE, ROOT_ROLE, Root, RootError, RootFile, Tally};
use serde::Serialize;

use crate::cli::{
    Change, RootAddKey, RootCommand, RootInit, RootRemoveKey, RootRevoke, RootRotate, RootSign, RootVerify,
};
use crate::error::{Failure, Outcome, shell};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::keys::{self, Source};
use crate::ops::passphrase::Passphrases;
use crate::ops::roots;
use crate::output::{Page, Printer, View};
use crate::text;

pub(crate) fn run(command: RootCommand, printer: Printer) -> Outcome {
    match command {
        RootCommand::Init(args) => init(args, printer),
        RootCommand::Show(args) => printer.result(&Report::of("Root", &args.file, &roots::load(&args.file)?)),
        RootCommand::AddKey(args) => add_key(args, printer),
        RootCommand::RemoveKey(args) => remove_key(args, printer),
        RootCommand::Rotate(args) => rotate(args, printer),
        RootCommand::Revoke(args) => revoke(args, printer),
        RootCommand::Sign(args) => sign(args, printer),
        RootCommand::Verify(args) => verify(&args, printer),
    }
}

/// What a root file says.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(skip)]
    headline: &'static str,
    #[serde(skip)]
    path: String,
    file: String,
    publisher: String,
    root: Document,
    proposal: Option<Proposal>,
}

#[derive(Debug, Serialize)]
struct Document {
    version: u32,
    expires: Option<String>,
    roles: Vec<Role>,
    revoked: Vec<Revoked>,
}

#[derive(Debug, Serialize)]
struct Role {
    name: String,
    threshold: u32,
    key_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    key_id: String,
    from_release: u64,
}

#[derive(Debug, Serialize)]
struct Proposal {
    #[serde(flatten)]
    root: Document,
    signatures: Signatures,
}

#[derive(Debug, Serialize)]
struct Signatures {
    complete: bool,
    /// Root keys of the version before.
    before: Count,
    /// Root keys of the proposal itself.
    own: Count,
}

/// Who of a role has signed.
#[derive(Debug, Serialize)]
pub(super) struct Count {
    threshold: usize,
    missing: usize,
    signed: Vec<String>,
    not_signed: Vec<String>,
}

impl Count {
    pub(super) fn of(tally: &Tally) -> Self {
        let (signed, not_signed): (Vec<_>, Vec<_>) =
            tally.keys.iter().partition(|key| tally.signed.contains(key));
        let ids = |keys: Vec<&mpkg_package::KeyId>| keys.into_iter().map(ToString::to_string).collect();
        Self {
            threshold: tally.threshold,
            missing: tally.missing(),
            signed: ids(signed),
            not_signed: ids(not_signed),
        }
    }

    /// `1 of 2, 1 missing`
    pub(super) fn summary(&self) -> String {
        let found = format!("{} of {}", self.signed.len(), self.threshold);
        if self.missing == 0 { found } else { format!("{found}, {} missing", self.missing) }
    }

    pub(super) fn show(&self, name: &str, page: &mut Page) {
        page.field(name, &self.summary());
        self.signed.iter().for_each(|key| page.field("", &format!("{key} signed")));
        self.not_signed.iter().for_each(|key| page.field("", &format!("{key} has not signed")));
    }
}

impl Document {
    fn of(root: &Root) -> Self {
        let role = |(name, role): (&String, &mpkg_package::root::Role)| Role {
            name: name.clone(),
            threshold: role.threshold,
            key_ids: role.keys.iter().map(ToString::to_string).collect(),
        };
        let revoked = root.revoked().iter();
        Self {
            version: root.version(),
            expires: root.expires().map(|time| time.to_string()),
            roles: root.roles().iter().map(role).collect(),
            revoked: revoked
                .map(|it| Revoked { key_id: it.key.to_string(), from_release: it.from_release_seq })
                .collect(),
        }
    }

    fn show(&self, page: &mut Page) {
        page.field("version", &self.version.to_string());
        page.field("expires", self.expires.as_deref().unwrap_or("never"));
        for role in &self.roles {
            let keys = text::count(role.key_ids.len(), "key");
            page.field(&role.name, &format!("{} of {keys}", role.threshold));
            role.key_ids.iter().for_each(|key| page.field("", key));
        }
        for revoked in &self.revoked {
            page.field("revoked", &format!("{} from release {} on", revoked.key_id, revoked.from_release));
        }
    }
}

impl Signatures {
    fn of(progress: &Progress) -> Self {
        let (before, own) = (Count::of(&progress.before), Count::of(&progress.own));
        Self { complete: progress.is_complete(), before, own }
    }
}

impl Report {
    pub(super) fn of(headline: &'static str, path: &Path, file: &RootFile) -> Self {
        Self {
            headline,
            path: shell(path),
            file: path.display().to_string(),
            publisher: file.chain().publisher().to_string(),
            root: Document::of(file.chain().last()),
            proposal: file.proposal().map(|proposal| Proposal {
                root: Document::of(proposal.root()),
                signatures: Signatures::of(proposal.progress()),
            }),
        }
    }
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline(self.headline, &self.file);
        page.field("publisher", &self.publisher);
        self.root.show(page);
        if let Some(proposal) = &self.proposal {
            page.heading("Proposal, not in force");
            proposal.root.show(page);
            page.heading("Signatures");
            proposal.signatures.before.show("old root", page);
            proposal.signatures.own.show("new root", page);
            page.heading("Next steps");
            page.command(&format!("mpkg root sign {} --key KEY", self.path));
        }
    }
}

fn init(args: RootInit, printer: Printer) -> Outcome {
    files::check_target(&args.out)?;
    let passphrases = Passphrases::new(None, printer.can_ask());
    let read =
        |keys: &[String]| keys.iter().map(|key| roots::key(key, &passphrases)).collect::<Outcome<Vec<_>>>();
    let root_keys = read(&args.root_key)?;
    let release_keys = if args.release_key.is_empty() { root_keys.clone() } else { read(&args.release_key)? };
    let mut draft = Draft::first();
    for (role, keys) in [(ROOT_ROLE, &root_keys), (RELEASE_ROLE, &release_keys)] {
        keys.iter().try_for_each(|key| add(&mut draft, role, key))?;
    }
    draft.set_threshold(ROOT_ROLE, args.root_threshold);
    draft.set_threshold(RELEASE_ROLE, args.release_threshold);
    if let Some(expires) = &args.expires {
        draft.expires = roots::expiry(expires)?;
    }
    let file = roots::first(&draft)?;
    files::write(&args.out, &file.to_bytes(), Secrecy::Public, args.force)?;
    printer.result(&Report::of("Made", &args.out, &file))
}

fn add(draft: &mut Draft, role: &str, key: &PublicKey) -> Outcome {
    // One person given twice would look like two.
    if draft.add(role, key) {
        return Ok(());
    }
    Err(Failure::usage(format!("key {} has the role {role} already", key.id())).hint("Leave it out."))
}

/// Applies a change and what comes along with every change, and writes the file.
fn change(args: &Change, printer: Printer, act: impl FnOnce(&mut Draft, &Passphrases) -> Outcome) -> Outcome {
    let passphrases = Passphrases::new(args.passphrase.passphrase_file.clone(), printer.can_ask());
    let mut file = roots::load(&args.file)?;
    let dropped = roots::edit(&mut file, |draft| {
        act(draft, &passphrases)?;
        for wanted in &args.threshold {
            threshold(draft, wanted)?;
        }
        if let Some(expires) = &args.expires {
            draft.expires = roots::expiry(expires)?;
        }
        Ok(())
    })?;
    roots::save(&args.file, &file)?;
    if dropped > 0 {
        printer.warn(&format!(
            "{} on the proposal before this change count no longer",
            text::count(dropped, "signature")
        ));
    }
    printer.result(&Report::of("Proposed", &args.file, &file))
}

fn threshold(draft: &mut Draft, wanted: &str) -> Outcome {
    let parsed = wanted.split_once('=').and_then(|(role, number)| Some((role, number.parse().ok()?)));
    match parsed {
        Some((role, number)) if draft.set_threshold(role, number) => Ok(()),
        Some((role, _)) => Err(Failure::usage(format!("there is no role `{role}`")).hint(roles(draft))),
        None => Err(Failure::usage(format!("`{wanted}` is no threshold"))
            .hint("Write a role and a number, such as root=2.")),
    }
}

fn roles(draft: &Draft) -> String {
    let names: Vec<&str> = draft.roles().keys().map(String::as_str).collect();
    format!("The roles are {}.", names.join(", "))
}

fn add_key(args: RootAddKey, printer: Printer) -> Outcome {
    change(&args.change, printer, |draft, passphrases| {
        let key = roots::key(&args.key, passphrases)?;
        args.role.iter().try_for_each(|role| add(draft, role, &key))
    })
}

fn remove_key(args: RootRemoveKey, printer: Printer) -> Outcome {
    change(&args.change, printer, |draft, passphrases| {
        let id = roots::named(&args.key, passphrases)?.id();
        let all: Vec<String> = draft.roles().keys().cloned().collect();
        let wanted = if args.role.is_empty() { &all } else { &args.role };
        let removed = wanted.iter().filter(|role| draft.remove(role, id)).count();
        if removed == 0 || (!args.role.is_empty() && removed < args.role.len()) {
            return Err(Failure::usage(format!("key {id} does not have that role")).hint(roles(draft)));
        }
        Ok(())
    })
}

fn rotate(args: RootRotate, printer: Printer) -> Outcome {
    if args.old.is_none() && args.change.expires.is_none() && args.change.threshold.is_empty() {
        return Err(Failure::usage("nothing is to change")
            .hint("Pass --old and --new, or --expires, or --threshold."));
    }
    change(&args.change, printer, |draft, passphrases| {
        let (Some(old), Some(new)) = (&args.old, &args.new) else { return Ok(()) };
        let (old, new) = (roots::named(old, passphrases)?.id(), roots::key(new, passphrases)?);
        let all: Vec<String> = draft.roles().keys().cloned().collect();
        let held: Vec<String> = all.into_iter().filter(|role| draft.remove(role, old)).collect();
        if held.is_empty() {
            return Err(Failure::usage(format!("key {old} has no role")).hint(roles(draft)));
        }
        held.iter().try_for_each(|role| add(draft, role, &new))
    })
}

fn revoke(args: RootRevoke, printer: Printer) -> Outcome {
    change(&args.change, printer, |draft, passphrases| {
        let id = roots::named(&args.key, passphrases)?.id();
        if !draft.roles().values().any(|role| role.keys.contains(&id)) {
            return Err(Failure::usage(format!("key {id} has no role, so there is nothing to revoke")));
        }
        draft.revoke(id, args.from_release);
        Ok(())
    })
}

fn sign(args: RootSign, printer: Printer) -> Outcome {
    let source = Source::parse(&args.key)?;
    let passphrases = Passphrases::new(args.passphrase.passphrase_file, printer.can_ask());
    let mut file = roots::load(&args.file)?;
    let key = keys::secret(&source, &passphrases)?;
    if let Some(warning) = source.too_open() {
        printer.warn(&warning);
    }
    let progress = roots::sign(&args.file, &mut file, &key)?;
    roots::save(&args.file, &file)?;
    let headline = if progress.is_complete() { "In force" } else { "Signed" };
    printer.result(&Report::of(headline, &args.file, &file))
}

fn verify(args: &RootVerify, printer: Printer) -> Outcome {
    let file = roots::judge(&args.file)?;
    let refuse = |error: RootError| Err(roots::unusable(&args.file, &error, Exit::Refused));
    let last = file.chain().last();
    if let Some(trust) = &args.trust {
        let (trust, found): (Trust, _) = (keys::trust(trust)?, file.chain().publisher());
        if trust.publisher_id() != found {
            return refuse(RootError::Untrusted { found, trusted: vec![trust.publisher_id()] });
        }
        if last.version() < trust.root_floor() {
            return refuse(RootError::Older { found: last.version(), floor: trust.root_floor() });
        }
    }
    if let (Some(now), Some(expires)) = (roots::now(), last.expires())
        && now >= expires
    {
        return refuse(RootError::Expired { version: last.version(), expires });
    }
    printer.result(&Report::of("Verified", &args.file, &file))
}
