//! `mpkg fleet`

use serde::Serialize;

use crate::cli::{FleetCommand, FleetExport};
use crate::error::Outcome;
use crate::ops::keys;
use crate::ops::remote::Remote;
use crate::ops::remote::export::{STATE_FILE, export};
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
        page.headline("Exported", &format!("{} to {}", STATE_FILE, self.folder));
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
