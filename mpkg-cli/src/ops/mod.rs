//! What the verbs do, without a word about how it is asked for or shown.

#[cfg(feature = "run")]
pub(crate) mod airgap;
pub(crate) mod build;
#[cfg(all(feature = "run", feature = "serve"))]
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod finding;
pub(crate) mod grants;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod judge;
pub(crate) mod keys;
pub(crate) mod lint;
#[cfg(any(feature = "run", feature = "serve"))]
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod new;
pub(crate) mod package;
pub(crate) mod passphrase;
pub(crate) mod rebuild;
pub(crate) mod remote;
pub(crate) mod roots;
#[cfg(feature = "run")]
pub(crate) mod run;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod sign;
