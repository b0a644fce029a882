//! The rule table's type, and this crate's rules.

/// A rule that an input can break. `mpkg explain CODE` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Stable code, such as `MPKG-J04`. Never reused for another meaning.
    pub code: &'static str,
    /// What the rule asks for, in a few words.
    pub title: &'static str,
    /// What it stops: why it exists, in one to three sentences.
    pub attack: &'static str,
    /// What to do when it refuses something.
    pub fix: &'static str,
}

pub use crate::rule_table::RULES;

/// The rule of this crate with that code.
///
/// ```
/// assert_eq!(mpkg_manifest::rules::find("MPKG-J04").unwrap().title, "No duplicate keys");
/// ```
#[must_use]
pub fn find(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
