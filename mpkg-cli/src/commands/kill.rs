//! `mpkg kill` and `mpkg lift`

use mpkg_fleet::{KillScope, Level};
use mpkg_registry_client::wire::{Because, Drill, KillView, NewKill};
use serde::Serialize;

use crate::cli::{Kill, KillLevel, Lift};
use crate::draw::words;
use crate::error::{Failure, Outcome};
use crate::ops::remote::confirm::{self, FLEET};
use crate::ops::remote::{Remote, kills, plan};
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Killed {
    #[serde(flatten)]
    kill: KillView,
    /// Whether the registry knows the app; none where it was not asked.
    claimed: Option<bool>,
}

impl View for Killed {
    fn human(&self, page: &mut Page) {
        let (id, kill) = (kills::short(self.kill.id), &self.kill.kill);
        let scope = &kill.scope;
        page.headline("Killed", &words::scope(scope));
        page.field(
            "level",
            &format!("{} ({}): {}", words::level(kill.level), kill.level.number(), words::effect(kill.level)),
        );
        page.field("reason", kill.reason.as_ref());
        page.field("kill", &self.kill.id.to_string());
        page.field("told", "every host that listens, now; others when they are back");
        if self.claimed == Some(false) {
            page.field("beware", "nobody has claimed this app here: is its id spelled right?");
        }
        page.heading("To undo it");
        page.command(&format!("mpkg lift {id} --reason '...' --confirm {}", subject(scope)));
    }
}

/// What is typed to confirm that it may run again.
pub(crate) fn subject(scope: &KillScope) -> String {
    scope.app.as_ref().map_or(FLEET.to_owned(), ToString::to_string)
}

impl View for Drilled {
    fn human(&self, page: &mut Page) {
        page.headline(
            "Drill",
            &format!(
                "nothing happened; it would be: {} {}",
                words::level(self.level),
                words::scope(&self.scope)
            ),
        );
        page.field("devices", &format!("{} that reported within a day, at most", self.drill.devices));
        if self.drill.hits.is_empty() {
            page.line("  It would hit no release that is here.");
        }
        page.table(self.drill.hits.iter().map(|hit| {
            [
                hit.app_id.to_string(),
                format!("{} (release {})", hit.version, hit.release_seq),
                format!("{} devices", hit.devices),
            ]
        }));
    }
}

#[derive(Debug, Serialize)]
struct Drilled {
    level: Level,
    scope: KillScope,
    #[serde(flatten)]
    drill: Drill,
}

fn level(args: &Kill) -> Level {
    match args.level {
        Some(KillLevel::Warn) => Level::Warn,
        Some(KillLevel::Freeze) => Level::Freeze,
        Some(KillLevel::Revoke) => Level::Revoke,
        Some(KillLevel::Block) => Level::Block,
        Some(KillLevel::Stop) => Level::Stop,
        // Whoever names a permission wants it taken; whoever names none wants the app stopped.
        None if args.permission.is_some() => Level::Revoke,
        None => Level::Stop,
    }
}

pub(crate) fn run(args: Kill, printer: Printer) -> Outcome {
    let level = level(&args);
    let versions = ("--min-version", "--below-version");
    let versions = plan::versions(versions, args.min_version.as_deref(), args.below_version.as_deref())?;
    let hosts = ("--min-host", "--below-host");
    let host_versions = plan::versions(hosts, args.min_host.as_deref(), args.below_host.as_deref())?;
    let (app, releases) = args.target.map_or((None, None), |target| (Some(target.app), target.releases));
    let scope = KillScope {
        app,
        releases,
        versions,
        permission: args.permission,
        method: args.method,
        host_versions,
        platforms: args.platform.into_iter().collect(),
    };
    let reason = match args.reason {
        Some(reason) => reason,
        // Nothing happens, so nobody is told why.
        None => "drill".parse().map_err(|error| Failure::internal(format!("{error}")))?,
    };
    let new = NewKill { level, scope, reason };
    let remote = Remote::open(&args.connection, printer)?;
    if args.drill {
        let drill = remote.ask(remote.client.drill(&new))?;
        return printer.result(&Drilled { level, scope: new.scope, drill });
    }
    let kill = remote.change(remote.client.kill(&new))?.value;
    // Afterwards, since a stop waits for nothing: an id that is misspelt stops nobody, and looks as if it did.
    let claimed = kill.kill.scope.app.as_ref().and_then(|app| match remote.try_ask(remote.client.app(app)) {
        Ok(_) => Some(true),
        Err(error) if error.code() == Some("MPKG-P33") => Some(false),
        Err(_) => None,
    });
    printer.result(&Killed { kill, claimed })
}

#[derive(Debug, Serialize)]
struct Lifted {
    #[serde(flatten)]
    kill: KillView,
}

impl View for Lifted {
    fn human(&self, page: &mut Page) {
        let kill = &self.kill.kill;
        page.headline("Lifted", &format!("{} {}", words::level(kill.level), words::scope(&kill.scope)));
        page.field("kill", &self.kill.id.to_string());
        page.field("was for", kill.reason.as_ref());
        if let Some(lift) = &self.kill.lift {
            page.field("lifted for", lift.reason.as_ref());
        }
    }
}

pub(crate) fn lift(args: &Lift, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    let seen = kills::find(&remote, &args.kill)?;
    let kill = &seen.value.kill;
    printer.note(
        "Seen",
        &format!("{} {}, for: {}", words::level(kill.level), words::scope(&kill.scope), kill.reason),
    );
    let subject = subject(&kill.scope);
    confirm::confirm(args.confirm.as_deref(), &subject, "lift a kill", printer)?;
    let because = Because { reason: args.reason.clone() };
    let id = seen.value.id;
    let done =
        remote.change(remote.client.lift(id, &seen.etag, &because)).map_err(|failure| {
            match failure.code() {
        "MPKG-F56" => failure.hint(format!(
            "Somebody else agrees with: mpkg approve lift {0} --confirm {subject}\nThen repeat this command.",
            kills::short(id)
        )),
        "MPKG-P23" => failure.hint("Somebody lifted it before. `mpkg status` lists the kills in force."),
        _ => failure,
    }
        })?;
    printer.result(&Lifted { kill: done.value })
}
