//! Builds js guests.

use std::path::Path;

use super::{BuildError, Built, Toolchain};

/// Builds the project in `project`, with `out_dir` for what lies between.
pub(crate) fn build(
    project: &Path,
    _out_dir: &Path,
    _toolchain: &Toolchain,
    _log: &mut dyn FnMut(&str),
) -> Result<Built, BuildError> {
    Err(BuildError::NotAProject { dir: project.to_owned(), problem: "js guests cannot be built yet".into() })
}
