//! From the command line to an exit status, whatever happens in between.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::error::Failure;
use crate::exit::Exit;
use crate::ops::keys::{self, PEM_MARK};
use crate::ops::remote::token;
use crate::output::{Format, Printer};
use crate::{commands, rules, text};

/// Runs one command.
pub(crate) fn run(args: Vec<OsString>) -> Exit {
    // Before anything is told to anybody: a reason would go into documents that everybody reads.
    if args.iter().any(|arg| text::has_token(&arg.to_string_lossy())) {
        let failure = token::on_the_command_line();
        Printer::new(wanted_format(&args), false, false).failure(&failure);
        return failure.exit();
    }
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        // clap would echo it.
        Err(_) if args.iter().any(|arg| arg.to_string_lossy().contains(PEM_MARK)) => {
            let failure = keys::on_the_command_line();
            Printer::new(wanted_format(&args), false, false).failure(&failure);
            return failure.exit();
        }
        Err(error) => return complain(&error, wanted_format(&args)),
    };
    let global = cli.global;
    let printer = Printer::new(global.format, global.quiet, global.verbose);
    // A bug must not leave the shell with the status 101 and a program without its JSON.
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| commands::run(cli.command, printer)));
    let failure = match outcome {
        Ok(Ok(())) => return Exit::Ok,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Failure::internal(text.unwrap_or_else(|| "something went wrong inside".to_owned()))
        }
    };
    if !failure.is_told() {
        printer.failure(&failure);
    }
    failure.exit()
}

/// The form that was asked for on a command line which could not be understood as a whole.
fn wanted_format(args: &[OsString]) -> Format {
    let mut from_env = std::env::var("MPKG_FORMAT").ok();
    let mut args = args.iter().skip(1).filter_map(|arg| arg.to_str());
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        } else if arg == "--format" {
            from_env = args.next().map(ToOwned::to_owned);
        } else if let Some(value) = arg.strip_prefix("--format=") {
            from_env = Some(value.to_owned());
        }
    }
    if from_env.as_deref() == Some("json") { Format::Json } else { Format::Human }
}

/// Prints help, a version, or what is wrong with the command line.
fn complain(error: &clap::Error, format: Format) -> Exit {
    let printer = Printer::new(format, false, false);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match printer.raw(&error.render().ansi().to_string()) {
                Ok(()) => Exit::Ok,
                Err(failure) => failure.exit(),
            };
        }
        _ => {}
    }
    if format == Format::Human {
        // clap's own text shows the usage of the verb, and possible values.
        printer.usage(&error.render().ansi().to_string());
    } else {
        let (message, hint) = explain(error);
        printer.failure(&Failure::usage(message).hint(hint));
    }
    Exit::Usage
}

/// clap's complaint in one sentence, and what to do about it.
fn explain(error: &clap::Error) -> (String, String) {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return ("a verb is missing".to_owned(), "`mpkg --help` lists the verbs.".to_owned());
    }
    let text = error.render().to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let mut message = first.strip_prefix("error: ").unwrap_or(first).trim_end_matches(':').to_owned();
    // The names of missing arguments stand on lines of their own.
    if let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) {
        message = format!("{message}: {}", missing.join(", "));
    }
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| match error.get(kind)? {
            ContextValue::String(name) => Some(name.clone()),
            // The nearest one comes last.
            ContextValue::Strings(names) => names.last().cloned(),
            _ => None,
        });
    let valid = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => Some(values.join(", ")),
        _ => None,
    };
    let hint = match (near, valid) {
        (Some(near), _) => format!("Did you mean `{near}`?"),
        (None, Some(valid)) => format!("Possible values: {valid}."),
        (None, None) => {
            format!("Look at the help of the verb; `mpkg explain {}` tells more.", rules::USAGE.code)
        }
    };
    (message, hint)
}
