//! What end-to-end tests and benchmarks share: the built `mpkg` binary, the examples, and how figures are written.

pub mod bench;
pub mod workspace;
