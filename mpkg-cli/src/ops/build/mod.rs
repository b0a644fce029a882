//! From a project folder to the bytes of a package.

mod error;
mod js;
mod rust;
mod toolchain;

pub(crate) use error::BuildError;
pub(crate) use toolchain::Toolchain;

/// What a language half made.
#[derive(Debug)]
pub(crate) struct Built {
    /// The component, ready to be packed.
    pub(crate) component: Vec<u8>,
    /// Name and version of each tool that had a hand in it. The same source and the same tools give the same bytes.
    pub(crate) tools: Vec<(String, String)>,
}
