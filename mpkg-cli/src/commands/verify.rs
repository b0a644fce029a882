//! `mpkg verify`

use serde::Serialize;

use crate::cli::Verify;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::judge::{self, Judgement};
use crate::ops::{inspect, keys, sign};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    verified: bool,
    app_id: String,
    version: String,
    release_seq: u64,
    digest: String,
    size: u64,
    publisher: String,
    key_ids: Vec<String>,
    created: String,
    root_version: u32,
    grant_version: u64,
    signature: Option<String>,
    permissions: Vec<inspect::Permission>,
}

impl View for Report {
    fn human(&self, page: &mut Page) {
        page.headline("Verified", &self.file);
        page.field("app", &format!("{} {} (release {})", self.app_id, self.version, self.release_seq));
        page.field("publisher", &self.publisher);
        page.field("digest", &self.digest);
        for key in &self.key_ids {
            page.field("signed by", key);
        }
        page.field("created", &self.created);
        page.field(
            "trust",
            &format!("root version {}, grant version {}", self.root_version, self.grant_version),
        );
        if let Some(signature) = &self.signature {
            page.field("signature", signature);
        }
        let names: Vec<&str> = self.permissions.iter().map(|permission| permission.name.as_str()).collect();
        page.field("permissions", &if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    }
}

impl View for Judgement {
    fn human(&self, page: &mut Page) {
        page.headline("Accepted", &self.file);
        if let Some(digest) = &self.digest {
            page.field("digest", digest);
        }
        page.field("size", &format!("{} bytes", self.size));
        page.field("signed by", "not checked");
        if let Some(files) = &self.files {
            page.heading("Files");
            page.table(files.iter().map(|file| {
                [file.name.clone(), format!("{} bytes", file.size), format!("sha256:{}", file.sha256)]
            }));
        }
    }
}

/// Judges a file without asking who made it. Programs get the verdict as a result either way.
fn unsigned(args: Verify, printer: Printer) -> Outcome {
    // The environment's trust is for other commands; one that is typed here would be a misunderstanding.
    let from_env = std::env::var("MPKG_TRUST").ok();
    if args.trust.iter().any(|trust| Some(trust) != from_env.as_ref()) {
        return Err(Failure::usage("--unsigned checks no signature, so --trust is of no use beside it")
            .hint("Leave one of the two out."));
    }
    let (judgement, refusal) = judge::judge(&args.file, args.list)?;
    match refusal {
        None => printer.result(&judgement),
        Some(_) if printer.is_json() => printer.result(&judgement).and(Err(Failure::told(Exit::Refused))),
        Some(refusal) => Err(refusal),
    }
}

pub(crate) fn run(args: Verify, printer: Printer) -> Outcome {
    if args.unsigned {
        return unsigned(args, printer);
    }
    if let Some(source) = args.rebuild.clone() {
        return super::rebuild::run(args, &source, printer);
    }
    let trusts = args.trust.iter().map(|text| keys::trust(text)).collect::<Outcome<Vec<_>>>()?;
    let checked = sign::check(&args.file, &trusts, args.signature.as_deref())?;
    let verified = &checked.verified;
    let statement = verified.statement();
    printer.result(&Report {
        file: args.file.display().to_string(),
        verified: true,
        app_id: statement.app_id.clone(),
        version: statement.version.clone(),
        release_seq: statement.release_seq,
        digest: format!("sha256:{}", verified.digest().sha256),
        size: verified.digest().size,
        publisher: verified.publisher().to_string(),
        key_ids: verified.signers().iter().map(ToString::to_string).collect(),
        created: statement.created.to_string(),
        root_version: verified.roots().last().version(),
        grant_version: verified.grant().version,
        signature: checked.detached.map(|file| file.display().to_string()),
        permissions: inspect::permissions(verified.manifest()),
    })
}
