//! `mpkg approve`

use mpkg_registry_client::wire::{Approved, NewReview, ProposedChange, ReleaseView};
use serde::Serialize;

use crate::cli::{ApproveCommand, ApproveLift, ApproveRelease, ApproveRollout, GoVerb};
use crate::commands::kill;
use crate::draw::words;
use crate::error::{Failure, Outcome};
use crate::ops::remote::{Remote, confirm, kills, releases, rollouts};
use crate::output::{Page, Printer, View};

pub(crate) fn run(command: &ApproveCommand, printer: Printer) -> Outcome {
    match command {
        ApproveCommand::Rollout(args) => rollout(args, printer),
        ApproveCommand::Lift(args) => lift(args, printer),
        ApproveCommand::Release(args) => release(args, printer),
    }
}

#[derive(Debug, Serialize)]
struct Agreed {
    what: String,
    #[serde(flatten)]
    approved: Approved,
}

impl View for Agreed {
    fn human(&self, page: &mut Page) {
        page.headline("Approved", &self.what);
        let people: Vec<&str> = self.approved.people.iter().map(String::as_str).collect();
        page.field("agree", &people.join(", "));
        page.field("change", &self.approved.change.to_string());
        page.field("next", "whoever wanted it repeats the command; nothing has happened yet");
    }
}

fn rollout(args: &ApproveRollout, printer: Printer) -> Outcome {
    if args.skip_bake && args.verb != GoVerb::Advance {
        return Err(Failure::usage("--skip-bake is about advancing").hint("Leave it out."));
    }
    let remote = Remote::open(&args.connection, printer)?;
    let seen = match args.verb {
        // What waits to be started is not in charge yet.
        GoVerb::Start => rollouts::newest(&remote, &args.rollout)?,
        _ => rollouts::find(&remote, &args.rollout)?,
    };
    let (it, word) = (&seen.value, rollouts::word(args.verb));
    let what = format!("to {word} rollout {} of {} {}", it.id, it.rollout.app, it.rollout.release);
    printer.note("Seen", &format!("{what}, which is {}", it.rollout.phase.name()));
    let doing = format!(
        "approve {}",
        match args.verb {
            GoVerb::Start => "a start",
            GoVerb::Advance => "an advance",
            GoVerb::Resume => "a resume",
            GoVerb::Complete => "a completion",
        }
    );
    confirm::confirm(args.confirm.as_deref(), it.rollout.app.as_str(), &doing, printer)?;
    let change = ProposedChange::Rollout {
        id: it.id,
        revision: it.rollout.revision,
        command: rollouts::command(args.verb, args.skip_bake),
    };
    let approved = remote.change(remote.client.approve(&change))?;
    printer.result(&Agreed { what, approved })
}

fn lift(args: &ApproveLift, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let seen = kills::find(&remote, &args.kill)?.value;
    let what = format!("to lift {} {}", words::level(seen.kill.level), words::scope(&seen.kill.scope));
    printer.note("Seen", &format!("{what}, for: {}", seen.kill.reason));
    confirm::confirm(args.confirm.as_deref(), &kill::subject(&seen.kill.scope), "approve a lift", printer)?;
    let approved = remote.change(remote.client.approve(&ProposedChange::Lift { kill: seen.id }))?;
    printer.result(&Agreed { what, approved })
}

#[derive(Debug, Serialize)]
struct Reviewed {
    #[serde(flatten)]
    release: ReleaseView,
}

impl View for Reviewed {
    fn human(&self, page: &mut Page) {
        let it = &self.release;
        page.headline(it.review.name(), &format!("{} {}", it.app_id, it.release));
        page.field("reason", it.review_reason.as_deref().unwrap_or_default());
    }
}

fn release(args: &ApproveRelease, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let seen = releases::named(&remote, &args.release)?;
    printer.note("Seen", &format!("{} {}, {}", seen.app_id, seen.release, seen.name));
    if !args.reject {
        confirm::confirm(args.confirm.as_deref(), seen.app_id.as_str(), "approve a release", printer)?;
    }
    let review = NewReview { approve: !args.reject, reason: args.reason.clone() };
    let client = &remote.client;
    let release = remote.change(client.review(&seen.app_id, seen.release.release_seq, &review))?;
    printer.result(&Reviewed { release })
}
