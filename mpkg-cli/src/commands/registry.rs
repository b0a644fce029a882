//! `mpkg registry`

use serde::Serialize;

use super::registry_root;
use crate::cli::{Backup, RegistryCommand, Restore, Serve};
use crate::error::{Outcome, shell};
use crate::ops::{log, serve};
use crate::output::{Page, Printer, View};
use crate::progress::Progress;

pub(crate) fn run(command: RegistryCommand, printer: Printer) -> Outcome {
    match command {
        RegistryCommand::Serve(args) => serve_it(args, printer),
        RegistryCommand::Backup(args) => backup(&args, printer),
        RegistryCommand::Restore(args) => restore(&args, printer),
        RegistryCommand::Root(args) => registry_root::run(&args, printer),
    }
}

#[derive(Debug, Serialize)]
struct Serving {
    listening: String,
    registry: String,
    folder: String,
    first_token: Option<String>,
    token_file: Option<String>,
}

impl View for Serving {
    fn human(&self, page: &mut Page) {
        page.headline("Serving", &format!("the registry in {}", self.folder));
        page.field("listening", &self.listening);
        page.field("registry", &format!("{} (hosts pin this)", self.registry));
        let url = &self.listening;
        match (&self.first_token, &self.token_file) {
            (Some(token), _) => {
                page.field("first token", &format!("{token} (an admin's; shown this one time)"));
                page.heading("Next steps");
                page.command(&format!("mpkg login {url}     # and paste the token"));
                page.command("mpkg publish app.mpkg --claim");
            }
            (None, Some(file)) => {
                page.field("first token", &format!("in {file}, readable by you only (an admin's)"));
                page.heading("Next steps");
                page.command(&format!("mpkg login {url} --token-file {}", shell(std::path::Path::new(file))));
                page.command("mpkg publish app.mpkg --claim");
            }
            (None, None) => {}
        }
    }
}

fn serve_it(args: Serve, printer: Printer) -> Outcome {
    let given = serve::Given {
        data: args.data,
        listen: args.listen,
        config: args.config,
        review: args.review,
        approvals: args.approvals,
    };
    let config = serve::config(given)?;
    log::show(Some(if printer.is_verbose() { "info" } else { "warn" }));
    serve::serve(config, args.token_out.as_deref(), printer, |started| {
        let serving = Serving {
            listening: format!("http://{}", started.address),
            registry: started.id,
            folder: started.folder.display().to_string(),
            first_token: started.first_token,
            token_file: started.token_file.map(|file| file.display().to_string()),
        };
        // It goes on for long, so whoever reads its output reads lines.
        if printer.is_json() { printer.json_line(&serving) } else { printer.result(&serving) }
    })
}

#[derive(Debug, Serialize)]
struct Copied {
    from: String,
    to: String,
    #[serde(skip)]
    verb: &'static str,
    #[serde(skip)]
    note: &'static str,
}

impl View for Copied {
    fn human(&self, page: &mut Page) {
        page.headline(self.verb, &format!("{} to {}", self.from, self.to));
        page.field("note", self.note);
    }
}

fn backup(args: &Backup, printer: Printer) -> Outcome {
    let progress = Progress::start(printer, "copying the registry");
    serve::backup(&args.data, &args.to)?;
    drop(progress);
    printer.result(&Copied {
        from: args.data.display().to_string(),
        to: args.to.display().to_string(),
        verb: "Copied",
        note: "it holds the signing keys: keep it as safe as the registry",
    })
}

fn restore(args: &Restore, printer: Printer) -> Outcome {
    let progress = Progress::start(printer, "copying the backup");
    serve::restore(&args.from, &args.data)?;
    drop(progress);
    printer.result(&Copied {
        from: args.from.display().to_string(),
        to: args.data.display().to_string(),
        verb: "Restored",
        note: "let the old registry never serve again: hosts would report two of one origin",
    })
}
