//! What must hold for any bytes whatever. Each function panics when it finds that it does not.
//!
//! The programs in `fuzz_targets` hand libFuzzer's inputs to these functions; crate `mpkg-tests` hands them the seeds
//! and damaged copies of them, so that they are run with the other tests as well.

mod archive;
mod block;
mod delta;
mod documents;
mod manifest;
pub mod seeds;

pub use archive::{container, roundtrip};
pub use block::signing_block;
pub use delta::delta;
pub use documents::{root_chain, statement};
pub use manifest::manifest;

/// A target: its name, which is also that of its program and of its folder of seeds, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 7] = [
    ("container", container),
    ("signing_block", signing_block),
    ("manifest", manifest),
    ("statement", statement),
    ("root_chain", root_chain),
    ("roundtrip", roundtrip),
    ("delta", delta),
];

/// A refusal has a code that can be explained, a message that is safe to print, and points into its input.
fn check_refusal(code: &str, message: &str, offset: Option<usize>, length: usize) {
    let tables = [mpkg_package::RULES, mpkg_manifest::rules::RULES, mpkg_registry_client::RULES];
    let known = tables.iter().flat_map(|table| table.iter()).any(|rule| rule.code == code);
    assert!(known, "{code} is in no table of rules");
    assert!(!message.is_empty(), "{code} says nothing");
    let bad = message.chars().find(|&c| c == '\n' || mpkg_manifest::is_unsafe_char(c));
    assert!(bad.is_none(), "{code} has {bad:?} in its message: {message:?}");
    assert!(offset.is_none_or(|offset| offset <= length), "{code} points at byte {offset:?} of {length}");
}
