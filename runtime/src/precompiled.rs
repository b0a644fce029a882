//! Code that was compiled elsewhere: by the Super App's own servers, for devices that have no compiler, or no time for
//! one.
//!
//! Code is run as it is, so that whoever makes it could do what the host can. It is signed with a key that the embedder
//! keeps for nothing else, and is bound to the package it was made from.
//!
//! ```text
//! "MPKGCODE" | SHA-256 of the unsigned package, 32 bytes | Ed25519 signature, 64 bytes | code
//! ```
//!
//! What is signed is DSSE's pre-authentication encoding of the package's hash and the code's, under `PAYLOAD_TYPE`.

use std::sync::PoisonError;

use mpkg_package::dsse::pae;
use mpkg_package::{Hash, PublicKey};
#[cfg(feature = "compile")]
use mpkg_package::{SecretKey, Verified};

use crate::data::DataError;
use crate::host::Host;
#[cfg(feature = "compile")]
use crate::{Compiler, Policy};

/// What signed code says that it is.
const PAYLOAD_TYPE: &str = "application/vnd.mpkg.code.v1";

const MAGIC: &[u8; 8] = b"MPKGCODE";

/// Compiles a verified package for hosts that are built with this version of the crate and use `compiler`; for
/// [`Compiler::Tiered`], with its optimizing compiler. Native code is for processors like this one, [`Compiler::Pulley`]'s
/// for all that have as many bits and their bytes in the same order. Takes as long as a compile does.
///
/// ```
/// # use miniapp_runtime::{CodeError, Compiler, Policy, precompile};
/// # use mpkg_package::{SecretKey, Verified};
/// # fn example(package: Verified, key: SecretKey) -> Result<Vec<u8>, CodeError> {
/// // On a server; a device gives the file to `Host::add_code`.
/// let file = precompile(&package, Compiler::Pulley, &Policy::default(), &key)?;
/// # Ok(file)
/// # }
/// ```
///
/// # Errors
/// [`CodeError::Unusable`], if the engine cannot compile it.
#[cfg(feature = "compile")]
pub fn precompile(
    package: &Verified,
    compiler: Compiler,
    policy: &Policy,
    key: &SecretKey,
) -> Result<Vec<u8>, CodeError> {
    let compiled = crate::engine::engine(compiler, policy)
        .and_then(|engine| engine.precompile_component(package.component()));
    let code = compiled.map_err(|error| CodeError::Unusable { reason: format!("{error:#}") })?;
    let package = package.digest().sha256;
    let signature = key.sign(&statement(&package, &code));
    Ok([&MAGIC[..], &package.0, &signature, &code].concat())
}

fn statement(package: &Hash, code: &[u8]) -> Vec<u8> {
    pae(PAYLOAD_TYPE, &[package.0, Hash::of(code).0].concat())
}

/// Why code was not made, or not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// The component does not fit the engine.
    #[error("The package cannot be compiled: {reason}.")]
    Unusable {
        /// What the engine reported.
        reason: String,
    },
    /// It is no such file, or was not made by anybody whose code this host runs.
    #[error("This is no compiled code that is signed with a key of `HostBuilder::code_from`.")]
    NotTrusted,
    /// It was made for another host.
    #[error("The code is not for this host's engine: {reason}.")]
    OtherEngine {
        /// What the engine said.
        reason: String,
    },
    /// The data folder failed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The background task that checks it was stopped.
    #[error("Taking the code was interrupted.")]
    Interrupted,
}

impl CodeError {
    /// The stable code, to look up with `mpkg explain`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data(_) | Self::Interrupted => "MPKG-H01",
            Self::Unusable { .. } => "MPKG-H17",
            Self::NotTrusted => "MPKG-H70",
            Self::OtherEngine { .. } => "MPKG-H71",
        }
    }
}

/// Code that somebody whom the host trusts has signed.
pub(crate) struct Vouched<'f> {
    package: Hash,
    image: &'f [u8],
}

impl<'f> Vouched<'f> {
    fn check(file: &'f [u8], keys: &[PublicKey]) -> Option<Self> {
        let file = file.strip_prefix(MAGIC)?;
        let (package, file) = file.split_first_chunk::<32>()?;
        let (signature, image) = file.split_first_chunk::<64>()?;
        let package = Hash(*package);
        let signed = statement(&package, image);
        keys.iter().any(|key| key.verify(&signed, signature)).then_some(Self { package, image })
    }

    /// The digest of the package that it is for.
    pub(crate) fn digest(&self) -> String {
        self.package.to_string()
    }

    pub(crate) fn image(&self) -> &[u8] {
        self.image
    }
}

impl Host {
    /// Takes code for a release, made by `precompile` and signed with a key of
    /// [`HostBuilder::code_from`](crate::HostBuilder::code_from). Launches from now on start with it. Code for a package that
    /// is not here is kept until the host is built anew.
    ///
    /// A host without a compiler installs and launches nothing else (`MPKG-H72`). It may be offered a release beforehand,
    /// and goes on with the one that it runs until there is code.
    ///
    /// # Errors
    /// [`CodeError`]; nothing is kept then.
    pub async fn add_code(&self, file: Vec<u8>) -> Result<(), CodeError> {
        let inner = self.inner.clone();
        let added = self.inner.runtime.spawn_blocking(move || {
            let code = Vouched::check(&file, &inner.code_from).ok_or(CodeError::NotTrusted)?;
            inner.tiers.adopt(&code)?;
            inner.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(&code.digest());
            Ok(())
        });
        added.await.unwrap_or(Err(CodeError::Interrupted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_vouched_for_but_what_was_signed_by_a_known_key_and_all_of_it() {
        let key = mpkg_package::SecretKey::from_seed(&[1; 32]);
        let (package, code) = (Hash::of(b"package"), b"code");
        let signature = key.sign(&statement(&package, code));
        let file = [&MAGIC[..], &package.0, &signature, code].concat();
        let vouched = Vouched::check(&file, &[key.public()]).unwrap();
        assert_eq!((vouched.digest(), vouched.image()), (package.to_string(), &code[..]));
        assert!(Vouched::check(&file, &[]).is_none());
        assert!(Vouched::check(&file, &[mpkg_package::SecretKey::from_seed(&[2; 32]).public()]).is_none());
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(Vouched::check(&bad, &[key.public()]).is_none(), "byte {at}");
            assert!(Vouched::check(&file[..at], &[key.public()]).is_none(), "{at} bytes");
        }
        assert!(Vouched::check(&[&file[..], b"x"].concat(), &[key.public()]).is_none());
        // The same key may have signed the same bytes as something else.
        let other = key.sign(&pae("application/x", &[package.0, Hash::of(code).0].concat()));
        let file = [&MAGIC[..], &package.0, &other, code].concat();
        assert!(Vouched::check(&file, &[key.public()]).is_none());
    }
}
