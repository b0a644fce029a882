//! `mpkg registry root`

use std::path::Path;

use mpkg_package::root::{RootChain, RootError, RootFile};

use super::root::Report;
use crate::cli::{RegistryRootCommand, RegistryRootFetch, RegistryRootSet, RegistryRootShow};
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::files::{self, Secrecy};
use crate::ops::remote::{Remote, confirm};
use crate::ops::roots;
use crate::output::Printer;

pub(crate) fn run(command: &RegistryRootCommand, printer: Printer) -> Outcome {
    match command {
        RegistryRootCommand::Show(args) => show(args, printer),
        RegistryRootCommand::Fetch(args) => fetch(args, printer),
        RegistryRootCommand::Set(args) => set(args, printer),
    }
}

/// The registry's roots, each of which is signed as the one before says.
fn known(remote: &Remote) -> Outcome<RootFile> {
    let bytes = remote.ask(remote.client.registry_roots())?;
    let chain = RootChain::parse(&bytes)
        .map_err(|error| roots::unusable(Path::new(&remote.address), &error, Exit::Refused))?;
    Ok(RootFile::new(chain))
}

fn show(args: &RegistryRootShow, printer: Printer) -> Outcome {
    let remote = Remote::open(&args.connection, printer)?;
    printer.result(&Report::of("Root", Path::new(&remote.address), &known(&remote)?))
}

fn fetch(args: &RegistryRootFetch, printer: Printer) -> Outcome {
    files::check_target(&args.out)?;
    let remote = Remote::open(&args.connection, printer)?;
    let file = known(&remote)?;
    let found = file.chain().publisher();
    if let Some(trusted) = args.trust.filter(|trusted| *trusted != found) {
        let error = RootError::Untrusted { found, trusted: vec![trusted] };
        return Err(roots::unusable(Path::new(&remote.address), &error, Exit::Refused));
    }
    files::write(&args.out, &file.to_bytes(), Secrecy::Public, args.force)?;
    printer.result(&Report::of("Fetched", &args.out, &file))
}

fn set(args: &RegistryRootSet, printer: Printer) -> Outcome {
    let file = roots::judge(&args.file)?;
    if file.proposal().is_some() {
        let message =
            format!("{} holds a proposal that not enough root keys have signed", args.file.display());
        return Err(Failure::usage(message).hint("Have it signed first: mpkg root sign FILE --key KEY"));
    }
    let remote = Remote::open(&args.connection, printer)?;
    confirm::confirm(args.confirm.as_deref(), confirm::FLEET, "change the root", printer)?;
    remote.change(remote.client.put_registry_roots(file.to_bytes()))?;
    printer.result(&Report::of("In force", &args.file, &file))
}
