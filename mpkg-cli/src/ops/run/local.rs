//! From a file to bytes that a host accepts.

use mpkg_package::contents;
use mpkg_package::keys::SecretKey;
use mpkg_package::root::{Root, Trust};
use mpkg_package::signing::embed;
use mpkg_package::time::Time;
use mpkg_package::wasm;

use super::Plan;
use crate::error::{Failure, Outcome};
use crate::exit::Exit;
use crate::ops::package::{self, Opened};
use crate::ops::sign;
use crate::output::Printer;

/// The seed of the key under which packages run that nobody vouches for. It is no secret and nothing else trusts it; it
/// stays the same so that an app finds its data again.
const LOCAL_SEED: &[u8; 32] = b"mpkg run: nobody vouches for it!";

/// A package that the host of this run accepts.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) bytes: Vec<u8>,
    pub(super) trust: Trust,
    pub(super) component_size: usize,
}

/// Verifies the package, or signs it for this run alone if no publisher was named to trust.
pub(super) fn package(plan: &Plan, printer: Printer) -> Outcome<Package> {
    if !plan.trusts.is_empty() {
        let verified = sign::check(&plan.file, &plan.trusts, plan.signature.as_deref())?.verified;
        let bytes = embed(verified.package(), verified.block())
            .map_err(|error| refused(&plan.file, error.code(), &error))?;
        let trust = Trust::publisher(verified.publisher());
        return Ok(Package { bytes, trust, component_size: verified.component().len() });
    }
    let opened = Opened::read_or(&plan.file, Exit::Refused)?;
    let unsigned = opened.unsigned();
    let checked = contents::check(unsigned)
        .map_err(|error| package::refused_contents(&plan.file, unsigned, error, Exit::Refused))?;
    let missing: Vec<String> =
        wasm::agreement(&checked.info, &checked.manifest.manifest).iter().map(ToString::to_string).collect();
    for disagreement in &missing {
        printer.warn(&crate::text::one_line(disagreement));
    }
    printer.warn("nobody vouches for this package: pass --trust to check who signed it");
    let key = SecretKey::from_seed(LOCAL_SEED);
    let root = Root::single(&key.public());
    let epoch = Time::from_unix(0).ok_or_else(|| Failure::internal("1970 is no time"))?;
    let signed = mpkg_package::sign::sign(unsigned, &key, &root, epoch)
        .map_err(|error| refused(&plan.file, error.code(), &error))?;
    let bytes = signed.embed(unsigned).map_err(|error| refused(&plan.file, error.code(), &error))?;
    Ok(Package { bytes, trust: Trust::key(&key.public()), component_size: checked.component.data.len() })
}

fn refused(path: &std::path::Path, code: &'static str, error: &impl std::fmt::Display) -> Failure {
    Failure::with_code(code, Exit::Refused, format!("{} is refused: {error}", path.display()))
}
