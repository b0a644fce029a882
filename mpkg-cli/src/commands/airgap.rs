//! `mpkg fleet`

use mpkg_fleet::StateFile;
use serde::Serialize;

use crate::cli::{FleetCommand, FleetExport};
use crate::error::Outcome;
use crate::ops::keys;
use crate::ops::remote::Remote;
use crate::ops::remote::export::export;
use crate::output::{Page, Printer, View};

#[derive(Debug, Serialize)]
struct Exported {
    folder: String,
    registry: String,
    head: String,
    apps: Vec<App>,
    fetched: usize,
}

#[derive(Debug, Serialize)]
struct App {
    app_id: String,
    releases: Vec<String>,
}

impl View for Exported {
    fn human(&self, page: &mut Page) {
        page.headline("Exported", &format!("{} to {}", StateFile::NAME, self.folder));
        page.field("registry", &self.registry);
        page.field("head", &self.head);
        for app in &self.apps {
            page.field(&app.app_id, &app.releases.join(", "));
        }
        page.field("fetched", &format!("{} packages", self.fetched));
    }
}

pub(crate) fn run(command: FleetCommand, printer: Printer) -> Outcome {
    match command {
        FleetCommand::Export(args) => write(&args, printer),
        #[cfg(feature = "run")]
        FleetCommand::Import(args) => import::run(&args, printer),
    }
}

fn write(args: &FleetExport, printer: Printer) -> Outcome {
    let trust = args.trust.as_deref().map(keys::trust).transpose()?;
    let remote = Remote::open(&args.connection, printer)?;
    let done = export(&remote, &args.apps, trust.as_ref(), &args.out)?;
    let apps = done.apps.into_iter().map(|(app, releases)| App {
        app_id: app.to_string(),
        releases: releases.iter().map(ToString::to_string).collect(),
    });
    printer.result(&Exported {
        folder: args.out.display().to_string(),
        registry: done.registry.to_string(),
        head: done.head.to_string(),
        apps: apps.collect(),
        fetched: done.fetched,
    })
}

#[cfg(feature = "run")]
mod import {
    use serde::Serialize;

    use crate::cli::FleetImport;
    use crate::error::{Failure, Outcome};
    use crate::exit::Exit;
    use crate::ops::airgap;
    use crate::output::{Page, Printer, View};
    use crate::text;

    #[derive(Debug, Serialize)]
    struct Imported {
        head: Option<String>,
        age_s: Option<u64>,
        apps: Vec<App>,
        refused: Vec<Refused>,
    }

    #[derive(Debug, Serialize)]
    struct App {
        app_id: String,
        /// What launches run from the next start on.
        release: Option<String>,
        /// Whether it may be launched at all.
        blocked: bool,
    }

    #[derive(Debug, Serialize)]
    struct Refused {
        what: String,
        code: Option<String>,
        message: String,
    }

    impl View for Imported {
        fn human(&self, page: &mut Page) {
            page.headline("Imported", self.head.as_deref().unwrap_or("nothing: no head is known"));
            if let Some(age) = self.age_s {
                page.field(
                    "signed",
                    &format!(
                        "{} ago",
                        text::count(usize::try_from(age / 3_600).unwrap_or(usize::MAX), "hour")
                    ),
                );
            }
            for app in &self.apps {
                let release = app.release.as_deref().unwrap_or("no release");
                let blocked = if app.blocked { ", switched off" } else { "" };
                page.field(&app.app_id, &format!("{release}{blocked}"));
            }
            for refused in &self.refused {
                let code = refused.code.as_deref().unwrap_or("-");
                page.line(&format!("refused {}: {} ({code})", refused.what, refused.message));
            }
        }
    }

    pub(super) fn run(args: &FleetImport, printer: Printer) -> Outcome {
        let done = airgap::import(args)?;
        let apps = done.apps.iter().map(|(app, it)| App {
            app_id: app.to_string(),
            release: it.shelf.ahead().map(ToString::to_string),
            blocked: it.decision.run.is_none(),
        });
        let refused = done.refused.into_iter().map(|(what, code, message)| Refused { what, code, message });
        let report = Imported {
            head: done.head.map(|head| head.to_string()),
            age_s: done.age_s,
            apps: apps.collect(),
            refused: refused.collect(),
        };
        let failed = !report.refused.is_empty();
        printer.result(&report)?;
        if failed { Err(Failure::told(Exit::Refused)) } else { Ok(()) }
    }
}
