//! What the verbs do, without a word about how it is asked for or shown.

pub(crate) mod build;
pub(crate) mod explain;
pub(crate) mod files;
pub(crate) mod grants;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod manifest;
pub(crate) mod new;
pub(crate) mod package;
pub(crate) mod passphrase;
#[cfg(feature = "run")]
pub(crate) mod run;
pub(crate) mod roots;
pub(crate) mod sign;
